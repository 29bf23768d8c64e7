/* When jobs are claimed, and what the database is told of those that run. */
#include "jobs_stage.h"

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
    assert_string_equal(c->number, "0");
    assert_int_equal(claiming->deadline_ms, now_ms + 5000);
    answer_claim(ERR_NONE, 2, 1);
    assert_int_equal(run_count, 2);
    assert_null(claiming); /* there were no more */
    poll();
    assert_string_equal(c->known, "{01000000-0000-0000-0000-000000000000,"
                                  "02000000-0000-0000-0000-000000000000}");
    assert_string_equal(c->number, "0");
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
    static const enum err_kind kinds[] = {ERR_WORKER_LOST, ERR_INTERNAL};
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

/* It has another number, so that the lost one does nothing if it comes to be done after it. */
static void after_a_lost_reply_it_asks_soon_and_then_ever_later(void **state)
{
    (void)state;
    open_jobs();
    for (int i = 0; i < 10; i++) {
        poll();
        answer_claim(ERR_NONE, 0, 0);
    }
    int64_t pause_ms = 20;
    for (int i = 0; i < 8; i++) {
        char number[12];
        snprintf(number, sizeof number, "%d", i);
        poll();
        assert_string_equal(core.jobs.claim.number, number);
        jobs_wake(&core.jobs);
        answer_claim(ERR_DB_DOWN, 0, 0);
        assert_null(claiming); /* not at once */
        assert_in_range(next_poll_in(), pause_ms / 2, pause_ms * 3 / 2);
        pause_ms = pause_ms * 2 < 1000 ? pause_ms * 2 : 1000;
    }
    poll();
    answer_claim(ERR_NONE, 0, 0);
    poll();
    assert_string_equal(core.jobs.claim.number, "8"); /* which is kept */
    close_jobs();
}

static void what_a_lost_claim_opens_goes_back_also_without_room(void **state)
{
    (void)state;
    open_jobs();
    poll();
    answer_claim(ERR_DB_DOWN, 0, 0);
    int64_t lost_ms = now_ms;
    fill(0, PERMITS);
    /* For as long as it may come to be done: others would not know of that. */
    do {
        poll();
        assert_non_null(claiming);
        assert_string_equal(core.jobs.claim.most, "0");
        assert_string_equal(core.jobs.claim.known, "{}");
        assert_string_equal(core.jobs.claim.number, "1");
        answer_claim(ERR_NONE, 0, 0);
    } while (now_ms + next_poll_in() < lost_ms + 10000);
    poll();
    assert_null(claiming);
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
        cmocka_unit_test(after_a_lost_reply_it_asks_soon_and_then_ever_later),
        cmocka_unit_test(what_a_lost_claim_opens_goes_back_also_without_room),
        cmocka_unit_test(stopped_it_claims_no_more_and_breaks_off),
        cmocka_unit_test(stopped_between_two_that_it_runs),
    };
    return RUN(tests);
}
