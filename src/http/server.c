#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/watch.h"
#include "http/listener.h"
#include "http/server_private.h"

#define HANDSHAKE_MS 10 /* a way to the proxy and back, in one site, with room */
#define QUEUE_MS 1000   /* loops at their ceiling accept nobody: then the queue does not empty */

/* n bytes of text can stand as 6n in JSON ("\u0009"); the rest is for session id and frame. */
static size_t body_ceiling(const struct config *c)
{
    return (size_t)c->message_bytes * 6 + 4096;
}

static void on_panic(void *cls, const char *file, unsigned line, const char *reason)
{
    (void)cls;
    LOG(LOG_ERROR, "http_panic", LOG_TEXT("file", file), LOG_INT("line", line),
        LOG_TEXT("reason", reason));
    abort();
}

/* 0.9.77 and before split heads in place and check little; 1.0 has a strict parser of its own. */
static bool splits_in_place(void)
{
    int major = 0, minor = 0, patch = 0;
    sscanf(MHD_get_version(), "%d.%d.%d", &major, &minor, &patch);
    return major == 0 && minor == 9 && patch >= 75;
}

static void ask_all(struct server *s, enum loop_phase phase)
{
    for (size_t i = 0; i < s->loop_count; i++)
        loop_ask(&s->loops[i], phase);
    for (size_t i = 0; i < s->loop_count; i++)
        loop_wait(&s->loops[i], phase);
}

static bool open_loops(struct server *s, struct err *e)
{
    size_t wanted = (size_t)s->config->http_threads;
    s->loops = mem_zero(wanted * sizeof(*s->loops));
    for (; s->loop_count < wanted; s->loop_count++) {
        char name[16];
        snprintf(name, sizeof(name), "http %d", (int)s->loop_count % 1000);
        /* The ceiling is shared out; what does not divide goes to the first. */
        size_t share = (size_t)s->config->connections / wanted;
        if (s->loop_count == 0)
            share += (size_t)s->config->connections % wanted;
        struct loop_options o = {s, s->listen_fd, (unsigned)share, name};
        if (!loop_open(&s->loops[s->loop_count], &o, e))
            return false;
    }
    return true;
}

struct server *server_open(const struct config *c, struct core *core, struct err *e)
{
    struct server *s = mem_zero(sizeof(*s));
    s->config = c;
    s->core = core;
    s->body_bytes = body_ceiling(c);
    s->auth_required = strcmp(c->auth, "required") == 0;
    s->checks_seams = splits_in_place();
    MHD_set_panic_func(on_panic, NULL);
    s->listen_fd = listener_open(c->listen, e);
    if (s->listen_fd >= 0 && open_loops(s, e))
        return s;
    server_close(s);
    return NULL;
}

/* Loops accept what is on its way. */
static void let_last_ones_in(const struct server *s)
{
    int64_t now_ms = clock_mono_ms(), enough_ms = now_ms + HANDSHAKE_MS;
    listener_bar(s->listen_fd);
    for (int64_t until_ms = now_ms + QUEUE_MS; now_ms < until_ms; now_ms = clock_mono_ms()) {
        if (now_ms >= enough_ms && listener_waiting(s->listen_fd) == 0)
            return;
        poll(NULL, 0, 1);
    }
}

void server_leave(struct server *s, int64_t until_ms)
{
    let_last_ones_in(s);
    ask_all(s, LOOP_LEAVING);
    watch_stop(core_watch(s->core)); /* who waits for a job would keep his connection until then */
    close(s->listen_fd);
    s->listen_fd = -1;
    for (size_t i = 0; i < s->loop_count; i++)
        loop_wait_empty(&s->loops[i], until_ms);
}

void server_drain(struct server *s)
{
    ask_all(s, LOOP_DRAINING);
}

void server_refuse(struct server *s)
{
    ask_all(s, LOOP_REFUSING);
}

void server_close(struct server *s)
{
    if (!s)
        return;
    ask_all(s, LOOP_CLOSING);
    for (size_t i = 0; i < s->loop_count; i++)
        loop_close(&s->loops[i]);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    free(s->loops);
    free(s);
}
