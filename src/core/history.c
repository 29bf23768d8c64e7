#include "core/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/metrics.h"

#define MEMORY_BYTES 16384 /* about one conversation */

void history_init(struct history *h, size_t most_bytes)
{
    *h = (struct history){.most_bytes = most_bytes};
    table_init(&h->table, most_bytes / MEMORY_BYTES);
    pthread_mutex_init(&h->lock, NULL);
    list_init(&h->memories);
}

struct memory *memory_new(const struct hash *name)
{
    struct memory *m = mem_zero(sizeof *m);
    m->named.name = *name;
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

static struct memory *take_locked(struct history *h, const struct hash *name)
{
    struct table_node *n = table_find(&h->table, name);
    if (!n)
        return NULL;
    struct memory *m = CONTAINER_OF(n, struct memory, named);
    table_remove(&h->table, n);
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
        struct memory *taken = take_locked(h, &m->named.name);
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
    const struct hash name = m->named.name;
    table_add(&h->table, &m->named, &name);
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
    table_fini(&h->table);
    pthread_mutex_destroy(&h->lock);
}
