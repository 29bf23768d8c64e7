#include "llm/client.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "llm/attempt.h"
#include "llm/health.h"
#include "llm/probe.h"
#include "llm/retry.h"

/* With less time left no call begins: curl misses a timeout of a millisecond or two, and notices 200
 * milliseconds later, when its next timer fires. */
#define CALL_LEAST_MS 10

struct llm {
    struct attempts attempts;
    struct due_heap repeats; /* attempts that wait for their next turn */
    struct retry_budget budget;
    struct health health;
    struct probe probe;
    struct llm_server server;
    struct llm_events events;
    atomic_int told_state; /* what llm_state and llm_limit say */
    atomic_int told_limit;
    atomic_int in_flight; /* calls submitted and not done */
    atomic_bool has_cancelled;
    pthread_t thread;
    bool has_stopped; /* its owner's */

    pthread_mutex_t lock;
    struct list inbox; /* guarded by lock: calls handed over */
    bool is_asleep;    /* guarded by lock: the loop waits and has to be woken */
    bool is_stopping;  /* guarded by lock */
};

/* ---- the end of a call ---- */

static void log_failure(const struct llm *l, const struct llm_call *call,
                        const struct llm_attempt *a)
{
    LOG(LOG_WARN, "model_call_failed", LOG_TEXT("request_id", call->request_id),
        LOG_TEXT("server", l->server.name), LOG_TEXT("code", err_info(call->err.kind)->code),
        LOG_TEXT("detail", call->err.detail), LOG_INT("status", a ? a->status : 0),
        LOG_INT("attempts", call->attempts),
        LOG_TEXT("curl", a ? curl_easy_strerror(a->code) : ""));
}

/* The call is its owner's again; it may be gone afterwards. */
static void give_back(struct llm *l, struct llm_call *call)
{
    atomic_fetch_sub_explicit(&l->in_flight, 1, memory_order_relaxed);
    call->done(call);
}

static void finish(struct llm *l, struct llm_attempt *a)
{
    struct llm_call *call = a->call;
    if (call->err.kind != ERR_NONE)
        log_failure(l, call, a);
    call->attempt = NULL;
    attempt_return(a);
    give_back(l, call);
}

static void finish_unsent(struct llm *l, struct llm_call *call)
{
    log_failure(l, call, NULL);
    give_back(l, call);
}

static void count_tokens(const struct llm_call *call)
{
    if (call->prompt_tokens > 0)
        metrics_add(METRIC_LLM_TOKENS, 0, call->prompt_tokens);
    if (call->completion_tokens > 0)
        metrics_add(METRIC_LLM_TOKENS, 1, call->completion_tokens);
}

/* ---- the server's health ---- */

static void tell_health(struct llm *l)
{
    static const char *const names[] = {"up", "trial", "down"};
    enum health_state state = l->health.state;
    int limit = health_limit(&l->health);
    if (atomic_exchange(&l->told_state, state) != (int)state) {
        metrics_add(METRIC_LLM_STATE_CHANGES, state, 1);
        metrics_set(METRIC_LLM_UP, l->server.index, state == HEALTH_UP);
        LOG(state == HEALTH_DOWN ? LOG_WARN : LOG_INFO, "model_server",
            LOG_TEXT("server", l->server.name), LOG_TEXT("state", names[state]));
    }
    metrics_set(METRIC_LLM_LIMIT, l->server.index, limit);
    atomic_store(&l->told_limit, limit);
    if (l->events.changed)
        l->events.changed(l->events.arg);
}

/* Before its call is given back, so that who gets the permit meets the new limit. */
static void report(struct llm *l, const struct llm_attempt *a, enum attempt_result result)
{
    struct health_report r = {.result = result,
                              .had_fair_time = attempt_had_fair_time(a),
                              .era = a->era,
                              .in_flight =
                                  atomic_load_explicit(&l->in_flight, memory_order_relaxed)};
    if (health_take(&l->health, &r, reactor_now_ms(l->attempts.reactor)))
        tell_health(l);
}

static void end_probe(struct llm *l, long status)
{
    metrics_add(METRIC_LLM_PROBES, health_is_reachable(status) ? 0 : 1, 1);
    if (health_probe_ends(&l->health, status, reactor_now_ms(l->attempts.reactor)))
        tell_health(l);
}

