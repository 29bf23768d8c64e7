#include "core/turn.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "core/turn_private.h"

/* Kept of the request's time for writing what the model came to: a sixteenth, this at most. */
#define FINISH_MS 2000
#define JOB_PATIENCE_MS 10000 /* at the gate, until a job is handed back */

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
    REFUSED_TOO_MANY_JOBS,
    REFUSED_JOB_QUEUE_FULL,
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
    case ERR_TOO_MANY_JOBS:
        return REFUSED_TOO_MANY_JOBS;
    case ERR_JOB_QUEUE_FULL:
        return REFUSED_JOB_QUEUE_FULL;
    default:
        return REFUSED_OTHER;
    }
}

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
    free(r->webhook);
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
    if (t->has_place)
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

void turn_answer(struct turn *t, struct turn_reply *reply)
{
    if (t->is_answered || t->is_claimed)
        return;
    t->is_answered = true;
    reply->quota = t->accept.quota.policy[0] ? t->accept.quota : t->request.quota;
    t->request.answer(t->request.receiver, reply);
}

/* Answered, and out of its conversation: the next in line has the word. */
void turn_end(struct turn *t, struct turn_reply *reply)
{
    turn_answer(t, reply);
    if (t->memory && !t->is_claimed)
        history_put(&t->core->history, t->memory, clock_mono_ms());
    else
        memory_free(t->memory);
    t->memory = NULL;
    if (t->line.queue)
        line_leave(&t->core->line, &t->line);
    turn_free(t);
}

/* Nothing is stored. */
void turn_refuse(struct turn *t, const struct err *why)
{
    struct turn_reply reply = {.err = *why};
    count_refusal(why->kind);
    turn_end(t, &reply);
}

/* ---- finish ---------------------------------------------------------------------------------- */

