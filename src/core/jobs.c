#include "core/jobs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "core/core_private.h"
#include "core/turn_private.h"
#include "db/store.h"

/* Between two polls: soon after something was found, later with each that finds nothing. */
#define POLL_LEAST_MS 20
#define POLL_MOST_MS 1000
#define CALL_MS 5000
/* A claim whose reply was lost is not done later than that: statements have a time limit (5 s). */
#define DOUBT_MS 10000
/* Calls of a job that fail while its model is in trouble: it may be the job that troubles it. */
#define FAILURES_MOST 5

static struct turn *turn_of(struct list_node *n)
{
    return CONTAINER_OF(n, struct turn, running);
}

static struct job_ref ref_of(const struct turn *t)
{
    return (struct job_ref){t->accept.ref.conversation, t->accept.ref.turn_no};
}

static void list_turn(struct job_list *l, const struct turn *t)
{
    const struct job_ref ref = ref_of(t);
    job_list_add(l, &ref, t->accept.ref.attempt);
}

/* ---- claiming -------------------------------------------------------------------------------- */

static void list_known_locked(struct jobs *j)
{
    job_list_begin(&j->known);
    for (struct list_node *n = list_first(&j->running); n; n = list_next(&j->running, n))
        list_turn(&j->known, turn_of(n));
    job_list_end(&j->known);
}

/* Until somebody wakes us, or it is time to look. */
static void rest_locked(struct jobs *j)
{
    j->is_claiming = false;
    if (j->is_stopping)
        return;
    int64_t pause_ms = j->pause_ms / 2 + random_below((uint32_t)j->pause_ms);
    timer_start(j->core->timers, &j->poll, clock_mono_ms() + pause_ms);
}

/* Has set is_claiming. */
static void claim(struct jobs *j)
{
    struct claim *c = &j->claim;
    const struct config *config = j->core->config;
    struct keeper_report worker;
    /* Set before the look: what becomes free in between is not missed. */
    atomic_store(&j->is_hungry, true);
    size_t room = gate_room(&j->core->gate);
    bool is_doubtful = clock_mono_ms() < j->doubtful_until;
    keeper_tell(&j->core->keeper, &worker);
    pthread_mutex_lock(&j->lock);
    /* What may have been claimed without our knowledge is given back, with or without room. */
    if ((room == 0 && !is_doubtful) || !worker.is_heard || j->is_stopping) {
        rest_locked(j);
        pthread_mutex_unlock(&j->lock);
        return;
    }
    j->is_woken = false;
    list_known_locked(j);
    pthread_mutex_unlock(&j->lock);
    c->known = j->known.conversations.data;
    j->asked = room < LIMIT_CLAIM_JOBS ? room : LIMIT_CLAIM_JOBS;
    memcpy(c->worker, worker.worker, sizeof c->worker);
    bool is_id = uuid_parse(c->worker, strlen(c->worker), &c->worker_id);
    assert(is_id);
    snprintf(c->most, sizeof c->most, "%zu", j->asked);
    snprintf(c->messages, sizeof c->messages, "%" PRId64, config->history_messages);
    snprintf(c->bytes, sizeof c->bytes, "%" PRId64, config->history_bytes);
    snprintf(c->number, sizeof c->number, "%d", j->number);
    claim_ask(c);
    c->call.deadline_ms = clock_mono_ms() + CALL_MS;
    db_submit_call(j->core->db, &c->call);
}

/* It may have been done, or still come to be: then what it opened is found by those after it. */
static void note_outcome(struct jobs *j, enum err_kind kind)
{
    bool was_lost = j->is_lost;
    j->is_lost = kind == ERR_DB_DOWN;
    if (!j->is_lost)
        return;
    j->number++;
    j->doubtful_until = clock_mono_ms() + DOUBT_MS;
    if (!was_lost)
        j->pause_ms = 0;
}

/* Until the next poll: longer with each that finds nothing. */
static int64_t next_pause_ms(const struct jobs *j, size_t count, enum err_kind kind)
{
    int64_t pause_ms = j->pause_ms * 2;
    if (kind != ERR_NONE && kind != ERR_DB_DOWN)
        return POLL_MOST_MS;
    if (count > 0 || pause_ms < POLL_LEAST_MS)
        return POLL_LEAST_MS;
    return pause_ms < POLL_MOST_MS ? pause_ms : POLL_MOST_MS;
}

