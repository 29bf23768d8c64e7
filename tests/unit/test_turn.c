/* A turn that may not go on is answered, once, and the next of its conversation has the word: without a database and a
 * model. */
#include "unit.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "core/turn_private.h"
#include "db/db.h"

#define MANY 2000
#define FAR_MS 100000

/* ---- stand-ins --------------------------------------------------------------------------------- */

static struct accept_item *_Atomic accepted; /* the last one given to the database */

void db_submit_accept(struct db *d, struct accept_item *item)
{
    (void)d;
    accepted = item;
}

void db_submit_finish(struct db *d, struct finish_item *item)
{
    (void)d;
    (void)item;
    fail();
}

static bool is_in_trouble; /* no model server is up */

bool models_are_in_trouble(const struct models *m)
{
    (void)m;
    return is_in_trouble;
}

int models_bear(const struct models *m)
{
    (void)m;
    return is_in_trouble ? 0 : 1;
}

const struct prompt *models_prompt(const struct models *m)
{
    (void)m;
    fail();
    return NULL;
}

void models_submit(struct models *m, struct models_call *c)
{
    (void)m;
    (void)c;
    fail();
}

bool models_has_other(struct models *m, struct models_call *c, int64_t now_ms)
{
    (void)m;
    (void)c;
    (void)now_ms;
    return false;
}

void models_submit_other(struct models *m, struct models_call *c)
{
    models_submit(m, c);
}

void jobs_wake(struct jobs *j)
{
    (void)j;
}

void jobs_note_room(struct jobs *j)
{
    (void)j;
}

void jobs_begin(struct jobs *j, struct turn *t)
{
    (void)j;
    (void)t;
    fail();
}

void jobs_end(struct jobs *j, struct turn *t)
{
    jobs_begin(j, t);
}

bool jobs_is_handed_back(struct jobs *j, const struct turn *t)
{
    (void)j;
    (void)t;
    return false;
}

void hooks_wake(struct hooks *h)
{
    (void)h;
    fail();
}

void watch_tell(struct watch *w, const struct job_ref *ref)
{
    (void)w;
    (void)ref;
    fail();
}

bool backlog_has_room(struct backlog *b)
{
    (void)b;
    return true;
}

void backlog_place(struct backlog *b, bool is_new, int64_t *position, int64_t *wait_ms)
{
    (void)b;
    *position = is_new;
    *wait_ms = -1;
}

static struct meter_place *metered; /* the last one whose quota is asked for apart */

void meter_take(struct meter *m, struct meter_place *p, const struct meter_ask *ask)
{
    (void)m;
    (void)ask;
    metered = p;
}

bool core_is_closing(struct core *c)
{
    (void)c;
    return false;
}

/* ---- a core without them ------------------------------------------------------------------------ */

struct fixture {
    struct config config;
    struct core core;
    struct gate_place inside; /* has the only permit */
};

static void unused_callback(struct gate_place *p)
{
    (void)p;
}

static void open_core(struct fixture *f, size_t places)
{
    const struct hash caller = {{1}};
    int64_t unused;
    *f = (struct fixture){.config = {.request_timeout = FAR_MS, .database_timeout = 1000}};
    struct core *c = &f->core;
    c->config = &f->config;
    list_init(&c->turns);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->timers = timers_new("turn-test");
    const struct gate_options gate = {.permits = 1, .most = places + 1, .timers = c->timers};
    gate_init(&c->gate, &gate);
    callers_init(&c->callers);
    line_init(&c->line, gate.most, c->timers);
    history_init(&c->history, 0);
    f->inside.admitted = f->inside.expired = unused_callback;
    assert_true(gate_arrive(&c->gate, &f->inside, &caller, &unused));
    assert_true(gate_come(&c->gate, &f->inside, INT64_MAX, &unused));
    assert_true(gate_enter(&c->gate, &f->inside, INT64_MAX));
    accepted = NULL;
    is_in_trouble = false;
}

static void close_core(struct fixture *f)
{
    struct core *c = &f->core;
    timers_stop(c->timers);
    assert_int_equal(c->turns.count, 0);
    gate_leave(&c->gate, &f->inside);
    gate_depart(&c->gate, &f->inside);
    assert_int_equal(c->gate.rotas[GATE_LIVE].held + c->gate.rotas[GATE_LIVE].coming, 0);
    history_fini(&c->history);
    line_fini(&c->line);
    callers_fini(&c->callers);
    gate_fini(&c->gate);
    timers_free(c->timers);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
}

