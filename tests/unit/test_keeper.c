/* What a worker tells of itself, what it makes of the answers, and when: against a clock, timers and a database that do
 * as they are told. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/version.h"
#include "core/keeper.h"

#define LEASE_MS 6000
#define BEGIN_MS 1000000

/* ---- stand-ins: time, timers, database ------------------------------------------------------- */

static int64_t now_ms;
static void (*on_look)(void); /* at the next look at the clock, after it was read */

int64_t clock_mono_us(void)
{
    int64_t us = now_ms * 1000;
    void (*look)(void) = on_look;
    on_look = NULL;
    if (look)
        look();
    return us;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
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

static struct timer *started[64];

void timer_start(struct timers *t, struct timer *timer, int64_t due_ms)
{
    (void)t;
    size_t i = 0;
    while (started[i])
        i++;
    assert_true(i < COUNT_OF(started) - 1);
    timer->due_ms = due_ms;
    started[i] = timer;
}

bool timer_stop_and_wait(struct timers *t, struct timer *timer)
{
    (void)t;
    for (size_t i = 0; i < COUNT_OF(started); i++) {
        if (started[i] == timer) {
            started[i] = NULL;
            return true;
        }
    }
    return false;
}

static bool is_started(const struct timer *timer)
{
    for (size_t i = 0; i < COUNT_OF(started); i++) {
        if (started[i] == timer)
            return true;
    }
    return false;
}

static void pass(int64_t ms)
{
    now_ms += ms;
    for (size_t i = 0; i < COUNT_OF(started); i++) {
        struct timer *timer = started[i];
        if (timer && timer->due_ms <= now_ms) {
            started[i] = NULL;
            timer->fire(timer);
            i = (size_t)-1; /* from the first: it may have started others */
        }
    }
}

static struct call_item *asked[8];

void db_submit_call(struct db *d, struct call_item *item)
{
    (void)d;
    size_t i = 0;
    while (asked[i])
        i++;
    assert_true(i < COUNT_OF(asked) - 1);
    assert_null(item->text);
    item->err = (struct err){.kind = ERR_NONE};
    asked[i] = item;
}

static char in_force[UUID_TEXT_BYTES];

void db_set_worker(struct db *d, const struct uuid *worker)
{
    (void)d;
    uuid_format(worker, in_force);
}

/* The call of this function that is on its way; NULL: none. */
static struct call_item *call_of(const char *function)
{
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        if (asked[i] && strstr(asked[i]->sql, function))
            return asked[i];
    }
    return NULL;
}

static void answer(const char *function, enum err_kind kind, const char *text)
{
    struct call_item *item = call_of(function);
    assert_non_null(item);
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        asked[i] = asked[i] == item ? NULL : asked[i];
    if (kind != ERR_NONE)
        err_set(&item->err, kind, "%s", "as told");
    item->text = mem_text(text);
    item->text_len = text ? strlen(text) : 0;
    item->done(item);
}

/* ---- a keeper with its gate ------------------------------------------------------------------ */

struct fixture {
    struct config config;
    struct gate gate;
    struct keeper keeper;
};

static void open_keeper(struct fixture *f, int64_t cap)
{
    static char listen[] = "127.0.0.1:1";
    memset(started, 0, sizeof started);
    memset(asked, 0, sizeof asked);
    on_look = NULL;
    now_ms = BEGIN_MS;
    log_setup(LOG_ERROR, NULL);
    f->config = (struct config){.listen = listen,
                                .llm_concurrency = 10,
                                .cluster_concurrency = cap,
                                .retention = 7776000000,
                                .llm_total_timeout = 110000};
    const struct gate_options gate = {.permits = 10, .most = 100, .has_leases = cap > 0};
    gate_init(&f->gate, &gate);
    const struct keeper_options options = {.config = &f->config, .gate = &f->gate};
    keeper_init(&f->keeper, &options);
    pass(0);
}

static void close_keeper(struct fixture *f)
{
    keeper_stop(&f->keeper, now_ms);
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        asked[i] = NULL;
    keeper_fini(&f->keeper);
    gate_fini(&f->gate);
}

/* Its parameters, as the function has them. */
enum { WORKER, NAME, VERSION, BEAT, BEFORE, HOLDING, WANTED, MOST, CAP, LEASE, CALL };

