#include "http/listener.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */
#define FLAGS_AT 13  /* in a TCP header */
#define FLAG_SYN 0x02
#define FLAG_ACK 0x10

bool listener_read(const char *text, struct listener_place *out, struct err *e)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t host_len = colon ? (size_t)(colon - text) : 0;
    size_t port_len = colon ? strlen(colon + 1) : 0;
    bool is_good =
        colon && port_len >= 1 && port_len <= 5 && strspn(colon + 1, "0123456789") == port_len;
    int port = is_good ? atoi(colon + 1) : 0;
    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    } else if (memchr(host, ':', host_len)) {
        is_good = false;
    }
    if (host_len == 1 && host[0] == '*')
        host_len = 0;
    if (!is_good || port < 1 || port > 65535 || host_len >= sizeof(out->host))
        return err_set(e, ERR_BAD_FIELD,
                       "HANSARD_LISTEN must be host:port, such as 127.0.0.1:8080 or [::1]:8080");
    memcpy(out->host, host, host_len);
    out->host[host_len] = 0;
    memcpy(out->port, colon + 1, port_len + 1);
    return true;
}

static int open_one(const struct addrinfo *a)
{
    int on = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

int listener_open(const char *text, struct err *e)
{
    struct listener_place place = {.host = ""};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int fd = -1;
    if (!listener_read(text, &place, e))
        return -1;
    int result = getaddrinfo(place.host[0] ? place.host : NULL, place.port, &hints, &found);
    if (result != 0) {
        err_set(e, ERR_BAD_FIELD, "HANSARD_LISTEN: %s: %s", place.host, gai_strerror(result));
        return -1;
    }
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next)
        fd = open_one(a);
    if (fd < 0)
        err_set(e, ERR_INTERNAL, "cannot listen on %s: %s", text, strerror(errno));
    freeaddrinfo(found);
    return fd;
}

/* Connections inherit it; they get no SYNs. */
void listener_bar(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, FLAG_SYN | FLAG_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FLAG_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),          /* drop it */
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX), /* keep all of it */
    };
    struct sock_fprog program = {.len = COUNT_OF(code), .filter = code};
    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

unsigned listener_waiting(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return 0;
    return info.tcpi_unacked; /* of a listening socket: how many are in its queue */
}
