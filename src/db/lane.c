#include "db/lane.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "db/db_private.h"

#define CONNECT_MS 5000
#define PAUSE_LEAST_MS 20
#define PAUSE_MOST_MS 500

/* ---- time ------------------------------------------------------------------------------------ */

/* Items in our hands whose deadline has passed: ended when nothing of them is stored, else told. */
static void expire_held(struct lane *l)
{
    int64_t now_ms = clock_mono_ms();
    size_t place = 0;
    for (struct list_node *n = list_first(&l->held), *next; n; n = next, place++) {
        next = list_next(&l->held, n);
        enum work_fate fate = work_fate(l->kind, n, place < l->in_flight, now_ms);
        if (fate == WORK_EXPIRES) {
            list_remove(&l->held, n);
            work_refuse(l->kind, n, ERR_DB_DOWN);
        } else if (fate == WORK_IS_LATE) {
            work_tell_late(l->kind, n);
        }
    }
}

/* While the connection waits. false: stopping. */
static bool tick(void *arg)
{
    struct lane *l = arg;
    expire_held(l);
    return hall_sweep(&l->db->hall);
}

/* Longer with each failure, and never the same for two lanes. false: stopping. */
static bool pause_a_while(struct lane *l)
{
    unsigned doublings = l->failures < 8 ? l->failures : 8;
    int64_t most = (int64_t)PAUSE_LEAST_MS << doublings;
    if (most > PAUSE_MOST_MS)
        most = PAUSE_MOST_MS;
    int64_t until = clock_mono_ms() + most / 2 + random_below((uint32_t)(most / 2 + 1));
    l->failures++;
    for (;;) {
        int64_t now = clock_mono_ms();
        if (!tick(l))
            return false;
        if (now >= until)
            return true;
        if (!hall_pause(&l->db->hall, until - now < CONN_TICK_MS ? until : now + CONN_TICK_MS))
            return false;
    }
}

/* ---- the connection -------------------------------------------------------------------------- */

static bool lane_connect(struct lane *l)
{
    if (conn_is_alive(&l->conn))
        return true;
    if (!conn_open(&l->conn, clock_mono_ms() + CONNECT_MS)) {
        if (!l->was_down && strcmp(l->conn.reason, CONN_CLOSING) != 0)
            LOG(LOG_WARN, "database_unreachable", LOG_TEXT("reason", l->conn.reason));
        l->was_down = true;
        return false;
    }
    metrics_add(METRIC_LANE_RECONNECTS, 0, 1);
    return true;
}

/* An answer came, not just a connection: a pooler takes connections while its database is away. */
static void note_answer(struct lane *l)
{
    if (l->was_down)
        LOG(LOG_INFO, "database_reached");
    l->was_down = false;
}

/* ---- what a call came to --------------------------------------------------------------------- */

/* The name of the function in "… hansard_api.NAME(…". */
static void function_name(const char *sql, char *out, size_t size)
{
    const char *name = strstr(sql, "hansard_api.");
    name = name ? name + strlen("hansard_api.") : sql;
    snprintf(out, size, "%.*s", (int)strcspn(name, "("), name);
}

static void log_refusal(const struct conn_call *call, const char *event, const char *sqlstate)
{
    char name[64];
    function_name(call->sql, name, sizeof name);
    LOG(LOG_ERROR, event, LOG_TEXT("function", name), LOG_TEXT("sqlstate", sqlstate));
}

static void lane_lost(struct lane *l, const struct conn_answer *answer)
{
    for (size_t i = 0; answer->was_sent && i < l->batch.count; i++)
        work_mark_sent(l->kind, l->batch.items[i]);
    if (!l->was_down && strcmp(l->conn.reason, CONN_CLOSING) != 0)
        LOG(LOG_WARN, "database_lost", LOG_TEXT("reason", l->conn.reason),
            LOG_TEXT("sqlstate", answer->sqlstate));
    l->was_down = true;
}

/* A unique violation can be two lanes meeting at a new session: true once for an item. */
static bool is_race(struct lane *l, const struct list_node *n, const char *sqlstate)
{
    if (strcmp(sqlstate, "23505") != 0)
        return false;
    for (size_t i = 0; i < l->raced_count; i++)
        if (l->raced[i] == n)
            return false;
    assert(l->raced_count < COUNT_OF(l->raced));
    l->raced[l->raced_count++] = n;
    return true;
}

static void end_first(struct lane *l, enum err_kind why)
{
    struct list_node *n = list_take_first(&l->held);
    work_refuse(l->kind, n, why);
}

/* The transaction was rolled back. true: go on at once. */
static bool lane_refused(struct lane *l, const struct conn_call *call, const char *sqlstate)
{
    enum err_kind why = err_from_sqlstate(sqlstate);
    if (l->kind == WORK_ACCEPT && why == ERR_WORKER_LOST) {
        for (size_t i = 0; i < l->batch.count; i++)
            end_first(l, why);
        return true;
    }
    if (l->batch.count > 1) {
        l->is_alone = true;
        return true;
    }
    if (is_race(l, l->batch.items[0], sqlstate) || conn_is_transient(sqlstate)) {
        list_append(&l->held, list_take_first(&l->held)); /* the others need not wait for it */
        return false;
    }
    if (why == ERR_INTERNAL)
        log_refusal(call, "database_refused", sqlstate);
    end_first(l, why);
    return true;
}

