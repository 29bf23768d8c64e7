/* What answers say about quota, retries and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "http/reply.h"

static void test_durations(void **state)
{
    (void)state;
    const struct {
        int64_t ms;
        const char *text;
    } rows[] = {{-5, "0s"},           {0, "0s"},       {1, "1ms"},        {250, "250ms"},
                {999, "999ms"},       {1000, "1s"},    {6500, "6.5s"},    {6050, "6.05s"},
                {59999, "59.999s"},   {60000, "1m0s"}, {61500, "1m1.5s"}, {3600000, "1h0m0s"},
                {90061000, "25h1m1s"}};
    char out[REPLY_DURATION_BYTES];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        reply_duration(rows[i].ms, out);
        assert_string_equal(out, rows[i].text);
    }
}

static void test_seconds_round_up(void **state)
{
    (void)state;
    assert_int_equal(reply_seconds(0), 1);
    assert_int_equal(reply_seconds(1), 1);
    assert_int_equal(reply_seconds(1000), 1);
    assert_int_equal(reply_seconds(1001), 2);
}

static void test_quota_fields(void **state)
{
    (void)state;
    struct quota q = {
        .policy = "anonymous", .limit = 10, .window_s = 60, .remaining = 9, .reset_ms = 5400};
    char out[REPLY_QUOTA_BYTES];
    reply_quota_policy(&q, out);
    assert_string_equal(out, "\"anonymous\";q=10;w=60");
    reply_quota_state(&q, out);
    assert_string_equal(out, "\"anonymous\";r=9;t=6");
    q = (struct quota){.policy = "a\"b\\c\n", .limit = 1, .window_s = 2};
    reply_quota_state(&q, out);
    assert_string_equal(out, "\"a\\\"b\\\\c\";r=0;t=0");
}

static const char *header(struct MHD_Response *r, const char *name)
{
    const char *value = MHD_get_response_header(r, name);
    return value ? value : "";
}

static void test_refusals_say_when_to_come_back(void **state)
{
    (void)state;
    struct quota q = {.policy = "free", .limit = 20, .window_s = 60, .reset_ms = 60000};
    struct reply_facts f = {.request_id = "id", .quota = &q};
    struct err e = {.kind = ERR_RATE_LIMITED, .retry_after_ms = 2001};
    struct MHD_Response *r = reply_problem(&f, &e);
    assert_string_equal(header(r, "Retry-After"), "3");
    assert_string_equal(header(r, "RateLimit-Policy"), "\"free\";q=20;w=60");
    assert_string_equal(header(r, "x-ratelimit-reset-requests"), "1m0s");
    assert_string_equal(header(r, "Content-Type"), "application/problem+json");
    MHD_destroy_response(r);
    e = (struct err){.kind = ERR_QUEUE_FULL};
    r = reply_problem(&f, &e);
    assert_string_equal(header(r, "Retry-After"), "1");
    MHD_destroy_response(r);
    e = (struct err){.kind = ERR_BAD_JSON};
    r = reply_problem(&f, &e);
    assert_string_equal(header(r, "Retry-After"), "");
    MHD_destroy_response(r);
    e = (struct err){.kind = ERR_UNAUTHORIZED};
    f.quota = NULL;
    r = reply_problem(&f, &e);
    assert_string_equal(header(r, "WWW-Authenticate"), "Bearer");
    assert_string_equal(header(r, "RateLimit"), "");
    MHD_destroy_response(r);
}

static json_t *body_of(const struct err *e)
{
    struct reply_facts f = {.request_id = "01890a5d", .turn_no = 3};
    struct buf out;
    buf_init(&out, 8192);
    reply_last_words(&out, &f, e);
    json_t *root = json_loads(strstr(out.data, "\r\n\r\n") + 4, JSON_REJECT_DUPLICATES, NULL);
    buf_fini(&out);
    assert_non_null(root);
    return root;
}

static void test_every_error_is_a_whole_problem(void **state)
{
    (void)state;
    for (int kind = ERR_BAD_JSON; kind < ERR_KINDS; kind++) {
        const struct err_info *info = err_info((enum err_kind)kind);
        struct err e = {.kind = (enum err_kind)kind};
        json_t *root = body_of(&e), *inner = json_object_get(root, "error");
        assert_int_equal(json_integer_value(json_object_get(root, "status")), info->http_status);
        assert_string_equal(json_string_value(json_object_get(root, "code")), info->code);
        assert_string_equal(json_string_value(json_object_get(root, "detail")), info->title);
        assert_string_equal(json_string_value(json_object_get(root, "request_id")), "01890a5d");
        assert_string_equal(json_string_value(json_object_get(inner, "code")), info->code);
        assert_non_null(json_object_get(inner, "message"));
        assert_non_null(json_object_get(inner, "type"));
        json_decref(root);
    }
}

static void test_a_cut_detail_does_not_break_the_body(void **state)
{
    (void)state;
    struct err e = {.kind = ERR_BAD_FIELD, .detail = "quote \" and half a letter \xc3"};
    json_t *root = body_of(&e);
    assert_string_equal(json_string_value(json_object_get(root, "detail")),
                        err_info(ERR_BAD_FIELD)->title);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_seconds_round_up),
        cmocka_unit_test(test_quota_fields),
        cmocka_unit_test(test_refusals_say_when_to_come_back),
        cmocka_unit_test(test_every_error_is_a_whole_problem),
        cmocka_unit_test(test_a_cut_detail_does_not_break_the_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