static const char *told(int param)
{
    struct call_item *item = call_of("lease_permits");
    assert_non_null(item);
    assert_int_equal(item->params, CALL + 1);
    return item->param[param].data;
}

static int told_number(int param)
{
    return atoi(told(param));
}

static int64_t next_beat_in(const struct fixture *f)
{
    assert_true(is_started(&f->keeper.heartbeat.timer));
    return f->keeper.heartbeat.timer.due_ms - now_ms;
}

static void beat_and_lease(const struct fixture *f, const char *text)
{
    if (!call_of("lease_permits"))
        pass(next_beat_in(f));
    answer("lease_permits", ERR_NONE, text);
}

struct guest {
    struct gate_place place;
    bool is_in;
};

static void on_admitted(struct gate_place *p)
{
    CONTAINER_OF(p, struct guest, place)->is_in = true;
}

static void on_expired(struct gate_place *p)
{
    (void)p;
}

static void come(struct fixture *f, struct guest *g)
{
    const struct hash caller = {{1}};
    int64_t unused;
    *g = (struct guest){.place = {.admitted = on_admitted, .expired = on_expired}};
    assert_true(gate_arrive(&f->gate, &g->place, &caller, &unused));
    assert_true(gate_come(&f->gate, &g->place, INT64_MAX / 2, &unused));
}

static bool enter(struct fixture *f, struct guest *g)
{
    come(f, g);
    g->is_in = gate_enter(&f->gate, &g->place, INT64_MAX / 2);
    return g->is_in;
}

/* ---- what it tells ----------------------------------------------------------------------------- */

static void it_begins_with_all_its_duties(void **state)
{
    (void)state;
    struct fixture f;
    struct keeper_report report;
    open_keeper(&f, 20);
    keeper_tell(&f.keeper, &report);
    assert_string_equal(report.worker, in_force);
    assert_false(report.is_heard);
    assert_int_equal(report.schema_found, -1);
    assert_string_equal(told(WORKER), in_force);
    assert_string_equal(told(NAME), "127.0.0.1:1");
    assert_string_equal(told(VERSION), HANSARD_VERSION);
    assert_int_equal(told_number(BEAT), 1);
    assert_null(told(BEFORE));
    assert_int_equal(told_number(HOLDING), 0);
    assert_int_equal(told_number(WANTED), 0);
    assert_int_equal(told_number(MOST), 10);
    assert_int_equal(told_number(CAP), 20);
    assert_int_equal(told_number(LEASE), LEASE_MS);
    assert_int_equal(told_number(CALL), 110000);
    assert_null(call_of("reap_workers")); /* it has not been heard for long enough */
    assert_non_null(call_of("make_partitions"));
    assert_non_null(call_of("sweep_limits"));
    assert_non_null(call_of("apply_retention"));
    assert_non_null(call_of("go_on_erasing"));
    assert_int_equal(call_of("lease_permits")->deadline_ms, now_ms + 5000);
    beat_and_lease(&f, "{20,5,5,0}");
    keeper_tell(&f.keeper, &report);
    assert_true(report.is_heard);
    assert_int_equal(report.schema_found, 20);
    assert_int_equal(metrics_get(METRIC_PERMITS_LEASED, 0), 5);
    pass(6999);
    keeper_tell(&f.keeper, &report);
    assert_true(report.is_heard);
    pass(1); /* the next one is on its way, and nothing comes back */
    keeper_tell(&f.keeper, &report);
    assert_false(report.is_heard);
    close_keeper(&f);
}

static void without_a_cap_its_own_is_all_it_has(void **state)
{
    (void)state;
    struct fixture f;
    struct guest g[11];
    open_keeper(&f, 0);
    for (int i = 0; i < 11; i++)
        assert_int_equal(enter(&f, &g[i]), i < 10); /* no lease is needed */
    beat_and_lease(&f, "{20,10,10,0}");
    assert_int_equal(next_beat_in(&f), 2000);
    pass(2000);
    assert_int_equal(told_number(BEAT), 2);
    assert_int_equal(told_number(CAP), 0);
    assert_int_equal(told_number(HOLDING), 0);
    pass(1000000); /* nor does one end */
    gate_leave(&f.gate, &g[0].place);
    assert_true(g[10].is_in);
    close_keeper(&f);
}

