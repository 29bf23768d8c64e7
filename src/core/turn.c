#include "core/turn.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "core/turn_private.h"

/* How soon a busy conversation, which another worker holds, is asked for again. */
#define AGAIN_LEAST_MS 8
#define AGAIN_MOST_MS 200
/* Kept of the request's time for writing what the model came to: a sixteenth, this at most. */
#define FINISH_MS 2000
#define MODEL_RETRY_MS 1000 /* advice while no model server is up: it is back within two seconds */

static void ask(struct turn *t);
static void finish(struct turn *t);

/* ---- the end --------------------------------------------------------------------------------- */

static enum metric_refusal {
    REFUSED_RATE_LIMITED,
    REFUSED_OPEN_TURNS,
    REFUSED_TOKENS,
    REFUSED_QUEUE_FULL,
    REFUSED_QUEUE_SLOW,
    REFUSED_MODEL_DOWN,
    REFUSED_DRAINING,
    REFUSED_BUSY,
    REFUSED_UNAUTHORIZED,
    REFUSED_KEY_REUSED,
    REFUSED_DATABASE,
    REFUSED_OTHER
} refusal_of(enum err_kind kind)
{
    switch (kind) {
    case ERR_RATE_LIMITED:
        return REFUSED_RATE_LIMITED;
    case ERR_OPEN_TURNS:
        return REFUSED_OPEN_TURNS;
    case ERR_TOKENS:
        return REFUSED_TOKENS;
    case ERR_QUEUE_FULL:
        return REFUSED_QUEUE_FULL;
    case ERR_QUEUE_SLOW:
        return REFUSED_QUEUE_SLOW;
    case ERR_MODEL_DOWN:
        return REFUSED_MODEL_DOWN;
    case ERR_DRAINING:
        return REFUSED_DRAINING;
    case ERR_BUSY:
        return REFUSED_BUSY;
    case ERR_UNAUTHORIZED:
        return REFUSED_UNAUTHORIZED;
    case ERR_KEY_REUSED:
        return REFUSED_KEY_REUSED;
    case ERR_DB_DOWN:
        return REFUSED_DATABASE;
    default:
        return REFUSED_OTHER;
    }
}

enum metric_outcome {
    OUTCOME_COMPLETED,
    OUTCOME_REPLAYED,
    OUTCOME_REFUSED,
    OUTCOME_FAILED,
    OUTCOME_FENCED
};

static void count_refusal(enum err_kind why)
{
    metrics_add(METRIC_TURNS, OUTCOME_REFUSED, 1);
    metrics_add(METRIC_REFUSALS, refusal_of(why), 1);
}

static void free_texts(struct turn_request *r)
{
    free(r->session_id);
    free(r->message);
    free(r->idempotency_key);
    free(r->traceparent);
}

void turn_free(struct turn *t)
{
    struct core *c = t->core;
    pthread_mutex_lock(&c->lock);
    list_remove(&c->turns, &t->node);
    if (c->turns.count == 0)
        pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    metrics_add(METRIC_TURNS_OPEN, 0, -1);
    gate_depart(&c->gate, &t->gate);
    free_texts(&t->request);
    free(t->accept.text);
    free(t->accept.model);
    free(t->model.call.text);
    free(t->model.call.model);
    passage_fini(&t->accept.history);
    memory_free(t->memory);
    free(t->model.body);
    free(t);
}

static void answer(struct turn *t, struct turn_reply *reply)
{
    if (t->is_answered)
        return;
    t->is_answered = true;
    reply->quota = t->accept.quota.policy[0] ? t->accept.quota : t->request.quota;
    t->request.answer(t->request.receiver, reply);
}

/* Answered, and out of its conversation: the next in line has the word. */
static void end(struct turn *t, struct turn_reply *reply)
{
    answer(t, reply);
    if (t->memory)
        history_put(&t->core->history, t->memory, clock_mono_ms());
    t->memory = NULL;
    line_leave(&t->core->line, &t->line);
    turn_free(t);
}

