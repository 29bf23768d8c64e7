#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/metrics.h"
#include "core/turn_private.h"

/* How soon a busy conversation, which another worker holds, is asked for again. */
#define AGAIN_LEAST_MS 8
#define METERED_REPEAT_LEAST 20 /* turns left, for what may be a repeat to be metered apart */
#define AGAIN_MOST_MS 200
#define MODEL_RETRY_MS 1000 /* advice while no model server is up: it is back within two seconds */

static void refuse_until(struct turn *t, enum err_kind why, int64_t wait_ms)
{
    struct err e = {.kind = ERR_NONE};
    err_set(&e, why, "%s", "");
    e.retry_after_ms = (unsigned)wait_ms;
    turn_refuse(t, &e);
}

static void refuse_for(struct turn *t, enum err_kind why, const char *detail)
{
    struct err e = {.kind = ERR_NONE};
    err_set(&e, why, "%s", detail);
    turn_refuse(t, &e);
}

static void on_replayed(struct turn *t)
{
    struct accept_item *item = &t->accept;
    struct turn_reply reply = {.err = item->err,
                               .replayed = true,
                               .turn_no = item->ref.turn_no,
                               .text = item->text,
                               .text_len = item->text_len,
                               .model = item->model,
                               .prompt_tokens = item->prompt_tokens,
                               .completion_tokens = item->completion_tokens};
    metrics_add(METRIC_TURNS, OUTCOME_REPLAYED, 1);
    item->text = item->model = NULL;
    turn_end(t, &reply);
    free(reply.text);
    free(reply.model);
}

static void on_again(struct timer *timer)
{
    turn_ask(CONTAINER_OF(timer, struct turn, again));
}

/* It has the word here, but not in the database: another worker answers, or this one has no id in
 * force for the moment. */
static void ask_later(struct turn *t)
{
    int64_t now_ms = clock_mono_ms();
    if (t->again_ms == 0)
        t->again_ms = AGAIN_LEAST_MS;
    int32_t wait_ms = t->again_ms / 2 + (int32_t)random_below((uint32_t)t->again_ms);
    int64_t due_ms = now_ms + wait_ms;
    t->again_ms = t->again_ms * 3 / 2;
    if (t->again_ms > AGAIN_MOST_MS)
        t->again_ms = AGAIN_MOST_MS;
    t->again.fire = on_again;
    timer_start(t->core->timers, &t->again,
                due_ms < t->request.deadline_ms ? due_ms : t->request.deadline_ms);
}

static const char unknown_detail[] =
    "it is not known whether this was stored; ask again with the same Idempotency-Key";

/* A job is stored, or was. */
static void on_queued(struct turn *t)
{
    struct accept_item *item = &t->accept;
    struct turn_reply reply = {.is_job = true,
                               .replayed = item->is_known,
                               .turn_no = item->ref.turn_no,
                               .conversation = item->ref.conversation,
                               .wait_ms = -1};
    memcpy(reply.status, item->status, sizeof reply.status);
    if (strcmp(item->status, "queued") == 0)
        backlog_place(&t->core->backlog, !item->is_known, &reply.position, &reply.wait_ms);
    metrics_add(METRIC_TURNS, item->is_known ? OUTCOME_REPLAYED : OUTCOME_QUEUED, 1);
    if (!item->is_known)
        jobs_wake(&t->core->jobs);
    turn_end(t, &reply);
}

/* It will not want a permit now. */
static void quit(struct turn *t)
{
    if (t->has_place)
        gate_quit(&t->core->gate, &t->gate);
}

static void on_accept_late(struct accept_item *item)
{
    struct turn *t = CONTAINER_OF(item, struct turn, accept);
    struct turn_reply reply = {.err = {.kind = ERR_NONE}};
    err_set(&reply.err, ERR_DB_DOWN, "%s", unknown_detail);
    turn_answer(t, &reply);
}

/* The database does not know this worker. Its next heartbeat tells it, unless that is not taken: by a standby. */
static void on_unknown_worker(struct turn *t)
{
    int64_t now_ms = clock_mono_ms();
    if (t->unknown_until_ms == 0)
        t->unknown_until_ms = now_ms + t->core->config->database_timeout;
    if (now_ms < t->unknown_until_ms)
        ask_later(t);
    else
        refuse_for(t, ERR_DB_DOWN,
                   t->is_uncertain ? unknown_detail : "the database takes no heartbeat");
}

static void on_accept_done(struct accept_item *item)
{
    struct turn *t = CONTAINER_OF(item, struct turn, accept);
    const struct caller_news news = {&t->caller, &item->quota, &item->err, clock_mono_ms()};
    FAILPOINT("accepted_before_model");
    if (item->outcome != ACCEPT_REPLAYED) /* whose error is a turn's */
        callers_note(&t->core->callers, &news);
    if (item->outcome != ACCEPT_ACCEPTED)
        quit(t);
    switch (item->outcome) {
    case ACCEPT_ACCEPTED:
        turn_go_on(t);
        break;
    case ACCEPT_REPLAYED:
        on_replayed(t);
        break;
    case ACCEPT_QUEUED:
        on_queued(t);
        break;
    case ACCEPT_WAITING:
        t->is_paid = false;
        t->unknown_until_ms = 0;
        ask_later(t);
        break;
    case ACCEPT_REFUSED:
        t->is_uncertain = t->is_uncertain || item->sent;
        if (item->err.kind == ERR_WORKER_LOST)
            on_unknown_worker(t);
        else
            turn_refuse(t, &item->err);
        break;
    }
}

