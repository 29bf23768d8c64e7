#include "base/timer.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

struct timers {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the first due time came nearer, or stopping */
    struct timer **heap;    /* lock; heap[0] is due first */
    size_t count, cap;      /* lock */
    struct timer *firing;   /* lock; only compared: its callback may free it */
    pthread_cond_t fired;   /* a callback is over */
    bool stopping;          /* lock */
    bool has_stopped;       /* the owner's */
    pthread_t thread;
};

static void put_locked(struct timers *t, size_t at, struct timer *timer)
{
    t->heap[at] = timer;
    timer->slot = at + 1;
}

static void rise_locked(struct timers *t, size_t at)
{
    struct timer *timer = t->heap[at];
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (t->heap[parent]->due_ms <= timer->due_ms)
            break;
        put_locked(t, at, t->heap[parent]);
        at = parent;
    }
    put_locked(t, at, timer);
}

static void sink_locked(struct timers *t, size_t at)
{
    struct timer *timer = t->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= t->count)
            break;
        if (child + 1 < t->count && t->heap[child + 1]->due_ms < t->heap[child]->due_ms)
            child++;
        if (timer->due_ms <= t->heap[child]->due_ms)
            break;
        put_locked(t, at, t->heap[child]);
        at = child;
    }
    put_locked(t, at, timer);
}

static void take_out_locked(struct timers *t, struct timer *timer)
{
    size_t at = timer->slot - 1;
    assert(at < t->count && t->heap[at] == timer);
    struct timer *last = t->heap[--t->count];
    timer->slot = 0;
    if (last == timer)
        return;
    put_locked(t, at, last);
    rise_locked(t, at);
    sink_locked(t, last->slot - 1);
}

static void *run(void *arg)
{
    struct timers *t = arg;
    pthread_mutex_lock(&t->lock);
    while (!t->stopping) {
        if (t->count == 0) {
            pthread_cond_wait(&t->changed, &t->lock);
            continue;
        }
        struct timer *first = t->heap[0];
        if (first->due_ms > clock_mono_ms()) {
            thread_cond_wait_until(&t->changed, &t->lock, first->due_ms);
            continue;
        }
        take_out_locked(t, first);
        t->firing = first;
        pthread_mutex_unlock(&t->lock);
        first->fire(first); /* may start it again, or free it */
        pthread_mutex_lock(&t->lock);
        t->firing = NULL;
        pthread_cond_broadcast(&t->fired);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

struct timers *timers_new(const char *thread_name)
{
    struct timers *t = mem_zero(sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    thread_cond_init(&t->changed);
    thread_cond_init(&t->fired);
    t->thread = thread_start(thread_name, run, t);
    return t;
}

void timers_stop(struct timers *t)
{
    if (!t || t->has_stopped)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    t->has_stopped = true;
}

void timers_free(struct timers *t)
{
    if (!t)
        return;
    timers_stop(t);
    pthread_cond_destroy(&t->fired);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t->heap);
    free(t);
}

void timer_start(struct timers *t, struct timer *timer, int64_t due_ms)
{
    pthread_mutex_lock(&t->lock);
    assert(timer->slot == 0 && timer->fire);
    if (t->count == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->heap = mem_grow(t->heap, t->cap * sizeof(struct timer *));
    }
    timer->due_ms = due_ms;
    put_locked(t, t->count++, timer);
    rise_locked(t, t->count - 1);
    if (t->heap[0] == timer)
        pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

bool timer_stop(struct timers *t, struct timer *timer)
{
    pthread_mutex_lock(&t->lock);
    bool was_waiting = timer->slot != 0;
    if (was_waiting)
        take_out_locked(t, timer);
    pthread_mutex_unlock(&t->lock);
    return was_waiting;
}

bool timer_stop_and_wait(struct timers *t, struct timer *timer)
{
    pthread_mutex_lock(&t->lock);
    bool was_waiting = timer->slot != 0;
    if (was_waiting)
        take_out_locked(t, timer);
    while (t->firing == timer && !pthread_equal(pthread_self(), t->thread))
        pthread_cond_wait(&t->fired, &t->lock);
    pthread_mutex_unlock(&t->lock);
    return was_waiting;
}