static atomic_int answers[ERR_KINDS], all_answers;
static atomic_int retry_after_ms;
static struct quota last_quota;
static atomic_size_t deepest; /* of the stack, below the thread's first answer */
static _Thread_local char *first_frame;

static void on_answer(void *receiver, struct turn_reply *reply)
{
    (void)receiver;
    char *frame = __builtin_frame_address(0);
    if (!first_frame)
        first_frame = frame;
    size_t below = frame < first_frame ? (size_t)(first_frame - frame) : 0;
    if (below > atomic_load(&deepest))
        atomic_store(&deepest, below);
    atomic_store(&retry_after_ms, (int)reply->err.retry_after_ms);
    if (reply->err.kind == ERR_RATE_LIMITED)
        last_quota = reply->quota;
    atomic_fetch_add(&answers[reply->err.kind], 1);
    atomic_fetch_add(&all_answers, 1);
}

static void forget_answers(void)
{
    for (size_t i = 0; i < ERR_KINDS; i++)
        atomic_store(&answers[i], 0);
    atomic_store(&all_answers, 0);
    atomic_store(&deepest, 0);
}

static void submit(struct fixture *f, const char *session, int64_t left_ms)
{
    const struct turn_request request = {.answer = on_answer,
                                         .deadline_ms = clock_mono_ms() + left_ms,
                                         .address = "192.0.2.1",
                                         .request_id = "01890a5d",
                                         .session_id = mem_text(session),
                                         .message = mem_text("hi"),
                                         .idempotency_key = mem_text("k")};
    turn_submit(&f->core, &request);
}

static void wait_for_answers(int count)
{
    int64_t until_ms = clock_mono_ms() + 20000;
    while (atomic_load(&all_answers) < count && clock_mono_ms() < until_ms)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(atomic_load(&all_answers), count);
}

static void wait_until_free(struct core *c)
{
    int64_t until_ms = clock_mono_ms() + 20000;
    for (size_t count = 1; count > 0 && clock_mono_ms() < until_ms;) {
        pthread_mutex_lock(&c->lock);
        count = c->turns.count;
        pthread_mutex_unlock(&c->lock);
    }
}

static void refuse_accepted(enum err_kind kind)
{
    struct accept_item *item = accepted;
    assert_non_null(item);
    accepted = NULL;
    item->outcome = ACCEPT_REFUSED;
    err_set(&item->err, kind, "%s", "");
    item->done(item);
}

/* ---- the tests ----------------------------------------------------------------------------------- */

static void a_whole_line_refused_as_too_slow(void **state)
{
    (void)state;
    static struct fixture f;
    open_core(&f, 2 * MANY);
    forget_answers();
    for (int i = 0; i < MANY; i++)
        submit(&f, "s", FAR_MS);
    assert_non_null(accepted);
    assert_int_equal(atomic_load(&all_answers), 0);
    pthread_mutex_lock(&f.core.gate.lock);
    f.core.gate.call_us = INT64_C(120000000); /* by now it takes longer than anybody waits */
    pthread_mutex_unlock(&f.core.gate.lock);
    refuse_accepted(ERR_BUSY);
    wait_for_answers(MANY);
    assert_int_equal(answers[ERR_BUSY], 1);
    assert_int_equal(answers[ERR_QUEUE_SLOW], MANY - 1);
    assert_in_range(atomic_load(&retry_after_ms), 20000, 60000);
    assert_in_range(atomic_load(&deepest), 0, 16384); /* however long the line is */
    wait_until_free(&f.core);
    close_core(&f);
}

static void a_whole_line_refused_as_no_model_is_up(void **state)
{
    (void)state;
    static struct fixture f;
    open_core(&f, 2 * MANY);
    forget_answers();
    for (int i = 0; i < MANY; i++)
        submit(&f, "s", FAR_MS);
    is_in_trouble = true;
    refuse_accepted(ERR_BUSY);
    wait_for_answers(MANY);
    assert_int_equal(answers[ERR_MODEL_DOWN], MANY - 1);
    assert_int_equal(atomic_load(&retry_after_ms), 1000);
    assert_in_range(atomic_load(&deepest), 0, 16384);
    wait_until_free(&f.core);
    close_core(&f);
}