static void it_tells_what_it_holds_and_wants(void **state)
{
    (void)state;
    struct fixture f;
    struct guest g[5];
    open_keeper(&f, 20);
    assert_false(enter(&f, &g[0]));
    come(&f, &g[1]);
    beat_and_lease(&f, "{20,1,1,0}");
    assert_true(g[0].is_in);
    assert_int_equal(next_beat_in(&f), 500); /* the other is on its way, and finds none */
    pass(500);
    assert_int_equal(told_number(BEAT), 2);
    assert_int_equal(told_number(HOLDING), 1);
    assert_int_equal(told_number(WANTED), 2);
    beat_and_lease(&f, "{20,5,5,0}");
    assert_int_equal(next_beat_in(&f), 1000);
    assert_true(gate_enter(&f.gate, &g[1].place, now_ms + 1000000));
    assert_true(enter(&f, &g[2]));
    pass(1000);
    assert_int_equal(told_number(HOLDING), 5); /* what it may use, though it uses less */
    assert_int_equal(told_number(WANTED), 3);
    close_keeper(&f);
}

static void what_others_want_is_given_back_as_calls_end(void **state)
{
    (void)state;
    struct fixture f;
    struct guest g[4];
    open_keeper(&f, 20);
    beat_and_lease(&f, "{20,5,5,0}");
    for (int i = 0; i < 3; i++)
        assert_true(enter(&f, &g[i]));
    beat_and_lease(&f, "{20,5,2,0}"); /* granted still, but it should come down */
    assert_int_equal(metrics_get(METRIC_PERMITS_LEASED, 0), 2);
    assert_int_equal(next_beat_in(&f), 500);
    assert_false(enter(&f, &g[3]));
    pass(500);
    assert_int_equal(told_number(HOLDING), 3); /* in use, whatever the limit */
    assert_int_equal(told_number(WANTED), 4);
    gate_leave(&f.gate, &g[0].place);
    assert_false(g[3].is_in); /* two are in, and two may be */
    beat_and_lease(&f, "{20,3,2,0}");
    pass(500);
    assert_int_equal(told_number(HOLDING), 2);
    gate_leave(&f.gate, &g[1].place);
    assert_true(g[3].is_in);
    beat_and_lease(&f, "{20,2,2,0}");
    assert_int_equal(next_beat_in(&f), 1000);
    close_keeper(&f);
}

static void all_that_is_granted_and_not_wanted_back(void **state)
{
    (void)state;
    struct fixture f;
    struct guest g[2];
    open_keeper(&f, 20);
    beat_and_lease(&f, "{20,2,2,0}");
    assert_true(enter(&f, &g[0]) && enter(&f, &g[1]));
    beat_and_lease(&f, "{20,2,0,0}");
    gate_leave(&f.gate, &g[0].place);
    assert_int_equal(next_beat_in(&f), 500);
    pass(500);
    assert_int_equal(told_number(HOLDING), 1);
    gate_leave(&f.gate, &g[1].place);
    beat_and_lease(&f, "{20,1,0,0}");
    pass(500);
    assert_int_equal(told_number(HOLDING), 0);
    close_keeper(&f);
}

/* ---- for how long ------------------------------------------------------------------------------ */

static void a_lease_counts_from_before_the_heartbeat(void **state)
{
    (void)state;
    struct fixture f;
    struct guest g[2];
    open_keeper(&f, 20);
    pass(4000); /* so long is it on its way */
    beat_and_lease(&f, "{20,5,5,0}");
    pass(LEASE_MS - 4000 - 1);
    assert_true(enter(&f, &g[0]));
    pass(1);
    assert_false(enter(&f, &g[1]));
    close_keeper(&f);
}

