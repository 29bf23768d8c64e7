/* demo-llm — an OpenAI-compatible stand-in for a model server.
 *
 * Answers /v1/chat/completions (JSON and server-sent events) and /v1/models, deterministically,
 * and misbehaves when the last message asks for it (script.h). One event loop, or --threads of
 * them; a waiting call is a suspended connection, never a thread. /stats tells what was seen. */

#include <errno.h>
#include <getopt.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "demo/call.h"
#include "demo/script.h"
#include "demo/stats.h"
#include "demo/timer.h"

#define CONNECTIONS_MAX 50000
#define FDS_KEPT 64UL /* for everything but connections */
#define DRAIN_MS 2000

struct options {
    const char *listen;
    unsigned threads;
};

static void print_help(FILE *out)
{
    fputs("Usage: demo-llm [--listen HOST:PORT] [--threads N]\n"
          "An OpenAI-compatible stand-in for a model server.\n"
          "  --listen HOST:PORT  default 127.0.0.1:8083\n"
          "  --threads N         event loops, default 1\n"
          "POST /v1/chat/completions, POST /stats/reset, GET /v1/models, /stats, /stats/last.\n"
          "Words in the last message:\n",
          out);
#define PRINT_WORD(word, field, help)                                                              \
    fprintf(out, "  [[%s N]]%*s%s\n", word, 13 - (int)strlen(word), "", help);
    SCRIPT_NUMBERS(PRINT_WORD)
#undef PRINT_WORD
    fputs("  [[retry-after T]]  the Retry-After header, as it is\n"
          "  [[redirect URL]]   a 302 to there\n",
          out);
}

static bool read_options(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {{"listen", required_argument, NULL, 'l'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int letter;
    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (letter == 'h') {
            print_help(stdout);
            exit(0);
        }
        if (letter == 'l')
            o->listen = optarg;
        else if (letter == 't')
            o->threads = (unsigned)strtoul(optarg, NULL, 10);
        else
            return false;
    }
    return optind == argc && o->threads >= 1 && o->threads <= 64;
}

/* "host:port" or "[::1]:port" */
static struct addrinfo *resolve(const char *listen_at)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    char host[256];
    const char *colon = strrchr(listen_at, ':');
    size_t len = colon != NULL ? (size_t)(colon - listen_at) : 0;
    if (len == 0 || len >= sizeof host)
        return NULL;
    memcpy(host, listen_at, len);
    host[len] = '\0';
    char *name = host;
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        name++;
    }
    return getaddrinfo(name, colon + 1, &hints, &found) == 0 ? found : NULL;
}

static unsigned connection_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return 1000;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max > CONNECTIONS_MAX + FDS_KEPT)
        return CONNECTIONS_MAX;
    return files.rlim_max > 2 * FDS_KEPT ? (unsigned)files.rlim_max - FDS_KEPT : FDS_KEPT;
}

static struct MHD_Daemon *start(const struct options *o, const struct addrinfo *at)
{
    /* Without MHD_USE_TURBO: with it, 0.9.75 forgets to close a stream that is cut. */
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     (at->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    struct MHD_OptionItem pool[] = {
        {o->threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, o->threads, NULL},
        {MHD_OPTION_END, 0, NULL}};
    return MHD_start_daemon(
        flags, 0, NULL, NULL, call_handle, NULL, MHD_OPTION_NOTIFY_COMPLETED, call_completed, NULL,
        MHD_OPTION_SOCK_ADDR, at->ai_addr, MHD_OPTION_CONNECTION_LIMIT, connection_limit(),
        MHD_OPTION_LISTEN_BACKLOG_SIZE, 4096U, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U,
        MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
}

/* No new calls; those that wait are answered now. */
static void drain(struct MHD_Daemon *daemon)
{
    MHD_socket listener = MHD_quiesce_daemon(daemon);
    if (listener != MHD_INVALID_SOCKET)
        close(listener);
    timer_hurry();
    for (int waited_ms = 0; stats_in_flight() > 0 && waited_ms < DRAIN_MS; waited_ms += 10)
        usleep(10000);
    MHD_stop_daemon(daemon);
    timer_stop();
}

int main(int argc, char **argv)
{
    struct options o = {"127.0.0.1:8083", 1};
    sigset_t signals;
    int number;
    if (!read_options(argc, argv, &o)) {
        print_help(stderr);
        return 2;
    }
    struct addrinfo *at = resolve(o.listen);
    if (at == NULL) {
        fprintf(stderr, "demo-llm: cannot listen on %s: no such address\n", o.listen);
        return 2;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals,
                    NULL); /* before there are threads, so that none takes them */
    signal(SIGPIPE, SIG_IGN);

    timer_start();
    struct MHD_Daemon *daemon = start(&o, at);
    freeaddrinfo(at);
    if (daemon == NULL) {
        fprintf(stderr, "demo-llm: cannot listen on %s: %s\n", o.listen, strerror(errno));
        return 1;
    }
    fprintf(stderr, "demo-llm: listening on http://%s/v1\n", o.listen);
    sigwait(&signals, &number);
    drain(daemon);
    return 0;
}
