/* When a failed call to the model may be sent again: budget, jitter, Retry-After. Time and chance
 * are handed in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/due.h"
#include "llm/retry.h"

static uint32_t last_bound;

static uint32_t most(uint32_t bound)
{
    last_bound = bound;
    return bound ? bound - 1 : 0;
}

static uint32_t none(uint32_t bound)
{
    last_bound = bound;
    return 0;
}

/* ---- budget ---- */

static void test_budget_starts_full_and_ends_at_ten(void **state)
{
    (void)state;
    struct retry_budget b;
    retry_budget_init(&b);
    for (int i = 0; i < 10; i++)
        assert_true(retry_budget_take(&b));
    assert_false(retry_budget_take(&b));
}

static void test_budget_allows_one_repeat_for_ten_calls(void **state)
{
    (void)state;
    struct retry_budget b;
    retry_budget_init(&b);
    while (retry_budget_take(&b))
        ;
    int repeats = 0;
    for (int i = 0; i < 10000; i++) {
        retry_budget_add_call(&b);
        repeats += retry_budget_take(&b);
    }
    assert_int_equal(repeats, 1000);
}

static void test_budget_does_not_save_up(void **state)
{
    (void)state;
    struct retry_budget b;
    retry_budget_init(&b);
    for (int i = 0; i < 1000000; i++)
        retry_budget_add_call(&b);
    int repeats = 0;
    while (retry_budget_take(&b))
        repeats++;
    assert_int_equal(repeats, 10);
}

/* ---- jitter ---- */