/* The time at which the next one is due, or a trial is to be widened. */
static int64_t run_probe(struct llm *l)
{
    int64_t now_ms = reactor_now_ms(l->attempts.reactor);
    if (health_wider_at_ms(&l->health) <= now_ms) {
        health_widen(&l->health, now_ms);
        tell_health(l);
    }
    int64_t wider_ms = health_wider_at_ms(&l->health);
    if (wider_ms != INT64_MAX)
        return wider_ms;
    if (l->probe.is_running)
        return INT64_MAX;
    if (health_probe_at_ms(&l->health) <= now_ms) {
        health_probe_begins(&l->health, now_ms);
        if (!probe_begin(&l->probe, HEALTH_PROBE_TIMEOUT_MS))
            end_probe(l, 0);
    }
    return health_probe_at_ms(&l->health);
}

/* ---- repeats ---- */

static void begin(struct llm *l, struct llm_attempt *a)
{
    a->era = health_era(&l->health);
    attempt_begin(a);
}

static bool may_repeat(enum attempt_result result, long status)
{
    switch (result) {
    case ATTEMPT_HTTP_429:
    case ATTEMPT_HTTP_5XX:
    case ATTEMPT_CONNECT:
    case ATTEMPT_CUT:
        return true;
    case ATTEMPT_REJECTED:
        return status == 408;
    default:
        return false; /* a timeout has used the time, and garbage is not likely to get better */
    }
}