static void without_an_answer_nobody_is_let_in(void **state)
{
    (void)state;
    struct fixture f;
    struct guest g[3];
    open_keeper(&f, 20);
    beat_and_lease(&f, "{20,5,5,0}");
    assert_true(enter(&f, &g[0]));
    pass(1000);
    answer("lease_permits", ERR_DB_DOWN, NULL);
    assert_int_equal(next_beat_in(&f), 500);
    pass(500);
    assert_int_equal(told_number(BEAT), 3);
    assert_int_equal(told_number(HOLDING), 5); /* its lease runs yet */
    pass(4500);
    assert_false(enter(&f, &g[1]));
    answer("lease_permits", ERR_DB_DOWN, NULL);
    assert_false(g[1].is_in);
    pass(500);
    assert_int_equal(told_number(HOLDING), 1); /* it is over: no more than what is in use */
    assert_int_equal(told_number(WANTED), 2);
    gate_leave(&f.gate, &g[0].place);
    assert_false(g[1].is_in);
    answer("lease_permits", ERR_NONE, "{20,1,1,0}");
    assert_true(g[1].is_in);
    assert_false(enter(&f, &g[2]));
    close_keeper(&f);
}

/* A thread looks at the clock and is held up; the lease ends, a heartbeat tells what is in use; the thread goes on. */
static struct fixture *held_up;
static bool was_counted;
static int counted;

static void hold_up(void)
{
    struct gate_report report;
    if (pthread_mutex_trylock(&held_up->gate.lock) != 0)
        return; /* it cannot be counted meanwhile: gate_tell would wait */
    pthread_mutex_unlock(&held_up->gate.lock);
    now_ms += LEASE_MS;
    gate_tell(&held_up->gate, &report);
    counted = report.in_use;
    was_counted = true;
}

static void what_comes_in_was_counted(void **state)
{
    (void)state;
    struct fixture f;
    struct guest g;
    open_keeper(&f, 20);
    beat_and_lease(&f, "{20,5,5,0}");
    come(&f, &g);
    held_up = &f;
    was_counted = false;
    on_look = hold_up;
    bool is_in = gate_enter(&f.gate, &g.place, INT64_MAX / 2);
    assert_null(on_look);
    assert_true(!was_counted || f.gate.in_use == counted);
    assert_int_equal(is_in, f.gate.in_use);
    close_keeper(&f);
}

/* ---- a new id ---------------------------------------------------------------------------------- */

static void a_new_id_gives_back_what_the_old_one_had(void **state)
{
    (void)state;
    struct fixture f;
    struct guest g;
    char first[UUID_TEXT_BYTES], second[UUID_TEXT_BYTES];
    open_keeper(&f, 20);
    memcpy(first, told(WORKER), sizeof first);
    beat_and_lease(&f, "{20,5,5,0}");
    assert_true(enter(&f, &g));
    pass(1000);
    assert_int_equal(told_number(BEAT), 2);
    answer("lease_permits", ERR_WORKER_LOST, NULL);
    assert_string_not_equal(in_force, first);
    memcpy(second, in_force, sizeof second);
    assert_int_equal(next_beat_in(&f), 0);
    pass(0);
    assert_string_equal(told(WORKER), second);
    assert_string_equal(told(BEFORE), first);
    assert_int_equal(told_number(BEAT), 1);
    assert_int_equal(told_number(HOLDING), 5); /* may yet be used, under whatever id */
    answer("lease_permits", ERR_DB_DOWN, NULL);
    pass(500);
    assert_int_equal(told_number(BEAT), 2);
    assert_string_equal(told(BEFORE), first); /* until it is known to have come through */
    beat_and_lease(&f, "{20,4,4,0}");
    pass(1000);
    assert_null(told(BEFORE));
    assert_string_equal(told(WORKER), second);
    assert_int_equal(told_number(HOLDING), 4);
    close_keeper(&f);
}

static void lost_twice(void **state)
{
    (void)state;
    struct fixture f;
    char second[UUID_TEXT_BYTES];
    open_keeper(&f, 20);
    answer("lease_permits", ERR_WORKER_LOST, NULL);
    pass(0);
    memcpy(second, told(WORKER), sizeof second);
    answer("lease_permits", ERR_WORKER_LOST, NULL);
    pass(0);
    assert_string_equal(told(BEFORE), second);
    assert_string_equal(told(WORKER), in_force);
    assert_string_not_equal(told(WORKER), second);
    close_keeper(&f);
}

/* ---- answers that are none --------------------------------------------------------------------- */