/* Nothing is stored. */
static void refuse(struct turn *t, const struct err *why)
{
    struct turn_reply reply = {.err = *why};
    count_refusal(why->kind);
    end(t, &reply);
}

static void refuse_until(struct turn *t, enum err_kind why, int64_t wait_ms)
{
    struct err e = {.kind = ERR_NONE};
    err_set(&e, why, "%s", "");
    e.retry_after_ms = (unsigned)wait_ms;
    refuse(t, &e);
}

static void refuse_for(struct turn *t, enum err_kind why, const char *detail)
{
    struct err e = {.kind = ERR_NONE};
    err_set(&e, why, "%s", detail);
    refuse(t, &e);
}

/* ---- finish ---------------------------------------------------------------------------------- */

static void on_finish_late(struct finish_item *item)
{
    struct turn *t = CONTAINER_OF(item, struct turn, finish);
    struct turn_reply reply = {.err = {.kind = ERR_NONE}};
    err_set(&reply.err, ERR_DB_DOWN,
            "the answer is there but not yet stored; ask again with the same Idempotency-Key");
    answer(t, &reply);
}

static void trim(const struct turn *t)
{
    const struct config *c = t->core->config;
    passage_trim(&t->memory->passage, (size_t)c->history_messages / 2, (size_t)c->history_bytes);
}

/* The turn belongs to the history from now on; one without an answer does not, and changes what the
 * database is to be asked. */
static void remember(struct turn *t, bool is_completed)
{
    struct memory *m = t->memory;
    if (is_completed) {
        struct span words = {t->request.message, strlen(t->request.message)};
        struct span text = {t->model.call.text, t->model.call.text_len};
        passage_append_turn(&m->passage, words, text);
        m->last_turn = t->accept.ref.turn_no;
        trim(t);
    } else {
        memory_free(m);
        t->memory = NULL;
    }
}

static void on_finish_done(struct finish_item *item)
{
    struct turn *t = CONTAINER_OF(item, struct turn, finish);
    struct llm_call *call = &t->model.call;
    if (item->err.kind == ERR_INTERNAL && item->state == FINISH_COMPLETED) {
        /* A defect; but the conversation must not stay closed for it. */
        err_set(&call->err, ERR_INTERNAL, "the answer could not be stored");
        finish(t);
        return;
    }
    struct turn_reply reply = {.err = {.kind = ERR_NONE}, .turn_no = t->accept.ref.turn_no};
    FAILPOINT("finished_before_answer");
    remember(t, item->outcome == FINISH_DONE && item->state == FINISH_COMPLETED);
    if (item->outcome == FINISH_FENCED) {
        metrics_add(METRIC_TURNS, OUTCOME_FENCED, 1);
        reply.err = item->err;
    } else if (item->state == FINISH_FAILED) {
        metrics_add(METRIC_TURNS, OUTCOME_FAILED, 1);
        reply.err = call->err;
    } else {
        metrics_add(METRIC_TURNS, OUTCOME_COMPLETED, 1);
        reply.text = call->text;
        reply.text_len = call->text_len;
        reply.model = call->model;
        reply.prompt_tokens = call->prompt_tokens;
        reply.completion_tokens = call->completion_tokens;
        call->text = call->model = NULL;
    }
    end(t, &reply);
    free(reply.text); /* NULL when they were taken */
    free(reply.model);
}

/* What the call came to, or why there was none (call.err), is written. */
static void finish(struct turn *t)
{
    struct finish_item *f = &t->finish;
    const struct llm_call *call = &t->model.call;
    free(t->model.body);
    t->model.body = NULL;
    *f = (struct finish_item){
        .done = on_finish_done,
        .late = on_finish_late,
        .deadline_ms = t->request.deadline_ms,
        .ref = t->accept.ref,
        .state = call->err.kind == ERR_NONE ? FINISH_COMPLETED : FINISH_FAILED,
        .answer = call->text,
        .model = call->model,
        .error_code = err_info(call->err.kind)->code,
        .prompt_tokens = call->prompt_tokens,
        .completion_tokens = call->completion_tokens,
        .first_byte_ms =
            call->first_byte_ms > 0 ? (int32_t)(call->first_byte_ms - t->accepted_ms) : -1,
        .model_attempts = t->model.attempts + call->attempts,
    };
    db_submit_finish(t->core->db, f);
}