static void on_claimed(struct call_item *item)
{
    struct jobs *j = CONTAINER_OF(item, struct jobs, claim.call);
    struct claim *c = &j->claim;
    size_t count = item->err.kind == ERR_NONE ? c->count : 0;
    bool is_full = count > 0 && count == j->asked;
    if (count > 0)
        FAILPOINT("claimed_before_model");
    for (size_t i = 0; i < count; i++)
        turn_run(j->core, &c->jobs[i]);
    backlog_began(&j->core->backlog, count);
    claim_clear(c);
    atomic_store(&j->is_hungry, is_full);
    pthread_mutex_lock(&j->lock);
    bool again = (is_full || (j->is_woken && item->err.kind == ERR_NONE)) && !j->is_stopping;
    note_outcome(j, item->err.kind);
    j->pause_ms = next_pause_ms(j, count, item->err.kind);
    if (!again)
        rest_locked(j);
    pthread_mutex_unlock(&j->lock);
    if (again)
        claim(j);
}

static void on_poll(struct timer *timer)
{
    struct jobs *j = CONTAINER_OF(timer, struct jobs, poll);
    pthread_mutex_lock(&j->lock);
    bool go = !j->is_claiming && !j->is_stopping;
    j->is_claiming = j->is_claiming || go;
    pthread_mutex_unlock(&j->lock);
    if (go)
        claim(j);
}

void jobs_wake(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    /* When the timer fires just now, it will claim. */
    bool go = !j->is_claiming && !j->is_stopping && timer_stop(j->core->timers, &j->poll);
    j->is_woken = j->is_woken || j->is_claiming;
    j->is_claiming = j->is_claiming || go;
    pthread_mutex_unlock(&j->lock);
    if (go)
        claim(j);
}

