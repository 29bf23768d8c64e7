#include "core/line.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/metrics.h"

struct line_queue {
    struct table_node named; /* by its conversation */
    struct list places;      /* the first has the word */
};

void line_init(struct line *l, size_t most, struct timers *timers)
{
    *l = (struct line){.timers = timers};
    table_init(&l->table, most);
    pthread_mutex_init(&l->lock, NULL);
}

void line_fini(struct line *l)
{
    for (struct table_node *n; (n = table_any(&l->table));) {
        table_remove(&l->table, n);
        free(CONTAINER_OF(n, struct line_queue, named));
    }
    table_fini(&l->table);
    pthread_mutex_destroy(&l->lock);
}

static void take_out_locked(struct line *l, struct line_place *p)
{
    struct line_queue *q = p->queue;
    list_remove(&q->places, &p->node);
    if (q->places.count > 0)
        return;
    table_remove(&l->table, &q->named);
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

static struct line_queue *make_locked(struct line *l, const struct hash *name)
{
    struct line_queue *q = mem_zero(sizeof *q);
    table_add(&l->table, &q->named, name);
    list_init(&q->places);
    return q;
}

bool line_enter(struct line *l, struct line_place *p, const struct hash *name, int64_t deadline_ms)
{
    p->line = l;
    p->timer = (struct timer){.fire = on_deadline};
    pthread_mutex_lock(&l->lock);
    struct table_node *n = table_find(&l->table, name);
    bool is_first = !n;
    p->queue = n ? CONTAINER_OF(n, struct line_queue, named) : make_locked(l, name);
    p->has_word = is_first;
    list_append(&p->queue->places, &p->node);
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
