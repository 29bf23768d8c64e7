#include "core/backlog.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "core/core_private.h"
#include "db/store.h"

#define COUNT_MS 2000
#define COUNT_SHARE 100     /* of the time, at most one part is spent counting */
#define COUNT_MOST_MS 10000 /* it may have been the way that took long: not for ever */
#define CALL_MS 5000

static void on_time(struct timer *timer)
{
    struct backlog *b = CONTAINER_OF(timer, struct backlog, timer);
    pthread_mutex_lock(&b->lock);
    b->since = 0;
    pthread_mutex_unlock(&b->lock);
    b->asked_us = clock_mono_us();
    b->item.deadline_ms = b->asked_us / 1000 + CALL_MS;
    store_count_jobs(&b->item);
    db_submit_call(b->core->db, &b->item);
}

static void on_counted(struct call_item *item)
{
    struct backlog *b = CONTAINER_OF(item, struct backlog, item);
    int64_t now_us = clock_mono_us();
    int64_t pause_ms = (now_us - b->asked_us) * COUNT_SHARE / 1000;
    pause_ms = pause_ms > COUNT_MS ? pause_ms : COUNT_MS;
    pause_ms = pause_ms < COUNT_MOST_MS ? pause_ms : COUNT_MOST_MS;
    int queued, ready, calls;
    pthread_mutex_lock(&b->lock);
    if (item->text && sscanf(item->text, "{%d,%d,%d}", &queued, &ready, &calls) == 3) {
        b->queued = queued + b->since;
        b->calls = calls;
        metrics_set(METRIC_JOBS_QUEUED, 0, queued);
    }
    pthread_mutex_unlock(&b->lock);
    free(item->text);
    item->text = NULL;
    timer_start(b->core->timers, &b->timer, now_us / 1000 + pause_ms);
}

void backlog_init(struct backlog *b, struct core *core)
{
    *b = (struct backlog){.core = core, .timer.fire = on_time, .item.done = on_counted};
    pthread_mutex_init(&b->lock, NULL);
    timer_start(core->timers, &b->timer, clock_mono_ms());
}

void backlog_fini(struct backlog *b)
{
    free(b->item.text);
    pthread_mutex_destroy(&b->lock);
}

bool backlog_has_room(struct backlog *b)
{
    pthread_mutex_lock(&b->lock);
    bool has_room = b->queued < b->core->config->job_limit;
    pthread_mutex_unlock(&b->lock);
    return has_room;
}

void backlog_began(struct backlog *b, size_t jobs)
{
    pthread_mutex_lock(&b->lock);
    b->queued = b->queued > (int64_t)jobs ? b->queued - (int64_t)jobs : 0;
    b->since = b->since > (int64_t)jobs ? b->since - (int64_t)jobs : 0;
    pthread_mutex_unlock(&b->lock);
}

void backlog_place(struct backlog *b, bool is_new, int64_t *position, int64_t *wait_ms)
{
    struct gate_report gate;
    gate_tell(&b->core->gate, &gate);
    pthread_mutex_lock(&b->lock);
    if (is_new) {
        b->queued++;
        b->since++;
    }
    *position = b->queued > 0 ? b->queued : 1;
    *wait_ms = -1;
    if (b->calls > 0 && gate.call_us > 0)
        *wait_ms = (*position - 1) * gate.call_us / b->calls / 1000;
    pthread_mutex_unlock(&b->lock);
}
