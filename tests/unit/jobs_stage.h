/* jobs_stage — a worker's jobs with a clock, timers and a database that do as they are told.
 *
 * Does:      stands in for what core/jobs calls; opens and closes the jobs of the one core.
 * Does not:  test.
 * Threads:   the test's own.
 * Owns:      the core, and the turns that run.
 */
#pragma once

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/core_private.h"
#include "core/turn_private.h"

#define BEGIN_MS 1000000
#define PERMITS 4

/* ---- stand-ins: time, timers, database, the rest of the room ----------------------------------- */

static int64_t now_ms;

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

static struct timer *started; /* jobs has one */

void timer_start(struct timers *t, struct timer *timer, int64_t due_ms)
{
    (void)t;
    assert_null(started);
    timer->due_ms = due_ms;
    started = timer;
}

bool timer_stop(struct timers *t, struct timer *timer)
{
    (void)t;
    bool was_started = started == timer;
    if (was_started)
        started = NULL;
    return was_started;
}

bool timer_stop_and_wait(struct timers *t, struct timer *timer)
{
    return timer_stop(t, timer);
}

static struct call_item *claiming, *looking;
static int claims, looks;

void db_submit_call(struct db *d, struct call_item *item)
{
    (void)d;
    bool is_claim = strstr(item->sql, "claim_jobs") != NULL;
    struct call_item **place = is_claim ? &claiming : &looking;
    assert_null(*place);
    item->err = (struct err){.kind = ERR_NONE};
    *place = item;
    *(is_claim ? &claims : &looks) += 1;
}

static bool is_heard;
static const char *worker;

void keeper_tell(struct keeper *k, struct keeper_report *out)
{
    (void)k;
    *out = (struct keeper_report){.is_heard = is_heard};
    snprintf(out->worker, sizeof out->worker, "%s", worker);
}

static int break_offs;
static bool in_trouble;

void models_break_off(struct models *m)
{
    (void)m;
    break_offs++;
}

bool models_are_in_trouble(const struct models *m)
{
    (void)m;
    return in_trouble;
}

static struct turn turns[16];
static size_t run_count;
static void (*on_run)(struct core *c); /* when the next one is run */

void turn_run(struct core *c, struct claim_job *job)
{
    struct turn *t = &turns[run_count++];
    *t = (struct turn){.core = c, .is_claimed = true};
    t->accept.ref = job->ref;
    jobs_begin(&c->jobs, t);
    void (*run)(struct core *) = on_run;
    on_run = NULL;
    if (run)
        run(c);
}

/* ---- a worker's jobs --------------------------------------------------------------------------- */

static struct core core;
static struct config config = {.history_messages = 40, .history_bytes = 100000};
static const char first_id[] = "00000000-0000-0000-0000-00000000000a";
static const char second_id[] = "00000000-0000-0000-0000-00000000000b";

static inline void open_jobs(void)
{
    memset(&core, 0, sizeof core);
    started = NULL;
    claiming = looking = NULL;
    claims = looks = break_offs = 0;
    run_count = 0;
    in_trouble = false;
    is_heard = true;
    worker = first_id;
    now_ms = BEGIN_MS;
    core.config = &config;
    const struct gate_options gate = {.permits = PERMITS, .most = 100};
    gate_init(&core.gate, &gate);
    jobs_init(&core.jobs, &core);
    jobs_start(&core.jobs);
}

static inline void close_jobs(void)
{
    jobs_stop(&core.jobs);
    assert_null(started);
    for (size_t i = 0; i < run_count; i++)
        if (list_is_linked(&turns[i].running))
            jobs_end(&core.jobs, &turns[i]);
    jobs_fini(&core.jobs);
    gate_fini(&core.gate);
}

static inline int64_t next_poll_in(void)
{
    assert_non_null(started);
    return started->due_ms - now_ms;
}

static inline void poll(void)
{
    struct timer *timer = started;
    assert_non_null(timer);
    now_ms = timer->due_ms;
    started = NULL;
    timer->fire(timer);
}

/* So many jobs, of conversations that begin with these bytes. */
static inline void answer_claim(enum err_kind kind, int count, uint8_t conversation)
{
    struct call_item *item = claiming;
    struct claim *c = &core.jobs.claim;
    assert_non_null(item);
    claiming = NULL;
    if (kind != ERR_NONE)
        err_set(&item->err, kind, "%s", "as told");
    for (int i = 0; i < count; i++)
        c->jobs[c->count++] =
            (struct claim_job){.ref = {.worker = c->worker_id,
                                       .conversation = {{(uint8_t)(conversation + i)}},
                                       .turn_no = 1,
                                       .attempt = 1}};
    item->done(item);
}

static inline void answer_look(enum err_kind kind, const char *text)
{
    struct call_item *item = looking;
    assert_non_null(item);
    looking = NULL;
    if (kind != ERR_NONE)
        err_set(&item->err, kind, "%s", "as told");
    item->text = mem_text(text);
    item->text_len = text ? strlen(text) : 0;
    item->done(item);
}

static struct gate_place guests[PERMITS];

static inline void unused(struct gate_place *p)
{
    (void)p;
}

/* Takes so many calls. */
static inline void fill(int from, int count)
{
    const struct hash caller = {{1}};
    int64_t wait_ms;
    for (int i = from; i < from + count; i++) {
        guests[i] = (struct gate_place){.admitted = unused, .expired = unused, .class = GATE_JOB};
        assert_true(gate_arrive(&core.gate, &guests[i], &caller, &wait_ms));
        assert_true(gate_enter(&core.gate, &guests[i], INT64_MAX / 2));
    }
}

static inline void leave(int guest)
{
    now_ms += 1000; /* a long call */
    gate_leave(&core.gate, &guests[guest]);
    gate_depart(&core.gate, &guests[guest]);
    jobs_note_room(&core.jobs);
}

static inline bool is_cancelled(int turn)
{
    return atomic_load(&turns[turn].model.call.is_cancelled);
}
