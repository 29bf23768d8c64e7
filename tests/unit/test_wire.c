/* What is sent to the model server, and what is taken for an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "llm/wire.h"

/* ---- answers ---- */

#define MESSAGE(content) "{\"choices\":[{\"message\":{\"content\":" content "}}]}"

static bool read_bytes(const char *bytes, size_t len, struct wire_answer *out, struct err *e)
{
    /* In memory of its own size, so that the sanitizers see a look past the end. */
    char *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, len);
    err_clear(e);
    bool ok = wire_read_answer(exact, len, out, e);
    free(exact);
    return ok;
}

static void refuse(const char *bytes, size_t len, const char *detail)
{
    struct wire_answer a;
    struct err e = {0};
    assert_false(read_bytes(bytes, len, &a, &e));
    assert_int_equal(e.kind, ERR_MODEL_FAILED);
    if (!strstr(e.detail, detail))
        fail_msg("'%s' does not say '%s'", e.detail, detail);
    assert_null(a.text);
    assert_null(a.model);
}

#define REFUSE(text, detail) refuse((text), sizeof(text) - 1, (detail))

static void test_answer_with_everything(void **state)
{
    (void)state;
    static const char text[] =
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"demo-1\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"h\\u00e9llo "
        "\\ud83d\\ude00\",\"refusal\":null,\"tool_calls\":[]},\"logprobs\":null,"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34,"
        "\"total_tokens\":46,\"prompt_tokens_details\":{\"cached_tokens\":0}}}\n";
    struct wire_answer a;
    struct err e = {0};
    assert_true(read_bytes(text, sizeof text - 1, &a, &e));
    assert_string_equal(a.text, "h\xc3\xa9llo \xf0\x9f\x98\x80");
    assert_int_equal(a.text_len, 11);
    assert_string_equal(a.model, "demo-1");
    assert_int_equal(a.prompt_tokens, 12);
    assert_int_equal(a.completion_tokens, 34);
    free(a.text);
    free(a.model);
}

static void test_answer_with_the_least(void **state)
{
    (void)state;
    static const char text[] = MESSAGE("\"\"");
    struct wire_answer a;
    struct err e = {0};
    assert_true(read_bytes(text, sizeof text - 1, &a, &e));
    assert_string_equal(a.text, "");
    assert_null(a.model);
    assert_int_equal(a.prompt_tokens, -1);
    assert_int_equal(a.completion_tokens, -1);
    free(a.text);
}

static void test_usage_and_model_are_optional_and_never_fatal(void **state)
{
    (void)state;
    static const char *const extras[] = {
        "\"usage\":null,\"model\":null",
        "\"usage\":[1],\"model\":{}",
        "\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":4294967296}",
        "\"usage\":{\"prompt_tokens\":1.5,\"completion_tokens\":\"7\"}",
    };
    for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
        char text[300];
        int len = snprintf(text, sizeof text,
                           "{%s,\"choices\":[{\"message\":{\"content\":\"x\"}}]}", extras[i]);
        struct wire_answer a;
        struct err e = {0};
        assert_true(read_bytes(text, (size_t)len, &a, &e));
        assert_string_equal(a.text, "x");
        assert_null(a.model);
        assert_int_equal(a.prompt_tokens, -1);
        assert_int_equal(a.completion_tokens, -1);
        free(a.text);
    }
}

static void test_a_long_name_of_a_model_is_left_out(void **state)
{
    (void)state;
    char text[600];
    int len = snprintf(text, sizeof text,
                       "{\"model\":\"%0300d\",\"choices\":[{\"message\":{\"content\":\"x\"}}]}", 7);
    struct wire_answer a;
    struct err e = {0};
    assert_true(read_bytes(text, (size_t)len, &a, &e));
    assert_null(a.model);
    free(a.text);
}

static void test_no_text_says_why(void **state)
{
    (void)state;
    REFUSE("", "empty");
    REFUSE("{}", "no choices");
    REFUSE("{\"choices\":null}", "no choices");
    REFUSE("{\"choices\":[]}", "no choices");
    REFUSE("{\"choices\":{\"0\":{}}}", "no choices");
    REFUSE("{\"choices\":[7]}", "no choices");
    REFUSE("{\"choices\":[{}]}", "no message");
    REFUSE("{\"choices\":[{\"message\":\"hi\"}]}", "no message");
    REFUSE("{\"choices\":[{\"message\":{}}]}", "no text");
    REFUSE(MESSAGE("null"), "no text");
    REFUSE(MESSAGE("7"), "no text");
    REFUSE(MESSAGE("[{\"type\":\"text\",\"text\":\"hi\"}]"), "no text");
    REFUSE(MESSAGE("null,\"refusal\":\"I cannot\""), "refused");
    REFUSE(MESSAGE("null,\"tool_calls\":[{\"id\":\"1\"}]"), "tool");
    REFUSE("{\"error\":{\"message\":\"overloaded\"}}", "no choices");
}

