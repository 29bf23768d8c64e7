/* How many calls a model server should get: the adaptive limit, the breaker, and its probes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/health.h"

static struct health h;
static int64_t now_ms;

static void start(int most)
{
    health_init(&h, most);
    now_ms = 1000;
}

/* An attempt that began in the given era ends; so many calls are in flight. */
static bool take(enum attempt_result result, unsigned era, int in_flight)
{
    const struct health_report r = {
        .result = result, .had_fair_time = true, .era = era, .in_flight = in_flight};
    return health_take(&h, &r, now_ms);
}

/* One that began just now, with the limit used up. */
static bool end_one(enum attempt_result result)
{
    int limit = health_limit(&h);
    return take(result, health_era(&h), limit > 0 ? limit : 1);
}

static void end_many(enum attempt_result result, int count)
{
    while (count-- > 0)
        (void)end_one(result);
}

static void go_down(void)
{
    end_many(ATTEMPT_CONNECT, HEALTH_FAILURES);
    assert_int_equal(h.state, HEALTH_DOWN);
}

static bool probe(long status)
{
    health_probe_begins(&h, now_ms);
    return health_probe_ends(&h, status, now_ms);
}

static void go_on_trial(void)
{
    go_down();
    now_ms = health_probe_at_ms(&h);
    assert_true(probe(200));
    assert_int_equal(h.state, HEALTH_TRIAL);
}

static void assert_limit(double limit)
{
    assert_true(h.limit > limit - 1e-9 && h.limit < limit + 1e-9);
}

/* ---- the limit ---- */

static void test_begins_with_everything(void **state)
{
    (void)state;
    start(10);
    assert_int_equal(health_limit(&h), 10);
    assert_int_equal(h.state, HEALTH_UP);
    assert_true(health_probe_at_ms(&h) == INT64_MAX);
}

static void test_each_sign_of_overload_lowers_it(void **state)
{
    (void)state;
    static const enum attempt_result signs[] = {ATTEMPT_HTTP_429, ATTEMPT_HTTP_5XX, ATTEMPT_CONNECT,
                                                ATTEMPT_TIMEOUT, ATTEMPT_CUT};
    for (size_t i = 0; i < COUNT_OF(signs); i++) {
        start(10);
        assert_true(end_one(signs[i]));
        assert_int_equal(health_limit(&h), 7);
    }
}

static void test_other_failures_do_not(void **state)
{
    (void)state;
    static const enum attempt_result others[] = {ATTEMPT_REJECTED, ATTEMPT_GARBAGE,
                                                 ATTEMPT_TOO_LARGE};
    start(10);
    for (size_t i = 0; i < COUNT_OF(others); i++)
        for (int n = 0; n < 2 * HEALTH_FAILURES; n++)
            assert_false(end_one(others[i]));
    assert_limit(10);
}

static void test_lowered_once_a_round_trip(void **state)
{
    (void)state;
    start(100);
    unsigned first = health_era(&h);
    assert_true(take(ATTEMPT_HTTP_429, first, 100));
    unsigned second = health_era(&h);
    for (int i = 0; i < 50; i++)
        assert_false(take(ATTEMPT_HTTP_429, first, 100));
    assert_limit(70);
    assert_true(take(ATTEMPT_HTTP_429, second, 70));
    assert_false(take(ATTEMPT_HTTP_429, second, 70));
    assert_limit(49);
}

static void test_never_below_one(void **state)
{
    (void)state;
    start(3);
    end_many(ATTEMPT_HTTP_429, 30);
    assert_limit(1);
    assert_int_equal(health_limit(&h), 1);
    start(1);
    assert_false(end_one(ATTEMPT_HTTP_429));
    assert_int_equal(health_limit(&h), 1);
}