static int64_t asked_wait_ms(struct llm_attempt *a)
{
    struct curl_header *header;
    if (curl_easy_header(a->easy, "Retry-After", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return -1;
    return retry_after_ms(header->value, clock_unix_ms());
}

/* A server may close a connection nobody uses: that is no failure of anybody. true: the call goes
 * on. */
static bool forgive(struct llm_attempt *a, enum attempt_result result)
{
    struct llm_call *call = a->call;
    return result == ATTEMPT_CUT && call->attempts < LIMIT_LLM_ATTEMPTS &&
           clock_mono_ms() < a->until_ms && attempt_met_dead_connection(a);
}

/* true: the call goes on. */
static bool repeat(struct llm *l, struct llm_attempt *a, enum attempt_result result)
{
    struct llm_call *call = a->call;
    if (!may_repeat(result, a->status))
        return false;
    struct retry_ask ask = {.attempts = call->attempts,
                            .now_ms = clock_mono_ms(),
                            .deadline_ms = a->until_ms,
                            .server_wait_ms = asked_wait_ms(a)};
    if (ask.server_wait_ms > 0)
        call->err.retry_after_ms = (unsigned)ask.server_wait_ms;
    int64_t wait_ms = 0;
    switch (retry_decide(&l->budget, &ask, random_below, &wait_ms)) {
    case RETRY_NO_BUDGET:
        metrics_add(METRIC_LLM_RETRIES_DENIED, 0, 1);
        return false;
    case RETRY_NO_ATTEMPTS:
    case RETRY_NO_TIME:
        return false;
    case RETRY_AT:
        break;
    }
    metrics_add(METRIC_LLM_RETRIES, 0, 1);
    due_set(&l->repeats, &a->repeat, ask.now_ms + wait_ms);
    return true;
}

static void on_end(void *arg, CURL *easy, CURLcode code)
{
    struct llm *l = arg;
    if (easy == l->probe.easy) {
        end_probe(l, probe_end(&l->probe));
        return;
    }
    struct llm_attempt *a = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&a);
    enum attempt_result result = attempt_end(a, code, &a->call->err);
    if (forgive(a, result)) {
        metrics_add(METRIC_LLM_RETRIES, 0, 1);
        err_clear(&a->call->err);
        begin(l, a);
        return;
    }
    report(l, a, result);
    if (result == ATTEMPT_OK)
        count_tokens(a->call);
    else if (repeat(l, a, result))
        return;
    finish(l, a);
}

/* ---- one round of the loop ---- */

static void begin_call(struct llm *l, struct llm_call *call)
{
    int64_t now_ms = reactor_now_ms(l->attempts.reactor);
    int64_t until_ms = call->admitted_ms + l->attempts.config->llm_total_timeout;
    if (call->deadline_ms < until_ms)
        until_ms = call->deadline_ms;
    err_clear(&call->err);
    call->text = call->model = NULL;
    call->text_len = 0;
    call->prompt_tokens = call->completion_tokens = -1;
    call->attempts = 0;
    call->first_byte_ms = 0;
    if (atomic_load(&call->is_cancelled)) {
        err_set(&call->err, ERR_CANCELLED, "%s", "");
        give_back(l, call);
        return;
    }
    if (until_ms - now_ms < CALL_LEAST_MS) {
        err_set(&call->err, ERR_MODEL_TIMEOUT, "no time was left to call the model");
        finish_unsent(l, call);
        return;
    }
    retry_budget_add_call(&l->budget);
    struct llm_attempt *a = attempt_take(&l->attempts, call);
    a->until_ms = until_ms;
    call->attempt = a;
    begin(l, a);
}

/* Takes what was handed over. false: there was nothing, and whoever hands over next wakes the loop.
 */
static bool take_inbox(struct llm *l, struct list *calls, bool *is_stopping)
{
    struct list_node *n;
    list_init(calls);
    pthread_mutex_lock(&l->lock);
    while ((n = list_take_first(&l->inbox)))
        list_append(calls, n);
    *is_stopping = l->is_stopping;
    l->is_asleep = calls->count == 0;
    pthread_mutex_unlock(&l->lock);
    return calls->count > 0;
}

static bool is_cancelled(const struct llm_attempt *a)
{
    return atomic_load(&a->call->is_cancelled);
}

/* Nobody is to blame, and nothing is logged: it was wanted. */
static void cancel(struct llm *l, struct llm_attempt *a)
{
    struct llm_call *call = a->call;
    err_clear(&call->err);
    err_set(&call->err, ERR_CANCELLED, "%s", "");
    call->attempt = NULL;
    attempt_return(a);
    give_back(l, call);
}

static void cancel_in(struct llm *l, struct list *list)
{
    struct list_node *next;
    for (struct list_node *n = list_first(list); n; n = next) {
        struct llm_attempt *a = CONTAINER_OF(n, struct llm_attempt, node);
        next = list_next(list, n);
        if (!is_cancelled(a))
            continue;
        attempt_give_up(a, ATTEMPT_CANCELLED);
        cancel(l, a);
    }
}

static void run_cancels(struct llm *l)
{
    if (!atomic_exchange(&l->has_cancelled, false))
        return;
    cancel_in(l, &l->attempts.silent);
    cancel_in(l, &l->attempts.answering);
    for (size_t i = 0; i < l->repeats.count;) {
        struct due *d = l->repeats.items[i];
        struct llm_attempt *a = CONTAINER_OF(d, struct llm_attempt, repeat);
        if (!is_cancelled(a)) {
            i++;
            continue;
        }
        due_drop(&l->repeats, d);
        cancel(l, a);
        i = 0; /* the heap has another order */
    }
}

static void begin_repeats(struct llm *l)
{
    int64_t now_ms = reactor_now_ms(l->attempts.reactor);
    struct due *d;
    while ((d = due_first(&l->repeats)) && d->at_ms <= now_ms) {
        struct llm_attempt *a = CONTAINER_OF(d, struct llm_attempt, repeat);
        due_drop(&l->repeats, d);
        if (is_cancelled(a)) {
            cancel(l, a);
            continue;
        }
        if (a->until_ms - now_ms < CALL_LEAST_MS) {
            finish(l, a); /* with what the attempt before came to */
            continue;
        }
        err_clear(&a->call->err);
        begin(l, a);
    }
}

/* Gives up what has been silent for too long. The time at which the next one will have been. */
static int64_t end_silent(struct llm *l, struct list *list, int64_t timeout_ms, const char *what)
{
    int64_t now_ms = reactor_now_ms(l->attempts.reactor);
    struct list_node *n;
    while ((n = list_first(list))) {
        struct llm_attempt *a = CONTAINER_OF(n, struct llm_attempt, node);
        if (a->mark_ms + timeout_ms > now_ms)
            return a->mark_ms + timeout_ms;
        attempt_give_up(a, ATTEMPT_TIMEOUT);
        err_set(&a->call->err, ERR_MODEL_TIMEOUT, "%s", what);
        report(l, a, ATTEMPT_TIMEOUT);
        finish(l, a);
    }
    return INT64_MAX;
}

static int64_t run_timeouts(struct llm *l)
{
    struct attempts *all = &l->attempts;
    begin_repeats(l);
    int64_t first = end_silent(l, &all->silent, all->config->llm_first_byte_timeout,
                               "the model server did not begin to answer in time");
    int64_t stall = end_silent(l, &all->answering, all->config->llm_stall_timeout,
                               "the model server fell silent within its answer");
    int64_t probe = run_probe(l);
    const struct due *repeat_due = due_first(&l->repeats);
    int64_t until_ms = first < stall ? first : stall;
    if (probe < until_ms)
        until_ms = probe;
    return repeat_due && repeat_due->at_ms < until_ms ? repeat_due->at_ms : until_ms;
}

static void abort_call(struct llm *l, struct llm_attempt *a)
{
    err_clear(&a->call->err);
    err_set(&a->call->err, ERR_WORKER_LOST, "this worker is stopping");
    finish(l, a);
}

/* Ends every call, also those that the ending of others hands over. */
static void abort_all(struct llm *l)
{
    struct attempts *all = &l->attempts;
    struct list calls;
    struct list_node *n;
    struct due *d;
    bool is_stopping, got_calls;
    do {
        while ((n = list_first(&all->silent)) || (n = list_first(&all->answering))) {
            struct llm_attempt *a = CONTAINER_OF(n, struct llm_attempt, node);
            attempt_give_up(a, ATTEMPT_CUT);
            abort_call(l, a);
        }
        while ((d = due_first(&l->repeats))) {
            due_drop(&l->repeats, d);
            abort_call(l, CONTAINER_OF(d, struct llm_attempt, repeat));
        }
        (void)take_inbox(l, &calls, &is_stopping);
        got_calls = calls.count > 0;
        while ((n = list_take_first(&calls)))
            begin_call(l, CONTAINER_OF(n, struct llm_call, node));
    } while (got_calls);
}

static void *run(void *arg)
{
    struct llm *l = arg;
    struct list calls;
    struct list_node *n;
    bool is_stopping = false;
    for (;;) {
        bool got_calls = take_inbox(l, &calls, &is_stopping);
        while ((n = list_take_first(&calls)))
            begin_call(l, CONTAINER_OF(n, struct llm_call, node));
        if (is_stopping)
            break;
        run_cancels(l);
        int64_t until_ms = run_timeouts(l);
        reactor_run(l->attempts.reactor, got_calls ? 0 : until_ms);
    }
    abort_all(l);
    return NULL;
}

/* ---- from other threads ---- */

struct llm *llm_open(const struct config *c, const struct llm_server *s,
                     const struct llm_events *events, struct err *e)
{
    struct llm *l = mem_zero(sizeof(*l));
    const struct reactor_events ends = {.ended = on_end, .arg = l};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort(); /* out of memory, or a broken OpenSSL */
    l->server = *s;
    l->events = *events;
    l->attempts.config = c;
    l->attempts.server = &l->server;
    if (!attempts_init(&l->attempts, &ends, e)) {
        curl_global_cleanup();
        free(l);
        return NULL;
    }
    pthread_mutex_init(&l->lock, NULL);
    list_init(&l->inbox);
    retry_budget_init(&l->budget);
    probe_init(&l->probe, &l->attempts);
    health_init(&l->health, s->most);
    l->told_limit = s->most;
    metrics_set(METRIC_LLM_LIMIT, s->index, s->most);
    metrics_set(METRIC_LLM_UP, s->index, 1);
    char name[16];
    snprintf(name, sizeof name, "model-%s", s->name);
    l->thread = thread_start(name, run, l);
    return l;
}

static void wake(struct llm *l)
{
    reactor_wake(l->attempts.reactor);
}

void llm_stop(struct llm *l)
{
    if (l->has_stopped)
        return;
    pthread_mutex_lock(&l->lock);
    l->is_stopping = true;
    pthread_mutex_unlock(&l->lock);
    wake(l);
    pthread_join(l->thread, NULL);
    l->has_stopped = true;
}

void llm_close(struct llm *l)
{
    if (!l)
        return;
    llm_stop(l);
    probe_fini(&l->probe);
    attempts_fini(&l->attempts);
    due_fini(&l->repeats);
    pthread_mutex_destroy(&l->lock);
    curl_global_cleanup();
    free(l);
}

void llm_submit(struct llm *l, struct llm_call *call)
{
    assert(call->done && call->body && call->admitted_ms > 0);
    atomic_fetch_add_explicit(&l->in_flight, 1, memory_order_relaxed);
    pthread_mutex_lock(&l->lock);
    list_append(&l->inbox, &call->node);
    bool has_to_wake = l->is_asleep;
    l->is_asleep = false;
    pthread_mutex_unlock(&l->lock);
    if (has_to_wake)
        wake(l);
}

void llm_break_off(struct llm *l)
{
    atomic_store(&l->has_cancelled, true);
    wake(l);
}

int llm_limit(const struct llm *l)
{
    return atomic_load(&l->told_limit);
}

enum llm_state llm_state(const struct llm *l)
{
    static const enum llm_state states[] = {
        [HEALTH_UP] = LLM_UP, [HEALTH_TRIAL] = LLM_TRIAL, [HEALTH_DOWN] = LLM_DOWN};
    return states[atomic_load(&l->told_state)];
}