static void lane_fine(struct lane *l, const struct conn_call *call, PGresult *rows)
{
    if (!batch_decode(&l->batch, rows))
        log_refusal(call, "database_answer_malformed", "");
    PQclear(rows);
    for (size_t i = 0; i < l->batch.count; i++) {
        struct list_node *n = list_take_first(&l->held);
        assert(n == l->batch.items[i]);
        work_done(l->kind, n);
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void pass_failpoint(enum work_kind kind, bool is_before)
{
    static const char *const names[][2] = {{"accept_after_commit", "accept_before_send"},
                                           {"finish_after_commit", "finish_before_send"}};
    if (kind != WORK_CALL)
        FAILPOINT(names[kind][is_before]);
}

static void measure(const struct lane *l, int64_t began_us, const struct conn_answer *answer)
{
    metrics_add(METRIC_LANE_CALLS, l->kind, 1);
    metrics_observe(METRIC_LANE_SECONDS, l->kind, (double)(clock_mono_us() - began_us) / 1e6);
    if (answer->outcome != CONN_FINE)
        metrics_add(METRIC_LANE_ERRORS, l->kind, 1);
    if (l->kind != WORK_CALL)
        metrics_observe(METRIC_LANE_BATCH, l->kind, (double)l->batch.count);
}

/* A single call is worth nothing after its deadline; turns wait for what they came to. */
static int64_t call_deadline(const struct lane *l, int64_t now_ms)
{
    int64_t deadline_ms = now_ms + l->db->timeout_ms;
    if (l->kind != WORK_CALL || work_call(l->batch.items[0])->deadline_ms > deadline_ms)
        return deadline_ms;
    return work_call(l->batch.items[0])->deadline_ms;
}

/* One call with the first items held. true: go on at once; false: pause before the next. */
static bool lane_call(struct lane *l)
{
    struct conn_call call;
    struct conn_answer answer;
    size_t most = l->is_alone ? 1 : LIMIT_BATCH_ITEMS;
    if (!batch_encode(&l->batch, l->kind, &l->held, most, &call)) {
        log_refusal(&call, "database_item_too_large", "");
        end_first(l, ERR_INTERNAL);
        return true;
    }
    l->in_flight = l->batch.count;
    pass_failpoint(l->kind, true);
    int64_t began_us = clock_mono_us();
    conn_run(&l->conn, &call, call_deadline(l, began_us / 1000), &answer);
    l->in_flight = 0;
    measure(l, began_us, &answer);
    switch (answer.outcome) {
    case CONN_LOST:
        lane_lost(l, &answer);
        return false;
    case CONN_REFUSED:
        note_answer(l);
        return lane_refused(l, &call, answer.sqlstate);
    default:
        note_answer(l);
        pass_failpoint(l->kind, false);
        lane_fine(l, &call, answer.result);
        return true;
    }
}

/* Until every item held has its outcome, or the room is closing. */
static void lane_work(struct lane *l)
{
    l->is_alone = false;
    l->raced_count = 0;
    expire_held(l); /* what is not sent by its deadline must not be */
    while (l->held.count > 0) {
        /* Items may have expired while it connected. */
        if (lane_connect(l) && (l->held.count == 0 || lane_call(l)))
            l->failures = 0;
        else if (!pause_a_while(l))
            break;
    }
    while (list_first(&l->held)) /* left behind: not called back */
        list_take_first(&l->held);
}

static void *lane_run(void *arg)
{
    struct lane *l = arg;
    struct hall *hall = &l->db->hall;
    (void)lane_connect(l); /* so that the first item finds it open */
    while (hall_wait_work(hall)) {
        /* Connected first: what is not taken can be taken by others, or refused in time. */
        if (!lane_connect(l)) {
            hall_pass_on(hall);
            if (!pause_a_while(l))
                break;
            continue;
        }
        if (hall_take(hall, &l->held, &l->kind, &l->batch.worker)) {
            lane_work(l);
            hall_give_back(hall, l->kind);
        }
    }
    conn_close(&l->conn);
    return NULL;
}

void lane_start(struct lane *l, struct db *db, const char *url, const struct batch_terms *terms)
{
    *l = (struct lane){.db = db, .kind = WORK_CALL};
    l->conn = (struct conn){.url = url, .tick = tick, .tick_arg = l};
    list_init(&l->held);
    batch_init(&l->batch, terms);
    l->thread = thread_start("lane", lane_run, l);
}

void lane_join(struct lane *l)
{
    pthread_join(l->thread, NULL);
    batch_fini(&l->batch);
}