static void test_grows_by_one_a_round_trip(void **state)
{
    (void)state;
    start(100);
    end_many(ATTEMPT_HTTP_429, 1); /* 70: above half of 100 */
    assert_false(end_one(ATTEMPT_OK));
    assert_limit(70 + 1 / 70.0);
    end_many(ATTEMPT_OK, 69);
    assert_true(h.limit > 70.9 && h.limit < 71);
    assert_true(end_one(ATTEMPT_OK));
    assert_int_equal(health_limit(&h), 71);
}

static void test_grows_by_one_a_success_below_half(void **state)
{
    (void)state;
    start(100);
    end_many(ATTEMPT_HTTP_429, 2); /* 49: below half of 100 */
    assert_true(end_one(ATTEMPT_OK));
    assert_limit(50);
    assert_false(end_one(ATTEMPT_OK));
    assert_limit(50 + 1 / 50.0);
}

static void test_slow_start_ends_at_half_of_before_the_row(void **state)
{
    (void)state;
    start(100);
    end_many(ATTEMPT_HTTP_429, 5);
    assert_limit(100 * 0.7 * 0.7 * 0.7 * 0.7 * 0.7); /* 16.8 */
    end_many(ATTEMPT_OK, 34);
    assert_true(h.limit > 50 && h.limit < 51);
    /* Too much again: the next row of decreases has half of 50 as its mark. */
    end_many(ATTEMPT_HTTP_429, 3);
    assert_true(h.limit > 17 && h.limit < 18);
    end_many(ATTEMPT_OK, 12);
    assert_true(h.limit > 25 && h.limit < 26.5);
}

static void test_grows_only_when_it_holds_calls_back(void **state)
{
    (void)state;
    start(10);
    end_many(ATTEMPT_HTTP_429, 1); /* 7 */
    for (int i = 0; i < 100; i++)
        assert_false(take(ATTEMPT_OK, health_era(&h), 6));
    assert_limit(7);
    (void)take(ATTEMPT_OK, health_era(&h), 7);
    assert_limit(7 + 1 / 7.0);
    (void)take(ATTEMPT_OK, health_era(&h), 7); /* 7.14: its whole part counts */
    assert_true(h.limit > 7.2);
}

static void test_what_began_before_the_decrease_does_not_grow_it(void **state)
{
    (void)state;
    start(10);
    unsigned before = health_era(&h);
    end_many(ATTEMPT_HTTP_429, 1);
    assert_false(take(ATTEMPT_OK, before, 10));
    assert_limit(7);
}

static void test_never_above_what_is_allowed(void **state)
{
    (void)state;
    start(4);
    end_many(ATTEMPT_OK, 20);
    assert_limit(4);
    end_many(ATTEMPT_HTTP_429, 1);
    end_many(ATTEMPT_OK, 20);
    assert_limit(4);
}

static void test_settles_where_the_server_does(void **state)
{
    (void)state;
    start(100);
    int least = 100, most = 0;
    for (int round = 0; round < 200; round++) {
        unsigned era = health_era(&h);
        int calls = health_limit(&h);
        for (int i = 0; i < calls; i++) /* the server takes 20 at once */
            (void)take(i < 20 ? ATTEMPT_OK : ATTEMPT_HTTP_429, era, calls);
        if (round >= 20) {
            least = health_limit(&h) < least ? health_limit(&h) : least;
            most = health_limit(&h) > most ? health_limit(&h) : most;
        }
    }
    assert_in_range(least, 13, 20);
    assert_in_range(most, 20, 22);
}

/* ---- the breaker ---- */

static void test_five_failures_in_a_row_are_down(void **state)
{
    (void)state;
    static const enum attempt_result failures[] = {ATTEMPT_HTTP_5XX, ATTEMPT_CONNECT,
                                                   ATTEMPT_TIMEOUT, ATTEMPT_CUT};
    for (size_t i = 0; i < COUNT_OF(failures); i++) {
        start(10);
        end_many(failures[i], HEALTH_FAILURES - 1);
        assert_int_equal(h.state, HEALTH_UP);
        assert_true(end_one(failures[i]));
        assert_int_equal(h.state, HEALTH_DOWN);
        assert_int_equal(health_limit(&h), 0);
    }
}