static void test_what_is_not_json(void **state)
{
    (void)state;
    REFUSE("<html><body>Welcome</body></html>", "not valid JSON");
    REFUSE("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "not valid JSON"); /* gzip */
    REFUSE("\xef\xbb\xbf" MESSAGE("\"x\""), "not valid JSON");            /* BOM */
    REFUSE(MESSAGE("\"x\"") "garbage", "not valid JSON");
    REFUSE(MESSAGE("\"x\"") MESSAGE("\"x\""), "not valid JSON");
    REFUSE("[" MESSAGE("\"x\"") "]", "not valid JSON");
    REFUSE("\"x\"", "not valid JSON");
    REFUSE("data: " MESSAGE("\"x\"") "\n\n", "not valid JSON");
    REFUSE(MESSAGE("\"x\",\"n\":1e400"), "not valid JSON");
}

static void test_what_cannot_be_stored(void **state)
{
    (void)state;
    REFUSE(MESSAGE("\"a\\u0000b\""), "not valid JSON");
    REFUSE(MESSAGE("\"a\0b\""), "not valid JSON");
    REFUSE(MESSAGE("\"a\nb\""), "not valid JSON");
    REFUSE(MESSAGE("\"\xc3\""), "not valid JSON");
    REFUSE(MESSAGE("\"\xc0\x80\""), "not valid JSON");
    REFUSE(MESSAGE("\"\\ud83d\""), "not valid JSON");
    REFUSE(MESSAGE("\"a\",\"content\":\"b\""), "not valid JSON"); /* which of the two? */
}

static void test_every_cut_is_refused(void **state)
{
    (void)state;
    static const char text[] = MESSAGE("\"h\xc3\xa9\\n\\u00e9\"");
    for (size_t len = 0; len < sizeof text - 1; len++)
        refuse(text, len, "");
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *text = malloc(DEEP + 6);
    assert_non_null(text);
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', DEEP);
    refuse(text, DEEP + 5, "not valid JSON");
    free(text);
}

/* ---- requests ---- */

static void test_target(void **state)
{
    (void)state;
    char url[] = "https://models.example:8443/v1/", key[] = "sk-123", none[] = "";
    struct llm_server server = {
        .url = url, .api_key = key, .url_setting = "URL_SETTING", .key_setting = "KEY_SETTING"};
    struct wire_target t;
    struct err e = {0};
    assert_true(wire_target_init(&t, &server, &e));
    assert_string_equal(t.url, "https://models.example:8443/v1/chat/completions");
    assert_string_equal(t.models_url, "https://models.example:8443/v1/models");
    assert_string_equal(t.host, "models.example");
    assert_string_equal(t.port, "8443");
    assert_true(t.is_tls);
    bool has_key = false, has_expect = false;
    for (const struct curl_slist *h = t.headers; h; h = h->next) {
        has_key |= strcmp(h->data, "Authorization: Bearer sk-123") == 0;
        has_expect |= strcmp(h->data, "Expect:") == 0;
    }
    assert_true(has_key && has_expect);
    wire_target_fini(&t);

    server.api_key = none;
    assert_true(wire_target_init(&t, &server, &e));
    for (const struct curl_slist *h = t.headers; h; h = h->next)
        assert_null(strstr(h->data, "Authorization"));
    wire_target_fini(&t);
}

static void test_bad_targets(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "models",
                                      "file:///etc/passwd",
                                      "ftp://models/v1",
                                      "gopher://models/v1",
                                      "http://",
                                      "http://user:word@models/v1",
                                      "http://models/v1?x=1",
                                      "http://models/v1#x",
                                      "http://models/v1\r\nX: y",
                                      "http://models:99999/v1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char url[100];
        snprintf(url, sizeof url, "%s", bad[i]);
        const struct llm_server server = {.url = url, .url_setting = "URL_SETTING"};
        struct wire_target t;
        struct err e = {0};
        if (wire_target_init(&t, &server, &e))
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(e.kind, ERR_BAD_FIELD);
        assert_non_null(strstr(e.detail, "URL_SETTING"));
        assert_null(strstr(e.detail, "word"));
    }
}

static void test_a_key_cannot_smuggle_a_header(void **state)
{
    (void)state;
    char url[] = "http://models/v1", key[] = "sk-1\r\nX-Evil: 1";
    const struct llm_server server = {
        .url = url, .api_key = key, .url_setting = "URL_SETTING", .key_setting = "KEY_SETTING"};
    struct wire_target t;
    struct err e = {0};
    assert_false(wire_target_init(&t, &server, &e));
    assert_int_equal(e.kind, ERR_BAD_FIELD);
    assert_non_null(strstr(e.detail, "KEY_SETTING"));
    assert_null(strstr(e.detail, "sk-1"));
}

static void test_header_values_are_made_harmless(void **state)
{
    (void)state;
    struct buf line;
    buf_init(&line, WIRE_HEADER_BYTES);
    wire_header(&line, "X-Request-Id", "a\r\nb c\x7f\xc3\xa9");
    assert_string_equal(line.data, "X-Request-Id: a__b_c___");
    buf_fini(&line);
}

int main(void)
{
    json_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_with_everything),
        cmocka_unit_test(test_answer_with_the_least),
        cmocka_unit_test(test_usage_and_model_are_optional_and_never_fatal),
        cmocka_unit_test(test_a_long_name_of_a_model_is_left_out),
        cmocka_unit_test(test_no_text_says_why),
        cmocka_unit_test(test_what_is_not_json),
        cmocka_unit_test(test_what_cannot_be_stored),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_target),
        cmocka_unit_test(test_bad_targets),
        cmocka_unit_test(test_a_key_cannot_smuggle_a_header),
        cmocka_unit_test(test_header_values_are_made_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