/* ---- the model ------------------------------------------------------------------------------- */

/* false: core_close has closed the servers, or is about to. */
static bool submit(struct core *c, struct models_call *call,
                   void (*to)(struct models *, struct models_call *))
{
    pthread_mutex_lock(&c->lock);
    bool go = !c->is_closing;
    if (go)
        to(&c->models, call);
    pthread_mutex_unlock(&c->lock);
    return go;
}

static void on_call_done(struct llm_call *call)
{
    struct turn *t = CONTAINER_OF(call, struct turn, model.call);
    struct core *c = t->core;
    if (models_has_other(&c->models, &t->model, clock_mono_ms()) &&
        submit(c, &t->model, models_submit_other))
        return;
    gate_leave(&c->gate, &t->gate);
    finish(t);
}

static int64_t call_deadline_ms(const struct turn *t)
{
    int64_t kept = t->core->config->request_timeout / 16;
    return t->request.deadline_ms - (kept < FINISH_MS ? kept : FINISH_MS);
}

static void fail_uncalled(struct turn *t, enum err_kind why, const char *detail)
{
    t->model.call.prompt_tokens = t->model.call.completion_tokens = -1;
    err_set(&t->model.call.err, why, "%s", detail);
    finish(t);
}

/* Has a permit. */
static void call_model(struct turn *t)
{
    struct llm_call *call = &t->model.call;
    call->done = on_call_done;
    call->deadline_ms = call_deadline_ms(t);
    call->admitted_ms = t->gate.admitted_ms;
    call->traceparent = t->request.traceparent;
    call->request_id = t->request.request_id;
    FAILPOINT("before_model_call");
    if (submit(t->core, &t->model, models_submit))
        return;
    gate_leave(&t->core->gate, &t->gate);
    fail_uncalled(t, ERR_WORKER_LOST, "this worker stopped before it could ask the model");
}

static void on_admitted(struct gate_place *place)
{
    call_model(CONTAINER_OF(place, struct turn, gate));
}

static void on_gate_expired(struct gate_place *place)
{
    struct turn *t = CONTAINER_OF(place, struct turn, gate);
    if (core_is_closing(t->core)) {
        fail_uncalled(t, ERR_WORKER_LOST, "this worker stopped before it could ask the model");
        return;
    }
    fail_uncalled(t, ERR_MODEL_TIMEOUT, "no call to the model was free in time");
}

/* What the database gave, behind what was known. */
static struct span recall(struct turn *t)
{
    struct accept_item *item = &t->accept;
    if (!t->memory)
        t->memory = memory_new(&t->name);
    struct memory *m = t->memory;
    m->conversation = item->ref.conversation;
    m->last_turn = item->ref.turn_no - 1;
    if (item->history_after > 0) {
        passage_append(&m->passage, &item->history);
        trim(t);
        passage_fini(&item->history);
    } else {
        passage_fini(&m->passage);
        m->passage = item->history;
        item->history = (struct passage){.json = NULL};
    }
    return (struct span){m->passage.json, m->passage.len};
}

static void on_accepted(struct turn *t)
{
    t->accepted_ms = clock_mono_ms();
    t->model.body = prompt_build(models_prompt(&t->core->models), recall(t), t->request.message,
                                 &t->model.body_len);
    t->gate.admitted = on_admitted;
    t->gate.expired = on_gate_expired;
    if (gate_enter(&t->core->gate, &t->gate, call_deadline_ms(t)))
        call_model(t);
}