/* It was sent once, and its reply was lost together with the worker's id. Nobody may say then that nothing is stored. */
static void what_may_be_stored_is_not_refused_as_if_it_were_not(void **state)
{
    (void)state;
    static struct fixture f;
    open_core(&f, 10);
    forget_answers();
    submit(&f, "s", FAR_MS);
    pthread_mutex_lock(&f.core.gate.lock);
    f.core.gate.call_us = INT64_C(120000000);
    pthread_mutex_unlock(&f.core.gate.lock);
    struct accept_item *item = accepted;
    item->sent = true;
    refuse_accepted(ERR_WORKER_LOST); /* asked again in a moment: too slow by now */
    wait_for_answers(1);
    assert_int_equal(answers[ERR_DB_DOWN], 1);
    wait_until_free(&f.core);
    close_core(&f);
}

static void a_whole_line_overdue(void **state)
{
    (void)state;
    static struct fixture f;
    open_core(&f, 2 * MANY);
    forget_answers();
    submit(&f, "s", FAR_MS);
    for (int i = 1; i < MANY; i++)
        submit(&f, "s", 0);
    struct accept_item *first = accepted;
    wait_for_answers(MANY - 1);
    assert_ptr_equal(accepted, first);
    assert_int_equal(answers[ERR_BUSY], MANY - 1);
    refuse_accepted(ERR_RATE_LIMITED);
    wait_for_answers(MANY);
    assert_in_range(atomic_load(&deepest), 0, 16384);
    wait_until_free(&f.core);
    close_core(&f);
}

static void a_refusal_gives_the_word_to_the_next(void **state)
{
    (void)state;
    static struct fixture f;
    open_core(&f, 10);
    forget_answers();
    submit(&f, "s", FAR_MS);
    struct accept_item *first = accepted;
    submit(&f, "s", FAR_MS);
    assert_ptr_equal(accepted, first); /* waits in line */
    assert_int_equal(f.core.gate.rotas[GATE_LIVE].coming, 1);
    refuse_accepted(ERR_KEY_REUSED);
    assert_int_equal(answers[ERR_KEY_REUSED], 1);
    assert_non_null(accepted);
    assert_ptr_not_equal(accepted, first);
    assert_int_equal(f.core.gate.rotas[GATE_LIVE].coming, 1);
    refuse_accepted(ERR_DB_DOWN);
    assert_int_equal(answers[ERR_DB_DOWN], 1);
    assert_null(accepted);
    close_core(&f);
}

static void who_waits_for_another_worker_does_not_come_meanwhile(void **state)
{
    (void)state;
    static struct fixture f;
    open_core(&f, 10);
    forget_answers();
    submit(&f, "s", FAR_MS);
    for (int i = 0; i < 3; i++) {
        struct accept_item *item = accepted;
        accepted = NULL;
        item->outcome = ACCEPT_WAITING;
        item->done(item); /* the gate asserts that nobody comes twice */
        int64_t until_ms = clock_mono_ms() + 20000;
        while (!accepted && clock_mono_ms() < until_ms)
            sched_yield();
        assert_non_null(accepted);
    }
    refuse_accepted(ERR_BUSY);
    assert_int_equal(answers[ERR_BUSY], 1);
    wait_until_free(&f.core);
    close_core(&f);
}

static void without_a_place_nothing_is_asked(void **state)
{
    (void)state;
    static struct fixture f;
    open_core(&f, 2);
    forget_answers();
    submit(&f, "a", FAR_MS);
    struct accept_item *first = accepted;
    submit(&f, "b", FAR_MS);
    struct accept_item *second = accepted;
    f.core.gate.call_us = 1500000;
    submit(&f, "c", FAR_MS);
    assert_int_equal(answers[ERR_QUEUE_FULL], 1);
    assert_int_equal(atomic_load(&retry_after_ms), 3 * 1500); /* two wait, one is in */
    assert_ptr_equal(accepted, second);
    f.core.is_draining = true;
    submit(&f, "d", FAR_MS);
    assert_int_equal(answers[ERR_DRAINING], 1);
    refuse_accepted(ERR_RATE_LIMITED);
    accepted = first;
    refuse_accepted(ERR_RATE_LIMITED);
    assert_int_equal(answers[ERR_RATE_LIMITED], 2);
    close_core(&f);
}