static void on_finish_late(struct finish_item *item)
{
    struct turn *t = CONTAINER_OF(item, struct turn, finish);
    struct turn_reply reply = {.err = {.kind = ERR_NONE}};
    err_set(&reply.err, ERR_DB_DOWN,
            "the answer is there but not yet stored; ask again with the same Idempotency-Key");
    turn_answer(t, &reply);
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

static void tell_watchers(const struct turn *t)
{
    const struct job_ref ref = {t->accept.ref.conversation, t->accept.ref.turn_no};
    watch_tell(&t->core->watch, &ref);
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
    if (t->is_claimed)
        jobs_end(&t->core->jobs, t);
    if (item->state != FINISH_HANDED_BACK)
        tell_watchers(t);
    if (item->outcome == FINISH_DONE && item->has_next)
        jobs_wake(&t->core->jobs);
    if (item->outcome == FINISH_DONE && item->has_webhook)
        hooks_wake(&t->core->hooks);
    if (item->outcome == FINISH_FENCED) {
        metrics_add(METRIC_TURNS, OUTCOME_FENCED, 1);
        reply.err = item->err;
    } else if (item->state == FINISH_HANDED_BACK) {
        metrics_add(METRIC_TURNS, OUTCOME_HANDED_BACK, 1);
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
    turn_end(t, &reply);
    free(reply.text); /* NULL when they were taken */
    free(reply.model);
}

/* What the call came to, or why there was none (call.err), is written. */
static void finish(struct turn *t)
{
    struct finish_item *f = &t->finish;
    const struct llm_call *call = &t->model.call;
    const struct err_info *why = err_info(call->err.kind);
    bool is_handed_back = t->is_claimed && jobs_is_handed_back(&t->core->jobs, t);
    free(t->model.body);
    t->model.body = NULL;
    *f = (struct finish_item){
        .done = on_finish_done,
        .late = on_finish_late,
        .deadline_ms = t->is_claimed ? clock_mono_ms() + t->core->config->database_timeout
                                     : t->request.deadline_ms,
        .ref = t->accept.ref,
        .state = call->err.kind == ERR_NONE ? FINISH_COMPLETED
                 : is_handed_back           ? FINISH_HANDED_BACK
                                            : FINISH_FAILED,
        .answer = call->text,
        .model = call->model,
        .error_code = is_handed_back && why->fault != FAULT_MODEL ? NULL : why->code,
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
    jobs_note_room(&c->jobs);
    finish(t);
}

int64_t turn_call_deadline_ms(const struct turn *t)
{
    int64_t kept = t->core->config->request_timeout / 16;
    if (t->is_claimed)
        return INT64_MAX; /* HANSARD_LLM_TOTAL_TIMEOUT ends it */
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
    call->deadline_ms = turn_call_deadline_ms(t);
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
    if (t->is_claimed) {
        fail_uncalled(t, ERR_QUEUE_SLOW, "no call to the model was free in time");
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

void turn_go_on(struct turn *t)
{
    int64_t now_ms = clock_mono_ms();
    if (!t->is_claimed)
        t->accepted_ms = now_ms;
    t->model.body = prompt_build(models_prompt(&t->core->models), recall(t), t->request.message,
                                 &t->model.body_len);
    t->gate.admitted = on_admitted;
    t->gate.expired = on_gate_expired;
    /* Nobody waits for a job; but when no call is free here for long, one may be elsewhere. */
    int64_t until_ms = t->is_claimed ? now_ms + JOB_PATIENCE_MS : turn_call_deadline_ms(t);
    if (gate_enter(&t->core->gate, &t->gate, until_ms))
        call_model(t);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static void on_turn_came(struct line_place *place)
{
    turn_ask(CONTAINER_OF(place, struct turn, line));
}

static void on_line_expired(struct line_place *place)
{
    struct turn *t = CONTAINER_OF(place, struct turn, line);
    struct turn_reply reply = {.err = {.kind = ERR_NONE}};
    err_set(&reply.err, ERR_BUSY, "the conversation was busy until the request's time was over");
    count_refusal(ERR_BUSY);
    turn_answer(t, &reply);
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

/* What is only queued calls no model, and needs none. */
static bool take_place(struct turn *t, int64_t *wait_ms)
{
    if (t->request.is_job)
        return true;
    t->has_place = gate_arrive(&t->core->gate, &t->gate, &t->caller, wait_ms);
    return t->has_place;
}

static bool admit(struct core *c, struct turn *t, struct err *e)
{
    int64_t wait_ms = 0;
    pthread_mutex_lock(&c->lock);
    if (c->is_draining) {
        err_set(e, ERR_DRAINING, "%s", "");
    } else if (!take_place(t, &wait_ms)) {
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
    turn_answer(t, &reply);
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
    t->caller = callers_name(key_hash, request->address);
    if (!admit(c, t, &why)) {
        turn_away(t, &why);
        return;
    }
    metrics_add(METRIC_TURNS_OPEN, 0, 1);
    t->name = name_of(key_hash, request->session_id);
    t->line.turn_came = on_turn_came;
    t->line.expired = on_line_expired;
    /* What is to be queued does not wait for what is being answered. */
    if (t->request.is_job || line_enter(&c->line, &t->line, &t->name, request->deadline_ms))
        turn_ask(t);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

void turn_run(struct core *c, struct claim_job *job)
{
    struct turn *t = mem_zero(sizeof *t);
    int64_t wait_ms;
    t->core = c;
    t->is_claimed = true;
    t->caller = job->caller;
    t->request.message = job->words;
    t->request.deadline_ms = INT64_MAX;
    memcpy(t->request.request_id, job->request_id, sizeof job->request_id);
    t->failures = job->failures;
    t->accept.ref = job->ref;
    t->accept.history = job->history;
    job->words = NULL;
    job->history = (struct passage){.json = NULL};
    t->gate.class = GATE_JOB;
    pthread_mutex_lock(&c->lock);
    t->has_place = !c->is_closing && gate_arrive(&c->gate, &t->gate, &t->caller, &wait_ms);
    list_append(&c->turns, &t->node);
    pthread_mutex_unlock(&c->lock);
    metrics_add(METRIC_TURNS_OPEN, 0, 1);
    jobs_begin(&c->jobs, t);
    t->accepted_ms = clock_mono_ms();
    if (t->has_place)
        turn_go_on(t);
    else
        fail_uncalled(t, ERR_QUEUE_FULL, "no place was free");
}