static void malformed_answers_lease_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {NULL,
                                        "",
                                        "{",
                                        "{20,5}",
                                        "{20,5,9,0",
                                        "{20,9,9,0}x",
                                        "{20,9,9,0,0}",
                                        "{20,9,9}",
                                        "{NULL,9,9,0}",
                                        "{20,,9,0}",
                                        "20,9,9,0",
                                        "{20,9,-1,0}",
                                        "{20,5,9,0}",
                                        "{20,-9,-9,0}"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct fixture f;
        struct keeper_report report;
        struct guest g[6];
        open_keeper(&f, 20);
        beat_and_lease(&f, "{20,5,5,0}");
        pass(1000);
        answer("lease_permits", ERR_NONE, texts[i]);
        assert_int_equal(next_beat_in(&f), 2000);
        keeper_tell(&f.keeper, &report);
        assert_true(report.is_heard);
        assert_int_equal(report.schema_found, 0); /* not the schema it knows */
        for (int n = 0; n < 6; n++)
            assert_int_equal(enter(&f, &g[n]), n < 5); /* what it had, while that lasts */
        pass(2000);
        assert_int_equal(told_number(HOLDING), 5);
        pass(3000);
        gate_leave(&f.gate, &g[0].place);
        assert_false(g[5].is_in);
        close_keeper(&f);
    }
}

static void refusals_by_kind(void **state)
{
    (void)state;
    static const struct {
        enum err_kind kind;
        int64_t wait_ms;
        bool is_heard;
    } rows[] = {{ERR_INTERNAL, 2000, true}, {ERR_DB_DOWN, 500, false}, {ERR_BUSY, 500, false}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct fixture f;
        struct keeper_report report;
        open_keeper(&f, 20);
        answer("lease_permits", rows[i].kind, NULL);
        assert_int_equal(next_beat_in(&f), rows[i].wait_ms);
        keeper_tell(&f.keeper, &report);
        assert_int_equal(report.is_heard, rows[i].is_heard);
        assert_int_equal(report.schema_found, rows[i].is_heard ? 0 : -1);
        pass(rows[i].wait_ms);
        assert_int_equal(told_number(BEAT), 2);
        close_keeper(&f);
    }
}

/* ---- the other duties -------------------------------------------------------------------------- */

static int64_t next_in(const struct keeper_duty *d)
{
    assert_true(is_started(&d->timer));
    return d->timer.due_ms - now_ms;
}

static void a_sweep_goes_on_where_it_was(void **state)
{
    (void)state;
    struct fixture f;
    open_keeper(&f, 20);
    static const char *const pages[] = {"a", "b 2", "zz"};
    assert_string_equal(call_of("sweep_limits")->param[0].data, "");
    assert_string_equal(call_of("sweep_limits")->param[1].data, "2000");
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        answer("sweep_limits", ERR_NONE, pages[i]);
        assert_int_equal(next_in(&f.keeper.sweep), 100);
        pass(100);
        assert_string_equal(call_of("sweep_limits")->param[0].data, pages[i]);
    }
    answer("sweep_limits", ERR_NONE, NULL); /* the end */
    assert_in_range(next_in(&f.keeper.sweep), 5000, 15000);
    pass(next_in(&f.keeper.sweep));
    assert_string_equal(call_of("sweep_limits")->param[0].data, "");
    answer("sweep_limits", ERR_NONE, "half");
    pass(100);
    answer("sweep_limits", ERR_DB_DOWN, NULL); /* in the middle: from the first, later */
    assert_in_range(next_in(&f.keeper.sweep), 5000, 15000);
    pass(next_in(&f.keeper.sweep));
    assert_string_equal(call_of("sweep_limits")->param[0].data, "");
    answer("sweep_limits", ERR_NONE, "kept at the end"); /* and freed */
    close_keeper(&f);
}

static void hear_for(struct fixture *f, int64_t ms)
{
    for (int64_t until_ms = now_ms + ms; now_ms < until_ms; pass(500))
        if (call_of("lease_permits"))
            answer("lease_permits", ERR_NONE, "{20,5,5,0}");
    (void)f;
}

/* After the database was away, everybody has been silent: who lives is given time to be heard again. */
static void who_was_away_buries_nobody(void **state)
{
    (void)state;
    struct fixture f;
    open_keeper(&f, 20);
    hear_for(&f, 5000);
    assert_null(call_of("reap_workers"));
    hear_for(&f, 2000);
    answer("reap_workers", ERR_NONE, "0");
    answer("lease_permits", ERR_DB_DOWN, NULL);
    for (int i = 0; i < 12; i++) {
        pass(500);
        if (call_of("lease_permits"))
            answer("lease_permits", ERR_DB_DOWN, NULL);
        if (call_of("reap_workers"))
            answer("reap_workers", ERR_DB_DOWN, NULL);
    }
    assert_null(call_of("reap_workers"));
    hear_for(&f, 5000);
    assert_null(call_of("reap_workers"));
    hear_for(&f, 2500);
    assert_non_null(call_of("reap_workers"));
    close_keeper(&f);
}