static void on_overdue(struct timer *timer)
{
    struct turn *t = CONTAINER_OF(timer, struct turn, again);
    if (t->is_uncertain)
        refuse_for(t, ERR_DB_DOWN, unknown_detail);
    else
        refuse_for(t, ERR_BUSY, "the conversation was busy until the request's time was over");
}

static int64_t database_deadline_ms(const struct turn *t)
{
    int64_t deadline_ms = clock_mono_ms() + t->core->config->database_timeout;
    return deadline_ms < t->request.deadline_ms ? deadline_ms : t->request.deadline_ms;
}

/* Has the word in its line, and will be in time. */
static void open_turn(struct turn *t)
{
    struct core *c = t->core;
    struct turn_request *r = &t->request;
    struct accept_item *item = &t->accept;
    if (!t->memory && !r->is_job)
        t->memory = history_take(&c->history, &t->name);
    *item = (struct accept_item){
        .done = on_accept_done,
        .late = on_accept_late,
        .deadline_ms = database_deadline_ms(t),
        .key_hash = r->has_key ? &r->key_hash : NULL,
        .address = r->address,
        .session_id = r->session_id,
        .message = r->message,
        .idempotency_key = r->idempotency_key,
        .request_id = r->request_id,
        .fingerprint = r->fingerprint,
        .known_conversation = t->memory ? &t->memory->conversation : NULL,
        .known_turn = t->memory ? t->memory->last_turn : 0,
        .is_paid = t->is_paid,
        .is_job = r->is_job,
        .has_room = !r->is_job || backlog_has_room(&c->backlog),
        .webhook = r->webhook,
    };
    db_submit_accept(c->db, item);
}

static void on_quota_granted(struct meter_place *place, bool is_paid)
{
    struct turn *t = CONTAINER_OF(place, struct turn, meter);
    t->is_paid = is_paid;
    open_turn(t);
}

/* What there was of it went to those that were asked for before: one comes back when a refusal ends,
 * and then the others. */
static void note_spent(struct quota *q, int64_t refused_ms)
{
    int64_t others = q->limit > 1 ? q->limit - 1 : 0;
    int64_t reset_ms = refused_ms + (q->limit > 0 ? q->window_s * others * 1000 / q->limit : 0);
    q->remaining = 0;
    q->reset_ms = reset_ms < INT32_MAX ? (int32_t)reset_ms : INT32_MAX;
}

static void on_quota_refused(struct meter_place *place, const struct err *why)
{
    struct turn *t = CONTAINER_OF(place, struct turn, meter);
    if (why->kind == ERR_RATE_LIMITED && t->request.has_idempotency_key) {
        open_turn(t); /* refused, unless it is a repeat */
        return;
    }
    if (why->kind == ERR_RATE_LIMITED)
        note_spent(&t->request.quota, why->retry_after_ms);
    const struct caller_news news = {&t->caller, &t->request.quota, why, clock_mono_ms()};
    callers_note(&t->core->callers, &news);
    quit(t);
    turn_refuse(t, why);
}

/* No server is up, and all calls that may try one are spoken for. */
static bool is_model_away(struct core *c)
{
    struct gate_report gate;
    if (!models_are_in_trouble(&c->models))
        return false;
    gate_tell(&c->gate, &gate);
    return gate.wanted >= models_bear(&c->models);
}

/* Else refused_as and retry_ms are set. */
static bool is_in_time(struct turn *t)
{
    struct core *c = t->core;
    t->refused_as = ERR_MODEL_DOWN;
    t->retry_ms = MODEL_RETRY_MS;
    if (is_model_away(c))
        return false;
    t->refused_as = ERR_QUEUE_SLOW;
    return gate_come(&c->gate, &t->gate, turn_call_deadline_ms(t), &t->retry_ms);
}

/* Turned away before the database was asked; but an earlier question may have been stored. */
static void on_refused(struct timer *timer)
{
    struct turn *t = CONTAINER_OF(timer, struct turn, again);
    if (t->is_uncertain)
        refuse_for(t, ERR_DB_DOWN, unknown_detail);
    else
        refuse_until(t, t->refused_as, t->retry_ms);
}

/* By the timer: a whole line that is to be refused would else be ended one within the other. */
static void refuse_soon(struct turn *t, void (*fire)(struct timer *))
{
    t->again.fire = fire;
    timer_start(t->core->timers, &t->again, clock_mono_ms());
}

/* Has the word in its line. */
void turn_ask(struct turn *t)
{
    struct core *c = t->core;
    struct turn_request *r = &t->request;
    int64_t now_ms = clock_mono_ms();
    if (core_is_closing(c))
        return; /* core_close frees it */
    if (now_ms >= r->deadline_ms || t->is_answered) {
        refuse_soon(t, on_overdue);
        return;
    }
    if (!r->is_job && !is_in_time(t)) {
        refuse_soon(t, on_refused);
        return;
    }
    const struct meter_ask quota = {.name = &t->caller,
                                    .key_hash = r->has_key ? &r->key_hash : NULL,
                                    .address = r->address,
                                    .now_ms = now_ms,
                                    .deadline_ms = database_deadline_ms(t)};
    /* What may be a repeat, or has found its conversation busy, may have to give it back: while
     * little is left, that would have others of this caller refused meanwhile. */
    if (t->is_paid || t->again_ms > 0 ||
        !callers_is_hot(&c->callers, &t->caller, now_ms, &r->quota) ||
        (r->has_idempotency_key && r->quota.remaining < METERED_REPEAT_LEAST)) {
        open_turn(t);
        return;
    }
    t->meter.granted = on_quota_granted;
    t->meter.refused = on_quota_refused;
    meter_take(&c->meter, &t->meter, &quota);
}