static void a_refusal_of_the_database_is_remembered(void **state)
{
    (void)state;
    static struct fixture f;
    struct err why = {.kind = ERR_NONE};
    struct quota quota;
    struct turn_caller caller = {.address = "192.0.2.1"};
    open_core(&f, 10);
    forget_answers();
    assert_false(turn_is_refused(&f.core, &caller, &why, &quota));
    submit(&f, "s", FAR_MS);
    struct accept_item *item = accepted;
    item->err.retry_after_ms = 60000;
    item->quota = (struct quota){.policy = "free", .limit = 20, .window_s = 60};
    refuse_accepted(ERR_RATE_LIMITED);
    assert_true(turn_is_refused(&f.core, &caller, &why, &quota));
    assert_int_equal(why.kind, ERR_RATE_LIMITED);
    assert_string_equal(quota.policy, "free");
    caller.has_idempotency_key = true; /* may be a repeat */
    assert_false(turn_is_refused(&f.core, &caller, &why, &quota));
    caller.address = "192.0.2.2";
    assert_false(turn_is_refused(&f.core, &caller, &why, &quota));
    close_core(&f);
}

/* The next turn of the caller of submit() has its quota taken apart. */
static void make_hot(struct core *c)
{
    const struct hash name = callers_name(NULL, "192.0.2.1");
    const struct quota quota = {
        .policy = "free", .limit = 20, .window_s = 60, .remaining = 6, .reset_ms = 42000};
    const struct err none = {.kind = ERR_NONE};
    const struct caller_news news = {&name, &quota, &none, clock_mono_ms()};
    struct quota unused;
    int64_t now_ms = clock_mono_ms();
    callers_note(&c->callers, &news);
    bool is_hot = false;
    for (int i = 0; i < CALLERS_HOT; i++)
        is_hot = callers_is_hot(&c->callers, &name, now_ms, &unused);
    assert_true(is_hot);
    metered = NULL;
}

static void what_a_hot_caller_is_told_when_refused(void **state)
{
    (void)state;
    static struct fixture f;
    const struct turn_caller caller = {.address = "192.0.2.1"};
    struct err why = {.kind = ERR_NONE};
    struct quota quota;
    open_core(&f, 10);
    forget_answers();
    make_hot(&f.core);
    submit(&f, "s", FAR_MS);
    assert_non_null(metered);
    assert_null(accepted);
    err_set(&why, ERR_RATE_LIMITED, "%s", "");
    why.retry_after_ms = 3000;
    metered->refused(metered, &why);
    assert_int_equal(answers[ERR_RATE_LIMITED], 1);
    assert_string_equal(last_quota.policy, "free");
    assert_int_equal(last_quota.remaining, 0);
    assert_int_equal(last_quota.reset_ms, 60000); /* one after 3 s, the other 19 each 3 s later */
    assert_true(turn_is_refused(&f.core, &caller, &why, &quota));
    assert_int_equal(quota.remaining, 0);
    close_core(&f);
}

static void end_accepted(enum accept_outcome outcome, enum err_kind kind)
{
    struct accept_item *item = accepted;
    assert_non_null(item);
    accepted = NULL;
    item->outcome = outcome;
    if (kind != ERR_NONE)
        err_set(&item->err, kind, "%s", "");
    item->done(item);
}

static struct accept_item *wait_for_accept(void)
{
    int64_t until_ms = clock_mono_ms() + 20000;
    while (!accepted && clock_mono_ms() < until_ms)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_non_null(accepted);
    return accepted;
}

static void quota_is_taken_ahead_once(void **state)
{
    (void)state;
    static struct fixture f;
    open_core(&f, 10);
    forget_answers();
    make_hot(&f.core);
    submit(&f, "s", FAR_MS);
    assert_non_null(metered);
    metered->granted(metered, true);
    metered = NULL;
    assert_true(accepted->is_paid);
    end_accepted(ACCEPT_REFUSED, ERR_WORKER_LOST); /* rolled back: nothing was given back */
    assert_true(wait_for_accept()->is_paid);
    assert_null(metered);
    end_accepted(ACCEPT_WAITING, ERR_NONE); /* given back */
    assert_false(wait_for_accept()->is_paid);
    assert_null(metered);
    refuse_accepted(ERR_BUSY);
    wait_until_free(&f.core);
    close_core(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_line_refused_as_too_slow),
        cmocka_unit_test(a_whole_line_refused_as_no_model_is_up),
        cmocka_unit_test(what_may_be_stored_is_not_refused_as_if_it_were_not),
        cmocka_unit_test(a_whole_line_overdue),
        cmocka_unit_test(a_refusal_gives_the_word_to_the_next),
        cmocka_unit_test(who_waits_for_another_worker_does_not_come_meanwhile),
        cmocka_unit_test(without_a_place_nothing_is_asked),
        cmocka_unit_test(a_refusal_of_the_database_is_remembered),
        cmocka_unit_test(what_a_hot_caller_is_told_when_refused),
        cmocka_unit_test(quota_is_taken_ahead_once),
    };
    return RUN(tests);
}
