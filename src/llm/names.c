#include "llm/names.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"

#define ADDRESSES 32
#define REFRESH_MS 30000
#define REPEAT_MS 1000     /* after a lookup that failed */
#define FIRST_WAIT_MS 2000 /* for the first answer */

struct names {
    char *host, *port;
    pthread_t thread;
    atomic_uint number; /* of the answer; 0: none yet */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf line;  /* guarded by lock */
    bool is_stopping; /* guarded by lock */
};

struct address {
    char text[INET6_ADDRSTRLEN + 2]; /* with brackets */
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct address *)a)->text, ((const struct address *)b)->text);
}

static bool write_address(const struct addrinfo *ai, struct address *out)
{
    if (ai->ai_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)ai->ai_addr;
        return inet_ntop(AF_INET, &in->sin_addr, out->text, sizeof out->text) != NULL;
    }
    if (ai->ai_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *in6 = (const void *)ai->ai_addr;
    char text[INET6_ADDRSTRLEN];
    if (!inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text))
        return false;
    snprintf(out->text, sizeof out->text, "[%s]", text);
    return true;
}

/* Sorted, so that a name server that turns its answers round does not look like a change. */
static bool look_up(const struct names *n, struct buf *line)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found = NULL;
    if (getaddrinfo(n->host, n->port, &hints, &found) != 0)
        return false;
    struct address list[ADDRESSES] = {0};
    size_t count = 0;
    for (const struct addrinfo *ai = found; ai && count < ADDRESSES; ai = ai->ai_next)
        count += write_address(ai, &list[count]);
    freeaddrinfo(found);
    qsort(list, count, sizeof *list, compare);
    bool ok = count > 0 && buf_puts(line, n->host) && buf_puts(line, ":") &&
              buf_puts(line, n->port) && buf_puts(line, ":");
    for (size_t i = 0; ok && i < count; i++)
        ok = (i == 0 || buf_puts(line, ",")) && buf_puts(line, list[i].text);
    return ok;
}

static void publish(struct names *n, const struct buf *line)
{
    pthread_mutex_lock(&n->lock);
    if (n->line.len != line->len || memcmp(n->line.data, line->data, line->len) != 0) {
        buf_reset(&n->line);
        buf_add(&n->line, line->data, line->len);
        n->number++;
        pthread_cond_broadcast(&n->changed);
    }
    pthread_mutex_unlock(&n->lock);
}

static void *run(void *arg)
{
    struct names *n = arg;
    bool is_stopping = false, was_found = true;
    while (!is_stopping) {
        struct buf line;
        buf_init(&line, NAMES_LINE_BYTES);
        bool is_found = look_up(n, &line);
        if (is_found)
            publish(n, &line);
        else if (was_found)
            LOG(LOG_WARN, "model_host_not_found", LOG_TEXT("host", n->host));
        was_found = is_found;
        buf_fini(&line);

        int64_t next_ms = clock_mono_ms() + (is_found ? REFRESH_MS : REPEAT_MS);
        pthread_mutex_lock(&n->lock);
        while (!n->is_stopping && clock_mono_ms() < next_ms)
            thread_cond_wait_until(&n->changed, &n->lock, next_ms);
        is_stopping = n->is_stopping;
        pthread_mutex_unlock(&n->lock);
    }
    return NULL;
}

static bool needs_no_lookup(const char *host)
{
    unsigned char address[16];
    return host[0] == '[' || inet_pton(AF_INET, host, address) == 1 ||
           strcasecmp(host, "localhost") == 0;
}

struct names *names_open(const char *host, const char *port)
{
    if (needs_no_lookup(host))
        return NULL;
    struct names *n = mem_zero(sizeof(*n));
    n->host = mem_text(host);
    n->port = mem_text(port);
    buf_init(&n->line, NAMES_LINE_BYTES);
    pthread_mutex_init(&n->lock, NULL);
    thread_cond_init(&n->changed);
    n->thread = thread_start("model-names", run, n);

    int64_t until_ms = clock_mono_ms() + FIRST_WAIT_MS;
    pthread_mutex_lock(&n->lock);
    while (n->line.len == 0 && clock_mono_ms() < until_ms)
        thread_cond_wait_until(&n->changed, &n->lock, until_ms);
    pthread_mutex_unlock(&n->lock);
    return n;
}

void names_close(struct names *n)
{
    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    n->is_stopping = true;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    pthread_join(n->thread, NULL);
    pthread_cond_destroy(&n->changed);
    pthread_mutex_destroy(&n->lock);
    buf_fini(&n->line);
    free(n->host);
    free(n->port);
    free(n);
}

bool names_take(struct names *n, unsigned *seen, struct buf *line)
{
    if (atomic_load_explicit(&n->number, memory_order_relaxed) == *seen)
        return false;
    pthread_mutex_lock(&n->lock);
    *seen = n->number;
    buf_reset(line);
    bool ok = buf_add(line, n->line.data, n->line.len);
    pthread_mutex_unlock(&n->lock);
    return ok;
}
