/* When jobs are claimed, what the database is told of those that run, and which of them are broken off: against a clock,
 * timers and a database that do as they are told. */
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

void hooks_wake(struct hooks *h)
{
    (void)h;
}

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

static void open_jobs(void)
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

static void close_jobs(void)
{
    jobs_stop(&core.jobs);
    assert_null(started);
    for (size_t i = 0; i < run_count; i++)
        if (list_is_linked(&turns[i].running))
            jobs_end(&core.jobs, &turns[i]);
    jobs_fini(&core.jobs);
    gate_fini(&core.gate);
}

static int64_t next_poll_in(void)
{
    assert_non_null(started);
    return started->due_ms - now_ms;
}

static void poll(void)
{
    struct timer *timer = started;
    assert_non_null(timer);
    now_ms = timer->due_ms;
    started = NULL;
    timer->fire(timer);
}

/* So many jobs, of conversations that begin with these bytes. */
static void answer_claim(enum err_kind kind, int count, uint8_t conversation)
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

static void answer_look(enum err_kind kind, const char *text)
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

static void unused(struct gate_place *p)
{
    (void)p;
}

/* Takes so many calls. */
static void fill(int from, int count)
{
    const struct hash caller = {{1}};
    int64_t wait_ms;
    for (int i = from; i < from + count; i++) {
        guests[i] = (struct gate_place){.admitted = unused, .expired = unused, .class = GATE_JOB};
        assert_true(gate_arrive(&core.gate, &guests[i], &caller, &wait_ms));
        assert_true(gate_enter(&core.gate, &guests[i], INT64_MAX / 2));
    }
}

static void leave(int guest)
{
    now_ms += 1000; /* a long call */
    gate_leave(&core.gate, &guests[guest]);
    gate_depart(&core.gate, &guests[guest]);
    jobs_note_room(&core.jobs);
}

static bool is_cancelled(int turn)
{
    return atomic_load(&turns[turn].model.call.is_cancelled);
}

/* ---- claiming ---------------------------------------------------------------------------------- */

static void it_asks_for_as_many_as_calls_are_free(void **state)
{
    (void)state;
    open_jobs();
    fill(0, 1);
    poll();
    const struct claim *c = &core.jobs.claim;
    assert_string_equal(c->worker, first_id);
    assert_string_equal(c->most, "3");
    assert_string_equal(c->messages, "40");
    assert_string_equal(c->bytes, "100000");
    assert_string_equal(c->known, "{}");
    assert_int_equal(claiming->deadline_ms, now_ms + 5000);
    answer_claim(ERR_NONE, 2, 1);
    assert_int_equal(run_count, 2);
    assert_null(claiming); /* there were no more */
    poll();
    assert_string_equal(c->known, "{01000000-0000-0000-0000-000000000000,"
                                  "02000000-0000-0000-0000-000000000000}");
    close_jobs();
}

static void without_room_it_asks_nothing(void **state)
{
    (void)state;
    open_jobs();
    fill(0, PERMITS);
    poll();
    jobs_wake(&core.jobs);
    poll();
    assert_int_equal(claims, 0);
    leave(0);
    assert_int_equal(claims, 1); /* at once */
    assert_string_equal(core.jobs.claim.most, "1");
    close_jobs();
}

static void unheard_it_asks_nothing(void **state)
{
    (void)state;
    open_jobs();
    is_heard = false;
    poll();
    jobs_wake(&core.jobs);
    assert_int_equal(claims, 0);
    is_heard = true;
    poll();
    assert_int_equal(claims, 1);
    close_jobs();
}

static void what_was_all_it_asked_for_may_not_be_all_there_is(void **state)
{
    (void)state;
    open_jobs();
    fill(0, 2);
    poll();
    answer_claim(ERR_NONE, 2, 1); /* these wait for their calls outside of this test */
    assert_int_equal(claims, 2);  /* once more, at once */
    answer_claim(ERR_NONE, 1, 3);
    assert_int_equal(claims, 2);
    leave(0); /* it is not hungry: what is free is looked after by the next poll */
    assert_int_equal(claims, 2);
    close_jobs();
}

static void it_looks_less_often_the_less_it_finds(void **state)
{
    (void)state;
    open_jobs();
    poll();
    answer_claim(ERR_NONE, 1, 1);
    assert_in_range(next_poll_in(), 10, 30);
    int64_t pause_ms = 20;
    for (int i = 0; i < 10; i++) {
        poll();
        answer_claim(ERR_NONE, 0, 0);
        pause_ms = pause_ms * 2 < 1000 ? pause_ms * 2 : 1000;
        assert_in_range(next_poll_in(), pause_ms / 2, pause_ms * 3 / 2);
    }
    jobs_wake(&core.jobs); /* something was queued here */
    assert_non_null(claiming);
    answer_claim(ERR_NONE, 1, 2);
    assert_in_range(next_poll_in(), 10, 30);
    close_jobs();
}