static void test_also_of_one_round_trip(void **state)
{
    (void)state;
    start(10);
    unsigned era = health_era(&h);
    for (int i = 0; i < HEALTH_FAILURES; i++)
        (void)take(ATTEMPT_CUT, era, 10);
    assert_int_equal(h.state, HEALTH_DOWN);
}

static void test_a_success_ends_the_row(void **state)
{
    (void)state;
    start(10);
    unsigned era = health_era(&h);
    end_many(ATTEMPT_HTTP_5XX, HEALTH_FAILURES - 1);
    (void)take(ATTEMPT_OK, era, 10); /* whenever it began */
    end_many(ATTEMPT_HTTP_5XX, HEALTH_FAILURES - 1);
    assert_int_equal(h.state, HEALTH_UP);
    end_many(ATTEMPT_HTTP_5XX, 1);
    assert_int_equal(h.state, HEALTH_DOWN);
}

static void test_other_ends_neither_count_nor_end_the_row(void **state)
{
    (void)state;
    static const enum attempt_result others[] = {ATTEMPT_HTTP_429, ATTEMPT_REJECTED,
                                                 ATTEMPT_GARBAGE, ATTEMPT_TOO_LARGE};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        start(10);
        end_many(others[i], 3 * HEALTH_FAILURES);
        assert_int_equal(h.state, HEALTH_UP);
        end_many(ATTEMPT_CONNECT, HEALTH_FAILURES - 1);
        end_many(others[i], 1);
        end_many(ATTEMPT_CONNECT, 1);
        assert_int_equal(h.state, HEALTH_DOWN);
    }
}

static void test_a_timeout_of_a_call_without_time_tells_nothing(void **state)
{
    (void)state;
    start(10);
    const struct health_report r = {
        .result = ATTEMPT_TIMEOUT, .had_fair_time = false, .in_flight = 10};
    for (int i = 0; i < 2 * HEALTH_FAILURES; i++)
        assert_false(health_take(&h, &r, now_ms));
    assert_limit(10);
}

static void test_down_until_a_probe_is_answered(void **state)
{
    (void)state;
    start(10);
    go_down();
    assert_true(health_probe_at_ms(&h) == now_ms + HEALTH_PROBE_MS);
    end_many(ATTEMPT_CONNECT, 20); /* calls all the same */
    end_many(ATTEMPT_HTTP_429, 1);
    end_many(ATTEMPT_REJECTED, 1);
    assert_int_equal(h.state, HEALTH_DOWN);
    assert_true(health_probe_at_ms(&h) == now_ms + HEALTH_PROBE_MS);

    now_ms += HEALTH_PROBE_MS;
    int64_t begun_ms = now_ms;
    health_probe_begins(&h, now_ms);
    assert_true(health_probe_at_ms(&h) == INT64_MAX); /* one at a time */
    now_ms += 20;
    assert_false(health_probe_ends(&h, 0, now_ms));
    assert_true(health_probe_at_ms(&h) == begun_ms + HEALTH_PROBE_MS);

    now_ms = begun_ms + HEALTH_PROBE_MS;
    health_probe_begins(&h, now_ms);
    now_ms += HEALTH_PROBE_TIMEOUT_MS; /* longer than the time between two: the next at once */
    assert_false(health_probe_ends(&h, 503, now_ms));
    assert_true(health_probe_at_ms(&h) == now_ms);

    assert_true(probe(200));
    assert_int_equal(h.state, HEALTH_TRIAL);
    assert_int_equal(health_limit(&h), 1);
    assert_true(health_probe_at_ms(&h) == INT64_MAX);
}

