/* What becomes of work whose deadline passes, or whose reply was lost. */
#include "unit.h"

#include "db/work.h"

static void a_call_is_repeated_until_its_deadline(void **state)
{
    (void)state;
    struct call_item item = {.deadline_ms = 100};
    assert_int_equal(work_fate(WORK_CALL, &item.node, false, 99), WORK_WAITS);
    assert_int_equal(work_fate(WORK_CALL, &item.node, false, 99), WORK_WAITS);
    assert_int_equal(work_fate(WORK_CALL, &item.node, true, 100), WORK_WAITS);
    assert_int_equal(work_fate(WORK_CALL, &item.node, false, 100), WORK_EXPIRES);
}

static void a_call_to_be_made_once_ends_when_its_reply_was_lost(void **state)
{
    (void)state;
    struct call_item item = {.deadline_ms = 100, .is_once = true}, other = {.deadline_ms = 100};
    assert_int_equal(work_fate(WORK_CALL, &item.node, false, 99), WORK_WAITS); /* not sent yet */
    assert_int_equal(work_fate(WORK_CALL, &item.node, true, 99), WORK_WAITS);
    work_mark_sent(WORK_CALL, &item.node);
    work_mark_sent(WORK_CALL, &other.node);
    assert_int_equal(work_fate(WORK_CALL, &item.node, false, 1), WORK_EXPIRES);
    assert_int_equal(work_fate(WORK_CALL, &other.node, false, 99), WORK_WAITS);
}

static void an_accept_that_was_sent_goes_on(void **state)
{
    (void)state;
    struct accept_item item = {.deadline_ms = 100};
    assert_int_equal(work_fate(WORK_ACCEPT, &item.node, false, 99), WORK_WAITS);
    assert_int_equal(work_fate(WORK_ACCEPT, &item.node, false, 100), WORK_EXPIRES);
    assert_int_equal(work_fate(WORK_ACCEPT, &item.node, true, 100), WORK_IS_LATE);
    work_mark_sent(WORK_ACCEPT, &item.node);
    assert_int_equal(work_fate(WORK_ACCEPT, &item.node, false, 100), WORK_IS_LATE);
    work_tell_late(WORK_ACCEPT, &item.node);
    assert_int_equal(work_fate(WORK_ACCEPT, &item.node, false, 100), WORK_WAITS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_repeated_until_its_deadline),
        cmocka_unit_test(a_call_to_be_made_once_ends_when_its_reply_was_lost),
        cmocka_unit_test(an_accept_that_was_sent_goes_on),
    };
    return RUN(tests);
}
