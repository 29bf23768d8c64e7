/* The words of a request, read strictly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/ids.h"
#include "http/request.h"
#include "http/route.h"

static struct span text_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static const char *decoded(const char *text)
{
    static char out[11];
    struct request_text want = {"the id", 10};
    struct err e = {0};
    return request_decode(text_of(text), &want, out, &e) ? out : NULL;
}

static void test_decode_once(void **state)
{
    (void)state;
    assert_string_equal(decoded("abc"), "abc");
    assert_string_equal(decoded("a%2Fb%2fc"), "a/b/c");
    assert_string_equal(decoded("%2541"), "%41");
    assert_string_equal(decoded("a+b"), "a+b");
    assert_string_equal(decoded("%c3%a4"), "\xc3\xa4");
    assert_string_equal(decoded("1234567890"), "1234567890");
}

static void test_decode_refuses(void **state)
{
    (void)state;
    const char *bad[] = {
        "",    "%",   "%4",  "%zz",         "a%4",    "%00",       "a%0Ab",
        "%7f", "%c3", "%ff", "12345678901", "%c2%80", "%ed%a0%80", "123456789%41%42"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_null(decoded(bad[i]));
}

static bool query(const char *text, int64_t *after, int64_t *limit)
{
    struct request_number n[] = {{.name = "after", .least = 0, .most = 100, .value = 7},
                                 {.name = "limit", .least = 1, .most = 9, .value = 5}};
    struct err e = {0};
    bool good = request_query(text_of(text), n, 2, &e);
    *after = n[0].value;
    *limit = n[1].value;
    return good;
}

static void test_query(void **state)
{
    (void)state;
    int64_t after, limit;
    const char *bad[] = {"after=1&after=1",  "x=1",       "after",
                         "after=",           "after=-1",  "after=101",
                         "limit=0",          "limit=1a",  "&",
                         "after=1&&limit=1", "after=%31", "after=99999999999999999999"};
    assert_true(query("", &after, &limit));
    assert_true(after == 7 && limit == 5);
    assert_true(query("limit=9&after=100", &after, &limit));
    assert_true(after == 100 && limit == 9);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(query(bad[i], &after, &limit));
}

static void test_query_ids(void **state)
{
    (void)state;
    static const char id[] = "01a211ad-cf3a-7729-9649-c123512b4d6a";
    char out[UUID_TEXT_BYTES] = "none";
    struct request_number n[] = {{.name = "after", .uuid = out}};
    struct err e = {0};
    const char *bad[] = {"after=1", "after=", "after", "after=01a211ad-cf3a-7729-9649-c123512b4d6",
                         "after=01a211ad-cf3a-7729-9649-c123512b4d6a0"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(request_query(text_of(bad[i]), n, 1, &e));
    assert_true(request_query(text_of(""), n, 1, &e));
    assert_string_equal(out, "none");
    assert_true(request_query(text_of("after=01A211AD-cf3a-7729-9649-c123512b4d6a"), n, 1, &e));
    assert_string_equal(out, id);
    assert_false(request_query(text_of("after=01a211ad-cf3a-7729-9649-c123512b4d6a"), n, 1, &e));
}

static void test_content_types(void **state)
{
    (void)state;
    const char *good[] = {"",
                          "application/json",
                          "Application/JSON ; Charset=UTF-8",
                          "application/json; charset=\"utf-8\"",
                          "text/plain;charset=utf-8",
                          "application/x-www-form-urlencoded",
                          "application/json;profile=x"};
    const char *bad[] = {"application/xml",
                         "application/jsonx",
                         "json",
                         "application/json, text/plain",
                         "application/json; charset=latin1",
                         "multipart/form-data; boundary=x"};
    assert_true(request_is_json((struct span){NULL, 0}));
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_true(request_is_json(text_of(good[i])));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(request_is_json(text_of(bad[i])));
}

static void test_bearer(void **state)
{
    (void)state;
    struct span key;
    struct err e = {0};
    char longest[7 + LIMIT_API_KEY_BYTES + 2] = "Bearer ";
    const char *bad[] = {"",          "Bearer",     "Bearer ",        "Basic abc",
                         "Bearerabc", "Bearer a b", "Bearer \xc3\xa4"};
    memset(longest + 7, 'k', LIMIT_API_KEY_BYTES + 1);
    assert_true(request_bearer(text_of("bearer  hsk_1"), &key, &e));
    assert_int_equal(key.len, 5);
    assert_memory_equal(key.data, "hsk_1", 5);
    assert_true(request_bearer((struct span){longest, 7 + LIMIT_API_KEY_BYTES}, &key, &e));
    assert_false(request_bearer((struct span){longest, 8 + LIMIT_API_KEY_BYTES}, &key, &e));
    assert_int_equal(e.kind, ERR_UNAUTHORIZED);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(request_bearer(text_of(bad[i]), &key, &e));
}

static void test_idempotency_keys(void **state)
{
    (void)state;
    char longest[LIMIT_IDEMPOTENCY_KEY_BYTES + 1];
    memset(longest, 'k', sizeof(longest));
    assert_true(request_is_idempotency_key(text_of("a b~")));
    assert_true(request_is_idempotency_key((struct span){longest, LIMIT_IDEMPOTENCY_KEY_BYTES}));
    assert_false(request_is_idempotency_key((struct span){longest, sizeof(longest)}));
    assert_false(request_is_idempotency_key(text_of("")));
    assert_false(request_is_idempotency_key(text_of("a\tb")));
    assert_false(request_is_idempotency_key(text_of("\xc3\xa4")));
}

static void test_traceparent(void **state)
{
    (void)state;
    const char *bad[] = {
        "",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    };
    assert_true(
        request_is_traceparent(text_of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(request_is_traceparent(text_of(bad[i])));
}

static const char *route_of(const char *target)
{
    struct span path, ask, rest;
    request_split(text_of(target), &path, &ask);
    const struct route *r = route_find(path, &rest);
    return r ? r->name : NULL;
}

static void test_routes_match_raw_paths(void **state)
{
    (void)state;
    const char *none[] = {"/",
                          "/chat/",
                          "/chatx",
                          "/Chat",
                          "/%63hat",
                          "//chat",
                          "/conversations/",
                          "/conversation",
                          "/conversations/a/b",
                          "/livez/x",
                          "/./chat"};
    assert_string_equal(route_of("/chat"), "/chat");
    assert_string_equal(route_of("/chat?x=/y"), "/chat");
    assert_string_equal(route_of("/conversations"), "/conversations");
    assert_string_equal(route_of("/conversations?limit=1"), "/conversations");
    assert_string_equal(route_of("/conversations/a%2fb"), "/conversations/{session_id}");
    assert_string_equal(route_of("/conversations/..?after=1"), "/conversations/{session_id}");
    for (size_t i = 0; i < COUNT_OF(none); i++)
        assert_null(route_of(none[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_once),
        cmocka_unit_test(test_decode_refuses),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_query_ids),
        cmocka_unit_test(test_content_types),
        cmocka_unit_test(test_bearer),
        cmocka_unit_test(test_idempotency_keys),
        cmocka_unit_test(test_traceparent),
        cmocka_unit_test(test_routes_match_raw_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