/* ---- accept ---------------------------------------------------------------------------------- */

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
    end(t, &reply);
    free(reply.text);
    free(reply.model);
}

static void on_again(struct timer *timer)
{
    ask(CONTAINER_OF(timer, struct turn, again));
}

/* It has the word here, but not in the database: another worker answers, or this one has no id in
 * force for the moment. */
static void ask_later(struct turn *t)
{
    int64_t now_ms = clock_mono_ms();
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

static void on_accept_late(struct accept_item *item)
{
    struct turn *t = CONTAINER_OF(item, struct turn, accept);
    struct turn_reply reply = {.err = {.kind = ERR_NONE}};
    err_set(&reply.err, ERR_DB_DOWN, "%s", unknown_detail);
    answer(t, &reply);
}

static void on_accept_done(struct accept_item *item)
{
    struct turn *t = CONTAINER_OF(item, struct turn, accept);
    const struct caller_news news = {&t->caller, &item->quota, &item->err, clock_mono_ms()};
    FAILPOINT("accepted_before_model");
    if (item->outcome != ACCEPT_REPLAYED) /* whose error is a turn's */
        callers_note(&t->core->callers, &news);
    if (item->outcome != ACCEPT_ACCEPTED)
        gate_quit(&t->core->gate, &t->gate);
    switch (item->outcome) {
    case ACCEPT_ACCEPTED:
        on_accepted(t);
        break;
    case ACCEPT_REPLAYED:
        on_replayed(t);
        break;
    case ACCEPT_WAITING:
        ask_later(t);
        break;
    case ACCEPT_REFUSED:
        t->is_uncertain = t->is_uncertain || item->sent;
        if (item->err.kind == ERR_WORKER_LOST)
            ask_later(t);
        else
            refuse(t, &item->err);
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

/* Turned away before the database was asked; but an earlier question may have been stored. */
static void on_turned_away(struct timer *timer)
{
    struct turn *t = CONTAINER_OF(timer, struct turn, again);
    if (t->is_uncertain)
        refuse_for(t, ERR_DB_DOWN, unknown_detail);
    else
        refuse_until(t, t->refusal, t->refusal_ms);
}

/* By the timer: a whole line that is to be refused would else be ended one within the other. */
static void refuse_soon(struct turn *t, void (*fire)(struct timer *))
{
    t->again.fire = fire;
    timer_start(t->core->timers, &t->again, clock_mono_ms());
}

static int64_t database_deadline_ms(const struct turn *t)
{
    int64_t deadline_ms = clock_mono_ms() + t->core->config->database_timeout;
    return deadline_ms < t->request.deadline_ms ? deadline_ms : t->request.deadline_ms;
}

/* Has the word in its line, and will be in time. */
static void open_turn(struct turn *t, bool is_paid)
{
    struct core *c = t->core;
    struct turn_request *r = &t->request;
    struct accept_item *item = &t->accept;
    if (!t->memory)
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
        .is_paid = is_paid,
    };
    db_submit_accept(c->db, item);
}

static void on_quota_granted(struct meter_place *place, bool is_paid)
{
    open_turn(CONTAINER_OF(place, struct turn, meter), is_paid);
}

static void on_quota_refused(struct meter_place *place, const struct err *why)
{
    struct turn *t = CONTAINER_OF(place, struct turn, meter);
    const struct caller_news news = {&t->caller, &t->request.quota, why, clock_mono_ms()};
    callers_note(&t->core->callers, &news);
    gate_quit(&t->core->gate, &t->gate);
    refuse(t, why);
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

/* Has the word in its line. */
static void ask(struct turn *t)
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
    bool is_away = is_model_away(c);
    t->refusal = is_away ? ERR_MODEL_DOWN : ERR_QUEUE_SLOW;
    t->refusal_ms = MODEL_RETRY_MS;
    if (is_away || !gate_come(&c->gate, &t->gate, call_deadline_ms(t), &t->refusal_ms)) {
        refuse_soon(t, on_turned_away);
        return;
    }
    const struct meter_ask quota = {.name = &t->caller,
                                    .key_hash = r->has_key ? &r->key_hash : NULL,
                                    .address = r->address,
                                    .deadline_ms = database_deadline_ms(t)};
    /* What may be a repeat costs quota only when it turns out to be none. */
    if (!callers_is_hot(&c->callers, &t->caller, now_ms) || r->has_idempotency_key) {
        open_turn(t, false);
        return;
    }
    t->meter.granted = on_quota_granted;
    t->meter.refused = on_quota_refused;
    meter_take(&c->meter, &t->meter, &quota);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static void on_turn_came(struct line_place *place)
{
    ask(CONTAINER_OF(place, struct turn, line));
}

static void on_line_expired(struct line_place *place)
{
    struct turn *t = CONTAINER_OF(place, struct turn, line);
    struct turn_reply reply = {.err = {.kind = ERR_NONE}};
    err_set(&reply.err, ERR_BUSY, "the conversation was busy until the request's time was over");
    count_refusal(ERR_BUSY);
    answer(t, &reply);
    turn_free(t);
}

/* Who speaks (as the caller says; the database checks it), and in which session. */
static struct hash name_of(const struct hash *key_hash, const char *session_id)
{
    struct span parts[] = {
        {key_hash ? (const char *)key_hash->bytes : "", key_hash ? HASH_BYTES : 0},
        {session_id, strlen(session_id)}};
    return hash_sha256_parts(parts, COUNT_OF(parts));
}

void turn_forget(struct core *c, const struct hash *key_hash, const char *session_id)
{
    struct hash name = name_of(key_hash, session_id);
    memory_free(history_take(&c->history, &name));
}

bool turn_is_refused(struct core *c, const struct turn_caller *caller, struct err *why,
                     struct quota *quota)
{
    struct hash name = callers_name(caller->key_hash, caller->address);
    const struct caller_ask ask = {
        .name = &name, .may_be_repeat = caller->has_idempotency_key, .now_ms = clock_mono_ms()};
    if (!callers_refuse(&c->callers, &ask, why, quota))
        return false;
    count_refusal(why->kind);
    metrics_add(METRIC_REFUSALS_REMEMBERED, 0, 1);
    return true;
}

static bool admit(struct core *c, struct turn *t, struct err *e)
{
    int64_t wait_ms = 0;
    pthread_mutex_lock(&c->lock);
    if (c->is_draining) {
        err_set(e, ERR_DRAINING, "%s", "");
    } else if (!gate_arrive(&c->gate, &t->gate, &t->caller, &wait_ms)) {
        err_set(e, ERR_QUEUE_FULL, "%s", "");
        e->retry_after_ms = (unsigned)wait_ms;
    } else {
        list_append(&c->turns, &t->node);
    }
    pthread_mutex_unlock(&c->lock);
    return e->kind == ERR_NONE;
}

static void turn_away(struct turn *t, const struct err *why)
{
    struct turn_reply reply = {.err = *why};
    count_refusal(why->kind);
    answer(t, &reply);
    free_texts(&t->request);
    free(t);
}

void turn_submit(struct core *c, const struct turn_request *request)
{
    struct turn *t = mem_zero(sizeof *t);
    struct err why = {.kind = ERR_NONE};
    const struct hash *key_hash = request->has_key ? &request->key_hash : NULL;
    t->core = c;
    t->request = *request;
    t->again_ms = AGAIN_LEAST_MS;
    t->caller = callers_name(key_hash, request->address);
    if (!admit(c, t, &why)) {
        turn_away(t, &why);
        return;
    }
    metrics_add(METRIC_TURNS_OPEN, 0, 1);
    t->name = name_of(key_hash, request->session_id);
    t->line.turn_came = on_turn_came;
    t->line.expired = on_line_expired;
    if (line_enter(&c->line, &t->line, &t->name, request->deadline_ms))
        ask(t);
}
