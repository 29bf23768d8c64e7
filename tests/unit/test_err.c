/* One table of errors: every row distinct, every lookup finds its row, the first error stays. */
#include "unit.h"

#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

static void rows_are_whole_and_distinct(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_KINDS; i++) {
        const struct err_info *row = err_info((enum err_kind)i);
        assert_non_null(row->name);
        assert_true(strlen(row->title) > 0);
        assert_true(row->http_status == 200 || (row->http_status >= 400 && row->http_status < 600));
        assert_int_equal(row->fault == FAULT_CLIENT, row->http_status / 100 == 4);
        if (row->sqlstate)
            assert_int_equal(strlen(row->sqlstate), 5);
        for (int j = 0; j < i; j++) {
            const struct err_info *other = err_info((enum err_kind)j);
            assert_string_not_equal(row->code, other->code);
            if (row->sqlstate && other->sqlstate)
                assert_string_not_equal(row->sqlstate, other->sqlstate);
        }
    }
}

static void every_row_is_found_again(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_KINDS; i++) {
        const struct err_info *row = err_info((enum err_kind)i);
        assert_int_equal(err_from_code(row->code), i);
        if (row->sqlstate)
            assert_int_equal(err_from_sqlstate(row->sqlstate), i);
    }
    assert_int_equal(err_from_sqlstate("HS409"), ERR_BUSY);
    assert_int_equal(err_from_code("rate_limited"), ERR_RATE_LIMITED);
}

static void what_is_not_there_is_internal(void **state)
{
    (void)state;
    assert_int_equal(err_from_sqlstate("XX000"), ERR_INTERNAL);
    assert_int_equal(err_from_sqlstate("HS40"), ERR_INTERNAL);
    assert_int_equal(err_from_sqlstate(NULL), ERR_INTERNAL);
    assert_int_equal(err_from_code("BUSY"), ERR_INTERNAL);
    assert_int_equal(err_from_code(NULL), ERR_INTERNAL);
}

static void statuses_of_the_contract(void **state)
{
    (void)state;
    assert_int_equal(err_info(ERR_BAD_JSON)->http_status, 400);
    assert_int_equal(err_info(ERR_BUSY)->http_status, 409);
    assert_int_equal(err_info(ERR_KEY_REUSED)->http_status, 422);
    assert_int_equal(err_info(ERR_RATE_LIMITED)->http_status, 429);
    assert_int_equal(err_info(ERR_MODEL_FAILED)->http_status, 502);
    assert_int_equal(err_info(ERR_DB_DOWN)->http_status, 503);
    assert_int_equal(err_info(ERR_MODEL_TIMEOUT)->http_status, 504);
    assert_true(err_info(ERR_QUEUE_FULL)->may_repeat);
    assert_false(err_info(ERR_KEY_REUSED)->may_repeat);
}

static void the_first_error_stays(void **state)
{
    (void)state;
    struct err e;
    err_clear(&e);
    assert_false(err_set(&e, ERR_BUSY, "turn %d", 7));
    e.retry_after_ms = 250;
    assert_false(err_set(&e, ERR_INTERNAL, "later"));
    assert_int_equal(e.kind, ERR_BUSY);
    assert_string_equal(e.detail, "turn 7");
    assert_int_equal(e.retry_after_ms, 250);
    err_clear(&e);
    assert_int_equal(e.kind, ERR_NONE);
    assert_string_equal(e.detail, "");
    assert_int_equal(e.retry_after_ms, 0);
    assert_false(err_set(&e, ERR_INTERNAL, "now"));
    assert_string_equal(e.detail, "now");
}

static void a_long_detail_is_cut_between_characters(void **state)
{
    (void)state;
    for (size_t lead = 0; lead < 4; lead++) {
        struct err e = {.kind = ERR_NONE};
        char text[LIMIT_ERR_DETAIL_BYTES * 2 + 8];
        memset(text, 'a', lead);
        for (size_t i = lead; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xE2\x82\xAC", 4);
        err_set(&e, ERR_INTERNAL, "%s", text);
        size_t len = strlen(e.detail);
        assert_in_range(len, LIMIT_ERR_DETAIL_BYTES - 3, LIMIT_ERR_DETAIL_BYTES - 1);
        assert_true(utf8_is_valid(e.detail, len));
        assert_null(strchr(e.detail, '?'));
    }
}

static void foreign_bytes_become_question_marks(void **state)
{
    (void)state;
    struct err e = {.kind = ERR_NONE};
    err_set(&e, ERR_DB_DOWN, "a%sb\xC3", "\xFF\xE4");
    assert_string_equal(e.detail, "a??b?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_whole_and_distinct),
        cmocka_unit_test(every_row_is_found_again),
        cmocka_unit_test(what_is_not_there_is_internal),
        cmocka_unit_test(statuses_of_the_contract),
        cmocka_unit_test(the_first_error_stays),
        cmocka_unit_test(a_long_detail_is_cut_between_characters),
        cmocka_unit_test(foreign_bytes_become_question_marks),
    };
    return RUN(tests);
}