static void test_what_is_reachable(void **state)
{
    (void)state;
    static const long yes[] = {200, 204, 302, 400, 401, 404, 405, 428, 430, 499};
    static const long no[] = {0, 100, 199, 429, 500, 502, 503, 599};
    for (size_t i = 0; i < COUNT_OF(yes); i++)
        assert_true(health_is_reachable(yes[i]));
    for (size_t i = 0; i < COUNT_OF(no); i++)
        assert_false(health_is_reachable(no[i]));
}

static void test_trial_succeeds(void **state)
{
    (void)state;
    start(10);
    go_on_trial();
    assert_true(end_one(ATTEMPT_OK));
    assert_int_equal(h.state, HEALTH_UP);
    assert_int_equal(health_limit(&h), 2); /* one, and one for the success */
    end_many(ATTEMPT_OK, 3);
    assert_limit(5);
    end_many(ATTEMPT_OK, 1); /* half of what is allowed: one a round trip from here */
    assert_limit(5.2);
}

static void test_an_outage_forgets_what_was_too_much(void **state)
{
    (void)state;
    start(100);
    end_many(ATTEMPT_HTTP_429, 10); /* 2.8 */
    end_many(ATTEMPT_OK, 1);
    end_many(ATTEMPT_HTTP_429, 1); /* slow start would end at 1.9 */
    go_on_trial();
    end_many(ATTEMPT_OK, 49);
    assert_limit(50);
}

static void test_trial_with_a_single_permit(void **state)
{
    (void)state;
    start(1);
    go_on_trial();
    assert_true(end_one(ATTEMPT_OK));
    assert_int_equal(health_limit(&h), 1);
}

static void test_trial_fails(void **state)
{
    (void)state;
    start(10);
    go_on_trial();
    now_ms += 30;
    assert_true(end_one(ATTEMPT_TIMEOUT));
    assert_int_equal(h.state, HEALTH_DOWN);
    assert_int_equal(health_limit(&h), 0);
    assert_true(health_probe_at_ms(&h) == now_ms + HEALTH_TRIAL_PAUSE_MS);
}

static void test_trial_goes_on_after_what_tells_nothing(void **state)
{
    (void)state;
    static const enum attempt_result others[] = {ATTEMPT_HTTP_429, ATTEMPT_REJECTED,
                                                 ATTEMPT_GARBAGE, ATTEMPT_TOO_LARGE};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        start(10);
        go_on_trial();
        for (int n = 0; n < 2 * HEALTH_FAILURES; n++)
            assert_false(end_one(others[i]));
        assert_int_equal(h.state, HEALTH_TRIAL);
        assert_int_equal(health_limit(&h), 1); /* the next call is the trial */
        assert_true(end_one(ATTEMPT_OK));
        assert_int_equal(h.state, HEALTH_UP);
    }
}

static void test_failures_from_before_do_not_fail_the_trial(void **state)
{
    (void)state;
    start(10);
    unsigned up = health_era(&h);
    go_down();
    unsigned down = health_era(&h);
    now_ms = health_probe_at_ms(&h);
    assert_true(probe(200));
    assert_false(take(ATTEMPT_TIMEOUT, up, 3));
    assert_false(take(ATTEMPT_CONNECT, down, 3));
    assert_int_equal(h.state, HEALTH_TRIAL);
    (void)end_one(ATTEMPT_OK);
    for (int i = 0; i < 2 * HEALTH_FAILURES; i++) {
        assert_false(take(ATTEMPT_TIMEOUT, up, 3)); /* nor do they bring it down again */
        assert_false(take(ATTEMPT_CONNECT, down, 3));
    }
    assert_int_equal(health_limit(&h), 2);
    go_down(); /* as new ones do */
}