static int times_cancelled;

static void on_cancelled(void *arg)
{
    (void)arg;
    times_cancelled++;
}

static void cancelled_jobs_are_told(void **state)
{
    (void)state;
    struct fixture f;
    open_keeper(&f, 20);
    f.keeper.cancelled = on_cancelled;
    times_cancelled = 0;
    beat_and_lease(&f, "{20,5,5,0}");
    assert_int_equal(times_cancelled, 0);
    pass(1000);
    beat_and_lease(&f, "{20,5,5,2}");
    assert_int_equal(times_cancelled, 1);
    pass(1000);
    beat_and_lease(&f, "{20,5,5,2}");
    assert_int_equal(times_cancelled, 1);
    pass(1000);
    answer("lease_permits", ERR_WORKER_LOST, NULL); /* nothing that runs is its own any more */
    assert_int_equal(times_cancelled, 2);
    pass(0);
    beat_and_lease(&f, "{20,5,5,0}"); /* a new id begins with none */
    assert_int_equal(times_cancelled, 2);
    close_keeper(&f);
}

static void the_dead_and_partitions_in_time(void **state)
{
    (void)state;
    struct fixture f;
    open_keeper(&f, 20);
    hear_for(&f, 7000);
    answer("reap_workers", ERR_NONE, "3");
    assert_in_range(next_in(&f.keeper.reaping), 500, 1500);
    hear_for(&f, 2000);
    answer("reap_workers", ERR_DB_DOWN, NULL);
    assert_in_range(next_in(&f.keeper.reaping), 500, 1500);
    answer("make_partitions", ERR_DB_DOWN, NULL);
    assert_int_equal(next_in(&f.keeper.partitions), 10000);
    pass(10000);
    answer("make_partitions", ERR_NONE, "2");
    assert_int_equal(next_in(&f.keeper.partitions), INT64_C(86400000));
    close_keeper(&f);
}

static const char *steps_of(void)
{
    return call_of("apply_retention")->param[1].data;
}

static void a_walk_goes_on_until_it_is_over(void **state)
{
    (void)state;
    struct fixture f;
    open_keeper(&f, 0);
    assert_int_equal(metrics_get(METRIC_OLDEST_MESSAGE, 0), -1);
    assert_string_equal(call_of("apply_retention")->param[0].data, "7776000000");
    assert_string_equal(steps_of(), "200");
    answer("apply_retention", ERR_NONE, "{1,NULL}"); /* there is more */
    assert_in_range(next_in(&f.keeper.retention), 50, 150);
    pass(next_in(&f.keeper.retention));
    answer("apply_retention", ERR_NONE, "{2,NULL}"); /* tables were busy */
    assert_in_range(next_in(&f.keeper.retention), 500, 1500);
    pass(next_in(&f.keeper.retention));
    answer("apply_retention", ERR_NONE, NULL); /* somebody else is at it */
    assert_in_range(next_in(&f.keeper.retention), 30000, 90000);
    assert_int_equal(metrics_get(METRIC_OLDEST_MESSAGE, 0), -1);
    pass(next_in(&f.keeper.retention));
    answer("apply_retention", ERR_NONE, "{0,86400}"); /* it is over */
    assert_int_equal(metrics_get(METRIC_OLDEST_MESSAGE, 0), 86400);
    assert_in_range(next_in(&f.keeper.retention), 50 * 60000, 70 * 60000);
    pass(next_in(&f.keeper.retention));
    answer("apply_retention", ERR_NONE, "{0,-1}");
    assert_int_equal(metrics_get(METRIC_OLDEST_MESSAGE, 0), -1);
    close_keeper(&f);
}

