/* watch_stage — a watch with a clock, timers and a database that do as they are told, jobs, and those that wait.
 *
 * Does:      stands in for what core/watch calls; opens and closes the one watch.
 * Does not:  test.
 * Threads:   stand-ins: any; the rest: the test's own.
 * Owns:      the watch.
 */
#pragma once

#include "unit.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "core/watch.h"

#define BEGIN_MS 1000000
#define FAR_MS 60000

/* ---- stand-ins: time, timers, database ------------------------------------------------------- */

static atomic_llong now_ms;

int64_t clock_mono_us(void)
{
    return now_ms * 1000;
}

int64_t clock_mono_ms(void)
{
    return now_ms;
}

int64_t clock_unix_ms(void)
{
    return now_ms;
}

void clock_format(int64_t unix_ms, char out[25])
{
    (void)unix_ms;
    out[0] = '\0';
}

static pthread_mutex_t world = PTHREAD_MUTEX_INITIALIZER;
static struct timer *started[4096]; /* world */
static struct timer *firing;        /* world */
static struct call_item *asked;     /* world; never two at once */
static int questions;

void timer_start(struct timers *t, struct timer *timer, int64_t due_ms)
{
    (void)t;
    size_t i = 0;
    pthread_mutex_lock(&world);
    assert_int_equal(timer->slot, 0);
    while (started[i])
        i++;
    assert_true(i < COUNT_OF(started) - 1);
    timer->due_ms = due_ms;
    timer->slot = i + 1;
    started[i] = timer;
    pthread_mutex_unlock(&world);
}

static inline bool take_timer_locked(struct timer *timer)
{
    if (timer->slot == 0)
        return false;
    started[timer->slot - 1] = NULL;
    timer->slot = 0;
    return true;
}

bool timer_stop_and_wait(struct timers *t, struct timer *timer)
{
    (void)t;
    pthread_mutex_lock(&world);
    bool was_waiting = take_timer_locked(timer);
    while (firing == timer) {
        pthread_mutex_unlock(&world);
        sched_yield();
        pthread_mutex_lock(&world);
    }
    pthread_mutex_unlock(&world);
    return was_waiting;
}

/* The timers' thread: one that is due. */
static inline bool fire_one(void)
{
    struct timer *due = NULL;
    pthread_mutex_lock(&world);
    for (size_t i = 0; i < COUNT_OF(started) && !due; i++)
        if (started[i] && started[i]->due_ms <= now_ms)
            due = started[i];
    if (due)
        take_timer_locked(due);
    firing = due;
    pthread_mutex_unlock(&world);
    if (due)
        due->fire(due);
    pthread_mutex_lock(&world);
    firing = NULL;
    pthread_mutex_unlock(&world);
    return due != NULL;
}

static inline void pass(int64_t ms)
{
    now_ms += ms;
    while (fire_one())
        ;
}

static inline bool is_timed(void)
{
    for (size_t i = 0; i < COUNT_OF(started); i++)
        if (started[i])
            return true;
    return false;
}

void db_submit_call(struct db *d, struct call_item *item)
{
    (void)d;
    pthread_mutex_lock(&world);
    assert_null(asked);
    assert_null(item->text);
    assert_int_equal(item->params, 2);
    assert_non_null(strstr(item->sql, "hansard_api.jobs_ended("));
    item->err = (struct err){.kind = ERR_NONE};
    asked = item;
    questions++;
    pthread_mutex_unlock(&world);
}

static inline struct call_item *take_call(void)
{
    pthread_mutex_lock(&world);
    struct call_item *item = asked;
    asked = NULL;
    pthread_mutex_unlock(&world);
    return item;
}

static inline void answer(enum err_kind kind, const char *text)
{
    struct call_item *item = take_call();
    assert_non_null(item);
    if (kind != ERR_NONE)
        err_set(&item->err, kind, "%s", "as told");
    item->text = mem_text(text);
    item->text_len = text ? strlen(text) : 0;
    item->done(item);
}

/* ---- jobs and those that wait ------------------------------------------------------------------ */

static inline struct job_ref job(int n)
{
    struct job_ref ref = {.turn_no = n + 1};
    memset(ref.conversation.bytes, n % 251, sizeof ref.conversation.bytes);
    return ref;
}

static atomic_bool runs_here[64];

static inline bool is_here(void *arg, const struct job_ref *ref)
{
    assert_ptr_equal(arg, &now_ms);
    return ref->turn_no <= (int)COUNT_OF(runs_here) && runs_here[ref->turn_no - 1];
}

static struct watch watch;

static inline void open_watch(void)
{
    memset(started, 0, sizeof started);
    asked = NULL;
    questions = 0;
    now_ms = BEGIN_MS;
    for (size_t i = 0; i < COUNT_OF(runs_here); i++)
        runs_here[i] = false;
    const struct watch_options options = {.is_here = is_here, .arg = &now_ms};
    watch_init(&watch, &options);
}

static inline void close_watch(void)
{
    watch_stop(&watch);
    assert_int_equal(metrics_get(METRIC_JOBS_WATCHED, 0), 0);
    watch_fini(&watch);
}

struct guest {
    struct watcher place;
    atomic_int told;
};

static inline void on_told(struct watcher *p)
{
    assert_int_equal(pthread_mutex_trylock(&watch.lock), 0); /* without the lock */
    pthread_mutex_unlock(&watch.lock);
    CONTAINER_OF(p, struct guest, place)->told++;
}

static inline void enter(struct guest *g, int n, int64_t wait_ms)
{
    struct job_ref ref = job(n);
    memset(g, 0, sizeof *g);
    g->place.told = on_told;
    watch_enter(&watch, &g->place, &ref, now_ms + wait_ms);
}

static inline void end(int n)
{
    struct job_ref ref = job(n);
    watch_tell(&watch, &ref);
}