static void test_any_success_brings_it_back(void **state)
{
    (void)state;
    start(10);
    unsigned before = health_era(&h);
    go_down();
    assert_true(take(ATTEMPT_OK, before, 10));
    assert_int_equal(h.state, HEALTH_UP);
    assert_int_equal(health_limit(&h), 2);
    assert_true(health_probe_at_ms(&h) == INT64_MAX);
    assert_false(take(ATTEMPT_OK, before, 10)); /* others of the time before do not add */
    assert_int_equal(health_limit(&h), 2);
}

static void test_a_late_probe_tells_nothing(void **state)
{
    (void)state;
    start(10);
    unsigned before = health_era(&h);
    go_down();
    health_probe_begins(&h, now_ms);
    (void)take(ATTEMPT_OK, before, 1);
    assert_false(health_probe_ends(&h, 200, now_ms));
    assert_int_equal(h.state, HEALTH_UP);

    go_down();
    health_probe_begins(&h, now_ms);
    (void)end_one(ATTEMPT_OK);
    go_down();
    int64_t due_ms = health_probe_at_ms(&h);
    assert_false(health_probe_ends(&h, 200, now_ms)); /* it asked before the server fell again */
    assert_int_equal(h.state, HEALTH_DOWN);
    assert_true(health_probe_at_ms(&h) == due_ms);
}

/* From the end of the cause to the trial, at the worst: it ends just after a trial has failed, or
 * just after a probe began that nobody will answer. */
static void test_back_within_two_seconds(void **state)
{
    (void)state;
    start(10);
    go_on_trial();
    (void)end_one(ATTEMPT_CUT);
    int64_t end_ms = now_ms;
    now_ms = health_probe_at_ms(&h);
    assert_true(probe(200));
    assert_in_range(now_ms - end_ms, 1000, 1999);

    (void)end_one(ATTEMPT_CUT);
    now_ms = end_ms = health_probe_at_ms(&h);
    health_probe_begins(&h, now_ms);
    now_ms += HEALTH_PROBE_TIMEOUT_MS;
    (void)health_probe_ends(&h, 0, now_ms);
    now_ms = health_probe_at_ms(&h);
    assert_true(probe(200));
    assert_in_range(now_ms - end_ms, 1000, 1999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_with_everything),
        cmocka_unit_test(test_each_sign_of_overload_lowers_it),
        cmocka_unit_test(test_other_failures_do_not),
        cmocka_unit_test(test_lowered_once_a_round_trip),
        cmocka_unit_test(test_never_below_one),
        cmocka_unit_test(test_grows_by_one_a_round_trip),
        cmocka_unit_test(test_grows_by_one_a_success_below_half),
        cmocka_unit_test(test_slow_start_ends_at_half_of_before_the_row),
        cmocka_unit_test(test_grows_only_when_it_holds_calls_back),
        cmocka_unit_test(test_what_began_before_the_decrease_does_not_grow_it),
        cmocka_unit_test(test_never_above_what_is_allowed),
        cmocka_unit_test(test_settles_where_the_server_does),
        cmocka_unit_test(test_five_failures_in_a_row_are_down),
        cmocka_unit_test(test_also_of_one_round_trip),
        cmocka_unit_test(test_a_success_ends_the_row),
        cmocka_unit_test(test_other_ends_neither_count_nor_end_the_row),
        cmocka_unit_test(test_a_timeout_of_a_call_without_time_tells_nothing),
        cmocka_unit_test(test_down_until_a_probe_is_answered),
        cmocka_unit_test(test_what_is_reachable),
        cmocka_unit_test(test_trial_succeeds),
        cmocka_unit_test(test_an_outage_forgets_what_was_too_much),
        cmocka_unit_test(test_trial_with_a_single_permit),
        cmocka_unit_test(test_trial_fails),
        cmocka_unit_test(test_trial_goes_on_after_what_tells_nothing),
        cmocka_unit_test(test_failures_from_before_do_not_fail_the_trial),
        cmocka_unit_test(test_any_success_brings_it_back),
        cmocka_unit_test(test_a_late_probe_tells_nothing),
        cmocka_unit_test(test_back_within_two_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