static void a_step_that_was_too_long_is_made_shorter(void **state)
{
    (void)state;
    static const char *const after_failure[] = {"25", "3", "1", "1"};
    static const char *const afterwards[] = {"2", "4", "8"};
    struct fixture f;
    open_keeper(&f, 0);
    for (size_t i = 0; i < COUNT_OF(after_failure); i++) {
        answer("apply_retention", i % 2 ? ERR_DB_DOWN : ERR_INTERNAL, NULL);
        assert_in_range(next_in(&f.keeper.retention), 30000, 90000);
        pass(next_in(&f.keeper.retention));
        assert_string_equal(steps_of(), after_failure[i]);
    }
    for (size_t i = 0; i < COUNT_OF(afterwards); i++) {
        answer("apply_retention", ERR_NONE, "{1,NULL}");
        pass(next_in(&f.keeper.retention));
        assert_string_equal(steps_of(), afterwards[i]);
    }
    answer("apply_retention", ERR_NONE, "{0,5}");
    pass(next_in(&f.keeper.retention));
    assert_string_equal(steps_of(), "200");
    close_keeper(&f);
}

static void an_erasure_left_half_way_is_gone_on_with(void **state)
{
    (void)state;
    struct fixture f;
    open_keeper(&f, 0);
    assert_null(call_of("go_on_erasing")->param[0].data); /* whichever was left */
    answer("go_on_erasing", ERR_NONE, NULL);
    assert_in_range(next_in(&f.keeper.erasing), 7500, 22500);
    for (int step = 0; step < 3; step++) {
        pass(next_in(&f.keeper.erasing));
        assert_true(step > 0 || !call_of("go_on_erasing")->param[0].data);
        answer("go_on_erasing", ERR_NONE, "\\x0102");
        assert_int_equal(next_in(&f.keeper.erasing), 100);
    }
    pass(100);
    assert_string_equal(call_of("go_on_erasing")->param[0].data, "\\x0102");
    answer("go_on_erasing", ERR_DB_DOWN, NULL); /* it stays left, for whoever looks next */
    pass(next_in(&f.keeper.erasing));
    assert_null(call_of("go_on_erasing")->param[0].data);
    close_keeper(&f);
}

static void stopped_it_asks_nothing_more(void **state)
{
    (void)state;
    struct fixture f;
    open_keeper(&f, 20);
    beat_and_lease(&f, "{20,5,5,0}"); /* the next is due */
    keeper_stop(&f.keeper, now_ms);   /* with four on their way */
    answer("make_partitions", ERR_NONE, "0");
    answer("sweep_limits", ERR_NONE, NULL);
    answer("apply_retention", ERR_NONE, NULL);
    answer("go_on_erasing", ERR_NONE, "kept at the end"); /* and freed */
    keeper_stop(&f.keeper, now_ms + 1000000);             /* none is: it does not wait */
    pass(1000000);
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        assert_null(asked[i]);
    for (size_t i = 0; i < COUNT_OF(started); i++)
        assert_null(started[i]);
    close_keeper(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_with_all_its_duties),
        cmocka_unit_test(without_a_cap_its_own_is_all_it_has),
        cmocka_unit_test(it_tells_what_it_holds_and_wants),
        cmocka_unit_test(what_others_want_is_given_back_as_calls_end),
        cmocka_unit_test(all_that_is_granted_and_not_wanted_back),
        cmocka_unit_test(a_lease_counts_from_before_the_heartbeat),
        cmocka_unit_test(without_an_answer_nobody_is_let_in),
        cmocka_unit_test(what_comes_in_was_counted),
        cmocka_unit_test(a_new_id_gives_back_what_the_old_one_had),
        cmocka_unit_test(lost_twice),
        cmocka_unit_test(malformed_answers_lease_nothing),
        cmocka_unit_test(refusals_by_kind),
        cmocka_unit_test(a_sweep_goes_on_where_it_was),
        cmocka_unit_test(who_was_away_buries_nobody),
        cmocka_unit_test(cancelled_jobs_are_told),
        cmocka_unit_test(a_walk_goes_on_until_it_is_over),
        cmocka_unit_test(a_step_that_was_too_long_is_made_shorter),
        cmocka_unit_test(the_dead_and_partitions_in_time),
        cmocka_unit_test(an_erasure_left_half_way_is_gone_on_with),
        cmocka_unit_test(stopped_it_asks_nothing_more),
    };
    return RUN(tests);
}
