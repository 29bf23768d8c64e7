#include "core/line.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/metrics.h"

struct line_queue {
    struct line_queue *next; /* in its bucket */
    struct hash name;
    struct list places; /* the first has the word */
};

void line_init(struct line *l, size_t most, struct timers *timers)
{
    *l = (struct line){.timers = timers, .bucket_count = 64};
    while (l->bucket_count < most && l->bucket_count < (size_t)1 << 20)
        l->bucket_count *= 2;
    l->buckets = mem_zero(l->bucket_count * sizeof(struct line_queue *));
    pthread_mutex_init(&l->lock, NULL);
}

void line_fini(struct line *l)
{
    for (size_t i = 0; i < l->bucket_count; i++) {
        for (struct line_queue *q = l->buckets[i], *next; q; q = next) {
            next = q->next;
            free(q);
        }
    }
    free(l->buckets);
    pthread_mutex_destroy(&l->lock);
}

/* Where the queue of this name hangs, or would hang. The name is a SHA-256: any of its bits do. */
static struct line_queue **find_locked(struct line *l, const struct hash *name)
{
    uint64_t bits;
    memcpy(&bits, name->bytes, sizeof bits);
    struct line_queue **at = &l->buckets[bits & (l->bucket_count - 1)];
    while (*at && memcmp((*at)->name.bytes, name->bytes, HASH_BYTES) != 0)
        at = &(*at)->next;
    return at;
}

static void take_out_locked(struct line *l, struct line_place *p)
{
    struct line_queue *q = p->queue;
    list_remove(&q->places, &p->node);
    if (q->places.count > 0)
        return;
    struct line_queue **at = find_locked(l, &q->name);
    assert(*at == q);
    *at = q->next;
    free(q);
}

static void on_deadline(struct timer *timer)
{
    struct line_place *p = CONTAINER_OF(timer, struct line_place, timer);
    struct line *l = p->line;
    pthread_mutex_lock(&l->lock);
    bool was_waiting = !p->has_word; /* else its turn came in this very moment */
    if (was_waiting)
        take_out_locked(l, p);
    pthread_mutex_unlock(&l->lock);
    if (!was_waiting)
        return;
    metrics_add(METRIC_LINE_WAITING, 0, -1);
    p->expired(p);
}

bool line_enter(struct line *l, struct line_place *p, const struct hash *name, int64_t deadline_ms)
{
    p->line = l;
    p->timer = (struct timer){.fire = on_deadline};
    pthread_mutex_lock(&l->lock);
    struct line_queue **at = find_locked(l, name);
    bool is_first = !*at;
    if (is_first) {
        *at = mem_zero(sizeof **at);
        (*at)->name = *name;
        list_init(&(*at)->places);
    }
    p->queue = *at;
    p->has_word = is_first;
    list_append(&(*at)->places, &p->node);
    if (!is_first) {
        timer_start(l->timers, &p->timer, deadline_ms);
        metrics_add(METRIC_LINE_WAITING, 0, 1);
    }
    pthread_mutex_unlock(&l->lock);
    return is_first;
}

void line_leave(struct line *l, struct line_place *p)
{
    struct line_place *next = NULL;
    pthread_mutex_lock(&l->lock);
    assert(p->has_word);
    struct list_node *n = list_next(&p->queue->places, &p->node);
    if (n) {
        next = CONTAINER_OF(n, struct line_place, node);
        next->has_word = true;
    }
    take_out_locked(l, p);
    pthread_mutex_unlock(&l->lock);
    if (!next)
        return;
    metrics_add(METRIC_LINE_WAITING, 0, -1);
    timer_stop_and_wait(l->timers, &next->timer);
    next->turn_came(next);
}