static void woken_while_it_asks_it_asks_once_more(void **state)
{
    (void)state;
    open_jobs();
    poll();
    for (int i = 0; i < 3; i++)
        jobs_wake(&core.jobs);
    assert_int_equal(claims, 1);
    answer_claim(ERR_NONE, 0, 0);
    assert_int_equal(claims, 2);
    answer_claim(ERR_NONE, 0, 0);
    assert_int_equal(claims, 2);
    assert_non_null(started);
    close_jobs();
}

static void a_call_that_becomes_free_while_it_asks(void **state)
{
    (void)state;
    open_jobs();
    fill(0, 1);
    poll();
    leave(0);
    answer_claim(ERR_NONE, 0, 0);
    assert_int_equal(claims, 2);
    assert_string_equal(core.jobs.claim.most, "4");
    close_jobs();
}

static void failures_are_not_repeated_at_once(void **state)
{
    (void)state;
    static const enum err_kind kinds[] = {ERR_DB_DOWN, ERR_WORKER_LOST, ERR_INTERNAL};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        open_jobs();
        poll();
        jobs_wake(&core.jobs);
        answer_claim(kinds[i], 0, 0);
        assert_int_equal(claims, 1);
        assert_in_range(next_poll_in(), 500, 1500);
        close_jobs();
    }
}

static void what_an_unheard_claim_opened_goes_back_also_without_room(void **state)
{
    (void)state;
    open_jobs();
    poll();
    answer_claim(ERR_DB_DOWN, 0, 0);
    fill(0, PERMITS);
    poll();
    assert_int_equal(claims, 2);
    assert_string_equal(core.jobs.claim.most, "0");
    assert_string_equal(core.jobs.claim.known, "{}");
    answer_claim(ERR_DB_DOWN, 0, 0); /* and again, until it is known */
    assert_int_equal(claims, 2);
    poll();
    assert_int_equal(claims, 3);
    answer_claim(ERR_NONE, 0, 0);
    poll();
    assert_int_equal(claims, 3);
    close_jobs();
}

static void stopped_it_claims_no_more_and_breaks_off(void **state)
{
    (void)state;
    open_jobs();
    poll();
    answer_claim(ERR_NONE, 1, 1);
    poll();
    jobs_stop(&core.jobs);
    assert_true(is_cancelled(0));
    assert_int_equal(break_offs, 1);
    answer_claim(ERR_NONE, 1, 2); /* came too late: it is handed back */
    assert_true(is_cancelled(1));
    assert_null(started);
    jobs_wake(&core.jobs);
    jobs_note_room(&core.jobs);
    jobs_look(&core.jobs);
    assert_int_equal(claims + looks, 2);
    assert_int_equal(gate_room(&core.gate), 0);
    close_jobs();
}

static void stop(struct core *c)
{
    jobs_stop(&c->jobs);
}

static void stopped_between_two_that_it_runs(void **state)
{
    (void)state;
    open_jobs();
    poll();
    on_run = stop;
    answer_claim(ERR_NONE, PERMITS, 1);
    for (int i = 0; i < PERMITS; i++)
        assert_true(is_cancelled(i));
    assert_null(claiming);
    close_jobs();
}

/* ---- cancelling -------------------------------------------------------------------------------- */

static void run_three(void)
{
    open_jobs();
    poll();
    answer_claim(ERR_NONE, 3, 1);
}

static void those_that_are_not_its_own_are_broken_off(void **state)
{
    (void)state;
    run_three();
    jobs_look(&core.jobs);
    assert_string_equal(looking->param[0].data, first_id);
    assert_string_equal(looking->param[1].data, "{01000000-0000-0000-0000-000000000000,"
                                                "02000000-0000-0000-0000-000000000000,"
                                                "03000000-0000-0000-0000-000000000000}");
    assert_string_equal(looking->param[2].data, "{1,1,1}");
    assert_string_equal(looking->param[3].data, "{1,1,1}");
    answer_look(ERR_NONE, "{1,3}");
    assert_true(is_cancelled(0) && !is_cancelled(1) && is_cancelled(2));
    assert_int_equal(break_offs, 1);
    assert_int_equal(looks, 1);
    close_jobs();
}

static void what_ended_meanwhile_and_runs_again_goes_on(void **state)
{
    (void)state;
    run_three();
    jobs_look(&core.jobs);
    jobs_end(&core.jobs, &turns[0]);
    turns[0].accept.ref.attempt = 2;
    jobs_begin(&core.jobs, &turns[0]);
    answer_look(ERR_NONE, "{1}");
    assert_false(is_cancelled(0));
    close_jobs();
}

static void answers_that_are_none_break_off_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        NULL, "", "{", "{}", "{x}", "{0}", "{4}", "{-1}", "{99999999999999999999}"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        run_three();
        jobs_look(&core.jobs);
        answer_look(ERR_NONE, texts[i]);
        assert_false(is_cancelled(0) || is_cancelled(1) || is_cancelled(2));
        close_jobs();
    }
}