void jobs_note_room(struct jobs *j)
{
    if (atomic_exchange(&j->is_hungry, false))
        jobs_wake(j);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

static bool is_same(const struct turn_ref *a, const struct turn_ref *b)
{
    return a->turn_no == b->turn_no && a->attempt == b->attempt &&
           memcmp(&a->conversation, &b->conversation, sizeof a->conversation) == 0;
}

static void cancel_locked(struct jobs *j, const struct turn_ref *ref)
{
    for (struct list_node *n = list_first(&j->running); n; n = list_next(&j->running, n))
        if (is_same(&turn_of(n)->accept.ref, ref))
            atomic_store(&turn_of(n)->model.call.is_cancelled, true);
}

static void on_looked(struct call_item *item)
{
    struct jobs *j = CONTAINER_OF(item, struct jobs, look);
    const char *at = item->text && item->text[0] == '{' ? item->text + 1 : "";
    char *end;
    pthread_mutex_lock(&j->lock);
    for (size_t place; (place = strtoul(at, &end, 10)) > 0 && end > at; at = end + (*end == ','))
        if (place <= j->looked.count)
            cancel_locked(j, &j->looked_at[place - 1]);
    free(j->looked_at);
    j->looked_at = NULL;
    /* Without an answer we do not know, and ask again. */
    bool again = (j->is_look_asked || item->err.kind == ERR_DB_DOWN) && !j->is_stopping;
    j->is_looking = j->is_look_asked = false;
    pthread_mutex_unlock(&j->lock);
    free(item->text);
    item->text = NULL;
    models_break_off(&j->core->models);
    if (again)
        jobs_look(j);
}

/* What runs under the id this worker has; what it began under another is not its own any more. */
static void list_running_locked(struct jobs *j, const struct uuid *worker)
{
    job_list_begin(&j->looked);
    j->looked_at = mem_zero((j->running.count + 1) * sizeof *j->looked_at);
    for (struct list_node *n = list_first(&j->running); n; n = list_next(&j->running, n)) {
        const struct turn_ref *ref = &turn_of(n)->accept.ref;
        if (memcmp(&ref->worker, worker, sizeof *worker) != 0) {
            atomic_store(&turn_of(n)->model.call.is_cancelled, true);
            continue;
        }
        j->looked_at[j->looked.count] = *ref;
        list_turn(&j->looked, turn_of(n));
    }
    job_list_end(&j->looked);
}

void jobs_look(struct jobs *j)
{
    struct keeper_report report;
    struct uuid worker;
    keeper_tell(&j->core->keeper, &report);
    bool is_id = uuid_parse(report.worker, strlen(report.worker), &worker);
    assert(is_id);
    pthread_mutex_lock(&j->lock);
    bool go = !j->is_looking && !j->is_stopping;
    j->is_look_asked = j->is_look_asked || j->is_looking;
    if (go) {
        j->is_looking = true;
        memcpy(j->look_worker, report.worker, sizeof j->look_worker);
        list_running_locked(j, &worker);
    }
    pthread_mutex_unlock(&j->lock);
    if (!go)
        return;
    const struct store_jobs ask = {.worker = j->look_worker,
                                   .conversations = j->looked.conversations.data,
                                   .turn_nos = j->looked.turn_nos.data,
                                   .attempts = j->looked.attempts.data};
    store_jobs_lost(&j->look, &ask);
    j->look.deadline_ms = clock_mono_ms() + CALL_MS;
    db_submit_call(j->core->db, &j->look);
}

/* ---- running --------------------------------------------------------------------------------- */

static struct list *bucket_of(struct jobs *j, const struct job_ref *ref)
{
    return &j->by_ref[job_ref_hash(ref) % JOBS_BUCKETS];
}

bool jobs_is_here(struct jobs *j, const struct job_ref *ref)
{
    const struct list *bucket = bucket_of(j, ref);
    bool is_here = false;
    pthread_mutex_lock(&j->lock);
    for (struct list_node *n = list_first(bucket); n && !is_here; n = list_next(bucket, n)) {
        struct job_ref other = ref_of(CONTAINER_OF(n, struct turn, by_ref));
        is_here = job_ref_equals(&other, ref);
    }
    pthread_mutex_unlock(&j->lock);
    return is_here;
}

void jobs_begin(struct jobs *j, struct turn *t)
{
    struct job_ref ref = ref_of(t);
    pthread_mutex_lock(&j->lock);
    list_append(&j->running, &t->running);
    list_append(bucket_of(j, &ref), &t->by_ref);
    if (j->is_stopping)
        atomic_store(&t->model.call.is_cancelled, true);
    pthread_mutex_unlock(&j->lock);
    metrics_add(METRIC_JOBS_RUNNING, 0, 1);
}

void jobs_end(struct jobs *j, struct turn *t)
{
    struct job_ref ref = ref_of(t);
    pthread_mutex_lock(&j->lock);
    list_remove(&j->running, &t->running);
    list_remove(bucket_of(j, &ref), &t->by_ref);
    pthread_mutex_unlock(&j->lock);
    metrics_add(METRIC_JOBS_RUNNING, 0, -1);
}

bool jobs_is_handed_back(struct jobs *j, const struct turn *t)
{
    switch (t->model.call.err.kind) {
    case ERR_CANCELLED:
    case ERR_WORKER_LOST:
    case ERR_QUEUE_SLOW:
    case ERR_QUEUE_FULL:
        return true;
    case ERR_MODEL_FAILED:
    case ERR_MODEL_TIMEOUT:
        return models_are_in_trouble(&j->core->models) && t->failures + 1 < FAILURES_MOST;
    default:
        return false;
    }
}

/* ---- from outside ---------------------------------------------------------------------------- */

void jobs_init(struct jobs *j, struct core *core)
{
    memset(j, 0, sizeof *j);
    j->core = core;
    list_init(&j->running);
    for (size_t i = 0; i < JOBS_BUCKETS; i++)
        list_init(&j->by_ref[i]);
    pthread_mutex_init(&j->lock, NULL);
    job_list_init(&j->known);
    job_list_init(&j->looked);
    j->poll.fire = on_poll;
    j->claim.call.done = on_claimed;
    j->look.done = on_looked;
    j->pause_ms = POLL_MOST_MS;
}

void jobs_start(struct jobs *j)
{
    timer_start(j->core->timers, &j->poll, clock_mono_ms() + POLL_LEAST_MS);
}

void jobs_stop(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    j->is_stopping = true;
    timer_stop(j->core->timers, &j->poll);
    for (struct list_node *n = list_first(&j->running); n; n = list_next(&j->running, n))
        atomic_store(&turn_of(n)->model.call.is_cancelled, true);
    pthread_mutex_unlock(&j->lock);
    gate_close(&j->core->gate, GATE_JOB);
    models_break_off(&j->core->models);
}

void jobs_fini(struct jobs *j)
{
    claim_clear(&j->claim);
    job_list_fini(&j->known);
    job_list_fini(&j->looked);
    free(j->looked_at);
    free(j->look.text);
    pthread_mutex_destroy(&j->lock);
}
