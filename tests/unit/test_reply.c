/* What answers say about quota, retries and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

static void assert_quota(const struct quota *q, const char *policy, const char *state)
{
    char out[REPLY_QUOTA_BYTES];
    reply_quota_policy(q, out);
    assert_string_equal(out, policy);
    reply_quota_state(q, out);
    assert_string_equal(out, state);
}

static void test_tokens_are_an_item_of_their_own(void **state)
{
    (void)state;
    struct quota q = {.policy = "free",
                      .limit = 20,
                      .window_s = 60,
                      .remaining = 19,
                      .reset_ms = 3000,
                      .tokens_limit = 100000,
                      .tokens_remaining = 98765,
                      .tokens_reset_ms = 3600001};
    assert_quota(&q, "\"free\";q=20;w=60, \"free-tokens\";q=100000;w=86400",
                 "\"free\";r=19;t=3, \"free-tokens\";r=98765;t=3601");
    q.limit = 0;
    assert_quota(&q, "\"free-tokens\";q=100000;w=86400", "\"free-tokens\";r=98765;t=3601");
    q.tokens_limit = 0;
    assert_quota(&q, "", "");
    q.limit = 20;
    assert_quota(&q, "\"free\";q=20;w=60", "\"free\";r=19;t=3");
    q.tokens_limit = 1;
    q.policy[0] = 0; /* not known, whatever the rest says */
    assert_quota(&q, "", "");
}

static void test_odd_names_are_quoted_in_both_items(void **state)
{
    (void)state;
    struct quota q = {.policy = "a\"b\\c\x7f\xc3\xa9",
                      .limit = 1,
                      .window_s = 2,
                      .tokens_limit = 3,
                      .tokens_remaining = 3};
    assert_quota(&q, "\"a\\\"b\\\\c\";q=1;w=2, \"a\\\"b\\\\c-tokens\";q=3;w=86400",
                 "\"a\\\"b\\\\c\";r=0;t=0, \"a\\\"b\\\\c-tokens\";r=3;t=0");
}

static void test_the_longest_quota_fits(void **state)
{
    (void)state;
    char out[REPLY_QUOTA_BYTES], policy[REPLY_QUOTA_BYTES] = "", name[80] = "";
    struct quota q = {.limit = INT32_MAX,
                      .window_s = INT32_MAX,
                      .remaining = INT32_MIN,
                      .reset_ms = INT32_MAX,
                      .tokens_limit = INT64_MAX,
                      .tokens_remaining = INT64_MIN,
                      .tokens_reset_ms = INT32_MAX};
    memset(q.policy, '"', sizeof q.policy - 1);
    for (size_t i = 0; i < sizeof q.policy - 1; i++)
        strcat(name, "\\\"");
    reply_quota_policy(&q, out);
    snprintf(policy, sizeof policy,
             "\"%s\";q=2147483647;w=2147483647, \"%s-tokens\";q=9223372036854775807;w=86400", name,
             name);
    assert_string_equal(out, policy);
    reply_quota_state(&q, out);
    assert_true(strlen(out) < REPLY_QUOTA_BYTES);
    assert_non_null(strstr(out, "-tokens\";r=-9223372036854775808;t=2147484"));
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

static void test_tokens_in_openais_names(void **state)
{
    (void)state;
    struct quota q = {.policy = "free",
                      .tokens_limit = 100000,
                      .tokens_remaining = 0,
                      .tokens_reset_ms = 90061000};
    struct reply_facts f = {.request_id = "id", .quota = &q};
    struct err e = {.kind = ERR_TOKENS, .retry_after_ms = 90061000};
    struct MHD_Response *r = reply_problem(&f, &e);
    assert_string_equal(header(r, "Retry-After"), "90061");
    assert_string_equal(header(r, "RateLimit-Policy"), "\"free-tokens\";q=100000;w=86400");
    assert_string_equal(header(r, "RateLimit"), "\"free-tokens\";r=0;t=90061");
    assert_string_equal(header(r, "x-ratelimit-limit-tokens"), "100000");
    assert_string_equal(header(r, "x-ratelimit-remaining-tokens"), "0");
    assert_string_equal(header(r, "x-ratelimit-reset-tokens"), "25h1m1s");
    assert_string_equal(header(r, "x-ratelimit-limit-requests"), "");
    MHD_destroy_response(r);
    q = (struct quota){.policy = "free",
                       .limit = 20,
                       .window_s = 60,
                       .remaining = 19,
                       .tokens_limit = 5,
                       .tokens_remaining = 4};
    r = reply_problem(&f, &e);
    assert_string_equal(header(r, "x-ratelimit-limit-requests"), "20");
    assert_string_equal(header(r, "x-ratelimit-remaining-requests"), "19");
    assert_string_equal(header(r, "x-ratelimit-reset-requests"), "0s");
    assert_string_equal(header(r, "x-ratelimit-limit-tokens"), "5");
    assert_string_equal(header(r, "x-ratelimit-remaining-tokens"), "4");
    MHD_destroy_response(r);
    q = (struct quota){.policy = "unlimited"};
    r = reply_problem(&f, &e);
    assert_string_equal(header(r, "RateLimit"), "");
    assert_string_equal(header(r, "RateLimit-Policy"), "");
    assert_string_equal(header(r, "x-ratelimit-limit-tokens"), "");
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
        cmocka_unit_test(test_tokens_are_an_item_of_their_own),
        cmocka_unit_test(test_odd_names_are_quoted_in_both_items),
        cmocka_unit_test(test_the_longest_quota_fits),
        cmocka_unit_test(test_refusals_say_when_to_come_back),
        cmocka_unit_test(test_tokens_in_openais_names),
        cmocka_unit_test(test_every_error_is_a_whole_problem),
        cmocka_unit_test(test_a_cut_detail_does_not_break_the_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