static void asked_while_it_looks_it_looks_once_more(void **state)
{
    (void)state;
    run_three();
    for (int i = 0; i < 3; i++)
        jobs_look(&core.jobs);
    assert_int_equal(looks, 1);
    answer_look(ERR_NONE, "{}");
    assert_int_equal(looks, 2);
    answer_look(ERR_DB_DOWN, NULL); /* then we do not know */
    assert_int_equal(looks, 3);
    answer_look(ERR_NONE, "{2}");
    assert_int_equal(looks, 3);
    assert_true(is_cancelled(1));
    close_jobs();
}

static void under_a_new_id_the_old_ones_are_not_its_own(void **state)
{
    (void)state;
    run_three();
    worker = second_id;
    poll();
    answer_claim(ERR_NONE, 1, 9);
    jobs_look(&core.jobs);
    assert_string_equal(looking->param[0].data, second_id);
    assert_string_equal(looking->param[1].data, "{09000000-0000-0000-0000-000000000000}");
    assert_string_equal(looking->param[2].data, "{1}");
    answer_look(ERR_NONE, "{}");
    assert_true(is_cancelled(0) && is_cancelled(1) && is_cancelled(2));
    assert_false(is_cancelled(3));
    assert_int_equal(break_offs, 1);
    close_jobs();
}

/* ---- running ----------------------------------------------------------------------------------- */

static void it_knows_what_runs_here(void **state)
{
    (void)state;
    run_three();
    struct job_ref ref = {.conversation = {{2}}, .turn_no = 1};
    assert_true(jobs_is_here(&core.jobs, &ref));
    ref.turn_no = 2;
    assert_false(jobs_is_here(&core.jobs, &ref));
    ref.turn_no = 1;
    jobs_end(&core.jobs, &turns[1]);
    assert_false(jobs_is_here(&core.jobs, &ref));
    jobs_look(&core.jobs);
    assert_string_equal(looking->param[1].data, "{01000000-0000-0000-0000-000000000000,"
                                                "03000000-0000-0000-0000-000000000000}");
    answer_look(ERR_NONE, "{2}"); /* of those it asked about */
    assert_true(!is_cancelled(0) && is_cancelled(2));
    close_jobs();
}

static void what_is_handed_back(void **state)
{
    (void)state;
    static const struct {
        enum err_kind kind;
        bool in_trouble;
        int attempt;
        bool is_handed_back;
    } rows[] = {
        {ERR_NONE, true, 1, false},           {ERR_CANCELLED, false, 9, true},
        {ERR_WORKER_LOST, false, 9, true},    {ERR_QUEUE_SLOW, false, 9, true},
        {ERR_QUEUE_FULL, false, 9, true},     {ERR_MODEL_FAILED, false, 1, false},
        {ERR_MODEL_FAILED, true, 4, true},    {ERR_MODEL_FAILED, true, 5, false},
        {ERR_MODEL_TIMEOUT, true, 4, true},   {ERR_MODEL_TIMEOUT, true, 5, false},
        {ERR_MODEL_TIMEOUT, false, 1, false}, {ERR_INTERNAL, true, 1, false},
    };
    open_jobs();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct turn t = {.accept.ref.attempt = rows[i].attempt};
        in_trouble = rows[i].in_trouble;
        t.model.call.err.kind = rows[i].kind;
        assert_int_equal(jobs_is_handed_back(&core.jobs, &t), rows[i].is_handed_back);
    }
    close_jobs();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_asks_for_as_many_as_calls_are_free),
        cmocka_unit_test(without_room_it_asks_nothing),
        cmocka_unit_test(unheard_it_asks_nothing),
        cmocka_unit_test(what_was_all_it_asked_for_may_not_be_all_there_is),
        cmocka_unit_test(it_looks_less_often_the_less_it_finds),
        cmocka_unit_test(woken_while_it_asks_it_asks_once_more),
        cmocka_unit_test(a_call_that_becomes_free_while_it_asks),
        cmocka_unit_test(failures_are_not_repeated_at_once),
        cmocka_unit_test(what_an_unheard_claim_opened_goes_back_also_without_room),
        cmocka_unit_test(stopped_it_claims_no_more_and_breaks_off),
        cmocka_unit_test(stopped_between_two_that_it_runs),
        cmocka_unit_test(those_that_are_not_its_own_are_broken_off),
        cmocka_unit_test(what_ended_meanwhile_and_runs_again_goes_on),
        cmocka_unit_test(answers_that_are_none_break_off_nothing),
        cmocka_unit_test(asked_while_it_looks_it_looks_once_more),
        cmocka_unit_test(under_a_new_id_the_old_ones_are_not_its_own),
        cmocka_unit_test(it_knows_what_runs_here),
        cmocka_unit_test(what_is_handed_back),
    };
    return RUN(tests);
}
