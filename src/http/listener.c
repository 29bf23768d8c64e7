#include "http/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

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