static void test_jitter_doubles_up_to_the_cap(void **state)
{
    (void)state;
    static const uint32_t bounds[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    for (int i = 0; i < 8; i++) {
        assert_int_equal(retry_backoff_ms(i, most), bounds[i] - 1);
        assert_int_equal(last_bound, bounds[i]);
    }
    assert_int_equal(retry_backoff_ms(1000000, most), 4999);
    assert_int_equal(retry_backoff_ms(3, none), 0);
}

/* ---- Retry-After ---- */

#define NOW_MS INT64_C(1767323045678) /* Fri, 02 Jan 2026 03:04:05.678 GMT */

static void test_retry_after_in_seconds(void **state)
{
    (void)state;
    assert_int_equal(retry_after_ms("0", NOW_MS), 0);
    assert_int_equal(retry_after_ms("2", NOW_MS), 2000);
    assert_int_equal(retry_after_ms("  7 ", NOW_MS), 7000);
    assert_int_equal(retry_after_ms("10", NOW_MS), 10000);
    assert_int_equal(retry_after_ms("11", NOW_MS), LIMIT_RETRY_AFTER_MS);
    assert_int_equal(retry_after_ms("1000000000", NOW_MS), LIMIT_RETRY_AFTER_MS);
    assert_int_equal(retry_after_ms("99999999999999999999999999", NOW_MS), LIMIT_RETRY_AFTER_MS);
}

static void test_retry_after_as_a_date(void **state)
{
    (void)state;
    assert_int_equal(retry_after_ms("Fri, 02 Jan 2026 03:04:09 GMT", NOW_MS), 3322);
    assert_int_equal(retry_after_ms("Friday, 02-Jan-26 03:04:09 GMT", NOW_MS), 3322);
    assert_int_equal(retry_after_ms("Fri Jan  2 03:04:09 2026", NOW_MS), 3322);
    assert_int_equal(retry_after_ms("Fri, 02 Jan 2026 04:04:09 GMT", NOW_MS), LIMIT_RETRY_AFTER_MS);
    assert_int_equal(retry_after_ms("Fri, 31 Dec 9999 23:59:59 GMT", NOW_MS), LIMIT_RETRY_AFTER_MS);
    assert_int_equal(retry_after_ms("Thu, 01 Jan 2026 00:00:00 GMT", NOW_MS), 0);
}

static void test_retry_after_that_cannot_be_read(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", " ", "-5", "+5", "1.5", "1 2", "0x5", "soon", "Fri, 99 Foo 2026", "2026-01-02"};
    assert_int_equal(retry_after_ms(NULL, NOW_MS), -1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(retry_after_ms(bad[i], NOW_MS), -1);
}

/* ---- the decision ---- */

static const struct retry_ask plain = {
    .attempts = 1, .now_ms = 1000, .deadline_ms = 100000, .server_wait_ms = -1};

static void test_decide_waits_with_jitter(void **state)
{
    (void)state;
    struct retry_budget b;
    int64_t wait_ms = -1;
    retry_budget_init(&b);
    assert_int_equal(retry_decide(&b, &plain, most, &wait_ms), RETRY_AT);
    assert_int_equal(wait_ms, 99);
    struct retry_ask second = plain;
    second.attempts = 2;
    assert_int_equal(retry_decide(&b, &second, most, &wait_ms), RETRY_AT);
    assert_int_equal(wait_ms, 199);
}

static void test_decide_ends_after_the_last_attempt(void **state)
{
    (void)state;
    struct retry_budget b;
    int64_t wait_ms;
    retry_budget_init(&b);
    struct retry_ask ask = plain;
    ask.attempts = LIMIT_LLM_ATTEMPTS;
    assert_int_equal(retry_decide(&b, &ask, none, &wait_ms), RETRY_NO_ATTEMPTS);
}

static void test_decide_waits_at_least_as_long_as_asked(void **state)
{
    (void)state;
    struct retry_budget b;
    int64_t wait_ms;
    retry_budget_init(&b);
    struct retry_ask ask = plain;
    ask.server_wait_ms = 2000;
    assert_int_equal(retry_decide(&b, &ask, none, &wait_ms), RETRY_AT);
    assert_int_equal(wait_ms, 2000);
    assert_int_equal(retry_decide(&b, &ask, most, &wait_ms), RETRY_AT);
    assert_int_equal(wait_ms, 2099);
}

static void test_decide_fails_at_once_when_the_wait_does_not_fit(void **state)
{
    (void)state;
    struct retry_budget b;
    int64_t wait_ms;
    retry_budget_init(&b);
    struct retry_ask ask = plain;
    ask.server_wait_ms = 2000;
    ask.deadline_ms = ask.now_ms + 2000;
    assert_int_equal(retry_decide(&b, &ask, none, &wait_ms), RETRY_NO_TIME);
    ask.deadline_ms++;
    assert_int_equal(retry_decide(&b, &ask, none, &wait_ms), RETRY_AT);
    for (int i = 0; i < 9; i++) /* what did not fit took nothing from the budget */
        assert_true(retry_budget_take(&b));
    assert_int_equal(retry_decide(&b, &plain, none, &wait_ms), RETRY_NO_BUDGET);
}

/* ---- the heap of those who wait ---- */

#define MANY 500

static void check_order(struct due_heap *h, size_t left)
{
    int64_t last = -1;
    for (; left > 0; left--) {
        struct due *d = due_first(h);
        assert_non_null(d);
        assert_true(d->at_ms >= last);
        last = d->at_ms;
        due_drop(h, d);
        assert_int_equal(d->slot, 0);
    }
    assert_null(due_first(h));
}

static void test_due_gives_the_soonest(void **state)
{
    (void)state;
    struct due_heap h = {0};
    static struct due all[MANY];
    uint32_t x = 1;
    for (size_t i = 0; i < MANY; i++)
        due_set(&h, &all[i], (int64_t)((x = x * 1103515245 + 12345) >> 16) % 1000);
    for (size_t i = 0; i < MANY; i += 2) /* moved both ways */
        due_set(&h, &all[i], (int64_t)((x = x * 1103515245 + 12345) >> 16) % 1000);
    for (size_t i = 0; i < MANY; i += 5)
        due_drop(&h, &all[i]);
    due_drop(&h, &all[0]); /* not there: nothing happens */
    check_order(&h, MANY - MANY / 5);
    due_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_starts_full_and_ends_at_ten),
        cmocka_unit_test(test_budget_allows_one_repeat_for_ten_calls),
        cmocka_unit_test(test_budget_does_not_save_up),
        cmocka_unit_test(test_jitter_doubles_up_to_the_cap),
        cmocka_unit_test(test_retry_after_in_seconds),
        cmocka_unit_test(test_retry_after_as_a_date),
        cmocka_unit_test(test_retry_after_that_cannot_be_read),
        cmocka_unit_test(test_decide_waits_with_jitter),
        cmocka_unit_test(test_decide_ends_after_the_last_attempt),
        cmocka_unit_test(test_decide_waits_at_least_as_long_as_asked),
        cmocka_unit_test(test_decide_fails_at_once_when_the_wait_does_not_fit),
        cmocka_unit_test(test_due_gives_the_soonest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
