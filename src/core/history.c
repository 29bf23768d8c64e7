#include "core/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/metrics.h"

#define BUCKET_BYTES 16384 /* a bucket for so many bytes: about one conversation */

void history_init(struct history *h, size_t most_bytes)
{
    *h = (struct history){.most_bytes = most_bytes, .bucket_count = 64};
    while (h->bucket_count * BUCKET_BYTES < most_bytes)
        h->bucket_count *= 2;
    h->buckets = mem_zero(h->bucket_count * sizeof(struct memory *));
    pthread_mutex_init(&h->lock, NULL);
    list_init(&h->memories);
}

struct memory *memory_new(const struct hash *name)
{
    struct memory *m = mem_zero(sizeof *m);
    m->name = *name;
    return m;
}

void memory_free(struct memory *m)
{
    if (!m)
        return;
    passage_fini(&m->passage);
    free(m);
}

static size_t bytes_of(const struct memory *m)
{
    return sizeof *m + m->passage.len + m->passage.count * sizeof *m->passage.turns;
}

static struct memory **find_locked(struct history *h, const struct hash *name)
{
    uint64_t bits;
    memcpy(&bits, name->bytes, sizeof bits);
    struct memory **at = &h->buckets[bits & (h->bucket_count - 1)];
    while (*at && memcmp((*at)->name.bytes, name->bytes, HASH_BYTES) != 0)
        at = &(*at)->next;
    return at;
}

static struct memory *take_locked(struct history *h, const struct hash *name)
{
    struct memory **at = find_locked(h, name);
    struct memory *m = *at;
    if (!m)
        return NULL;
    *at = m->next;
    m->next = NULL;
    list_remove(&h->memories, &m->node);
    h->bytes -= bytes_of(m);
    return m;
}

struct memory *history_take(struct history *h, const struct hash *name)
{
    pthread_mutex_lock(&h->lock);
    struct memory *m = take_locked(h, name);
    metrics_set(METRIC_HISTORY_BYTES, 0, (int64_t)h->bytes);
    pthread_mutex_unlock(&h->lock);
    return m;
}

/* Out of the table: what there is no room for, and what nobody asked for in a long time. */
static void collect_locked(struct history *h, int64_t now_ms, struct list *out)
{
    struct list_node *n;
    while ((n = list_first(&h->memories))) {
        struct memory *m = CONTAINER_OF(n, struct memory, node);
        if (h->bytes <= h->most_bytes && m->put_ms + HISTORY_IDLE_MS > now_ms)
            break;
        struct memory *taken = take_locked(h, &m->name);
        assert(taken == m);
        list_append(out, &m->node);
    }
    metrics_set(METRIC_HISTORY_BYTES, 0, (int64_t)h->bytes);
}

static void free_all(struct list *memories)
{
    for (struct list_node *n; (n = list_take_first(memories));)
        memory_free(CONTAINER_OF(n, struct memory, node));
}

void history_put(struct history *h, struct memory *m, int64_t now_ms)
{
    struct list out;
    list_init(&out);
    m->put_ms = now_ms;
    pthread_mutex_lock(&h->lock);
    struct memory **at = find_locked(h, &m->name);
    assert(!*at);
    *at = m;
    list_append(&h->memories, &m->node);
    h->bytes += bytes_of(m);
    collect_locked(h, now_ms, &out);
    pthread_mutex_unlock(&h->lock);
    free_all(&out);
}

void history_forget_idle(struct history *h, int64_t now_ms)
{
    struct list out;
    list_init(&out);
    pthread_mutex_lock(&h->lock);
    collect_locked(h, now_ms, &out);
    pthread_mutex_unlock(&h->lock);
    free_all(&out);
}

void history_fini(struct history *h)
{
    free_all(&h->memories);
    free(h->buckets);
    pthread_mutex_destroy(&h->lock);
}
