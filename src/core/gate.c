#include "core/gate.h"

#include "base/clock.h"
#include "base/metrics.h"

void gate_init(struct gate *g, int permits, struct timers *timers)
{
    *g = (struct gate){.timers = timers, .permits = permits};
    int made = sem_init(&g->free, 0, (unsigned)permits);
    assert(made == 0);
    pthread_mutex_init(&g->lock, NULL);
    list_init(&g->waiting);
    metrics_set(METRIC_GATE_PERMITS, 0, permits);
}

void gate_fini(struct gate *g)
{
    pthread_mutex_destroy(&g->lock);
    sem_destroy(&g->free);
}

static bool take_permit_locked(struct gate *g, const struct gate_place *p)
{
    if (sem_trywait(&g->free) != 0)
        return false;
    g->in_use++;
    assert(g->in_use <= g->permits);
    if (g->in_use > g->high_water) {
        g->high_water = g->in_use;
        metrics_set(METRIC_GATE_HIGH_WATER, 0, g->high_water);
    }
    metrics_add(METRIC_GATE_IN_USE, 0, 1);
    metrics_observe(METRIC_GATE_SECONDS, 0, (double)(clock_mono_us() - p->since_us) / 1e6);
    return true;
}

static void on_deadline(struct timer *timer)
{
    struct gate_place *p = CONTAINER_OF(timer, struct gate_place, timer);
    struct gate *g = p->gate;
    pthread_mutex_lock(&g->lock);
    /* Else it was let in, or turned away by gate_close, in this very moment. */
    bool was_waiting = !g->is_closed && list_is_linked(&p->node);
    if (was_waiting)
        list_remove(&g->waiting, &p->node);
    pthread_mutex_unlock(&g->lock);
    if (!was_waiting)
        return;
    metrics_add(METRIC_GATE_WAITING, 0, -1);
    metrics_add(METRIC_GATE_EXPIRED, 0, 1);
    p->expired(p);
}

bool gate_enter(struct gate *g, struct gate_place *p, int64_t deadline_ms)
{
    p->gate = g;
    p->timer = (struct timer){.fire = on_deadline};
    p->since_us = clock_mono_us();
    pthread_mutex_lock(&g->lock);
    /* Nobody overtakes: a permit that is free while others wait is theirs. */
    bool is_closed = g->is_closed;
    bool has_permit = !is_closed && g->waiting.count == 0 && take_permit_locked(g, p);
    if (!has_permit && !is_closed) {
        list_append(&g->waiting, &p->node);
        timer_start(g->timers, &p->timer, deadline_ms);
        metrics_add(METRIC_GATE_WAITING, 0, 1);
    }
    pthread_mutex_unlock(&g->lock);
    if (is_closed)
        p->expired(p);
    return has_permit;
}

void gate_close(struct gate *g)
{
    struct list out;
    list_init(&out);
    pthread_mutex_lock(&g->lock);
    g->is_closed = true;
    for (struct list_node *n; (n = list_take_first(&g->waiting));)
        list_append(&out, n);
    pthread_mutex_unlock(&g->lock);
    for (struct list_node *n; (n = list_take_first(&out));) {
        struct gate_place *p = CONTAINER_OF(n, struct gate_place, node);
        metrics_add(METRIC_GATE_WAITING, 0, -1);
        timer_stop_and_wait(g->timers, &p->timer);
        p->expired(p);
    }
}

/* The next that has a permit now; NULL: none waits, or none is free. */
static struct gate_place *admit_locked(struct gate *g)
{
    struct list_node *n = list_first(&g->waiting);
    if (!n)
        return NULL;
    struct gate_place *p = CONTAINER_OF(n, struct gate_place, node);
    if (!take_permit_locked(g, p))
        return NULL;
    list_remove(&g->waiting, n);
    return p;
}

void gate_leave(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    assert(g->in_use > 0);
    g->in_use--;
    metrics_add(METRIC_GATE_IN_USE, 0, -1);
    sem_post(&g->free);
    struct gate_place *next = admit_locked(g);
    pthread_mutex_unlock(&g->lock);
    if (!next)
        return;
    metrics_add(METRIC_GATE_WAITING, 0, -1);
    timer_stop_and_wait(g->timers, &next->timer);
    next->admitted(next);
}
