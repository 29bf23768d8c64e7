/* The screen before every request: what two parsers could read differently does not pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "split_head.h"

struct seen {
    bool passed;
    struct err err;
    struct screen s;
};

/* The head as it comes over the wire, headers only; NULs are written as bytes, so the length is
 * told. */
static struct seen look(const char *version, const char *headers, size_t len)
{
    static char block[SPLIT_BYTES]; /* spans of the screen point into it */
    struct seen seen = {0};
    struct screen_line line = {"POST", version, {"/chat", 5}};
    size_t used;
    memcpy(block, "\r\n", 2);
    memcpy(block + 2, headers, len);
    screen_init(&seen.s);
    seen.passed = screen_begin(&seen.s, &line, &seen.err) &&
                  split_and_screen(&seen.s, block, len + 2, &used, &seen.err);
    screen_fini(&seen.s);
    return seen;
}

#define PASSES(headers) assert_true(look("HTTP/1.1", headers, sizeof(headers) - 1).passed)
#define FAILS(headers)                                                                             \
    do {                                                                                           \
        struct seen seen_ = look("HTTP/1.1", headers, sizeof(headers) - 1);                        \
        assert_false(seen_.passed);                                                                \
        assert_int_equal(seen_.err.kind, ERR_MALFORMED);                                           \
    } while (0)

static void test_usual_requests_pass(void **state)
{
    (void)state;
    PASSES("Host: x\r\n\r\n");
    PASSES("host:x\r\nX-Empty:\r\nX-Empty: \r\n\r\n");
    PASSES("Host: [::1]:8080\r\nContent-Length: 5\r\nAccept: */*\r\n\r\n");
    PASSES("Host: x\r\nTransfer-Encoding: Chunked\r\n\r\n");
    PASSES("Host: x\r\nX-Latin: \xe4\xf6\tand a tab\r\n\r\n");
}

static void test_length_is_read(void **state)
{
    (void)state;
    static const char head[] = "Host: x\r\nContent-Length: 000123456789\r\n\r\n";
    struct seen seen = look("HTTP/1.1", head, sizeof(head) - 1);
    assert_true(seen.passed && seen.s.has_length);
    assert_int_equal(seen.s.length, 123456789);
}

static void test_two_framings_fail(void **state)
{
    (void)state;
    FAILS("Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    FAILS("Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n");
    FAILS("Host: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n");
    FAILS("Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void test_odd_framings_fail(void **state)
{
    (void)state;
    FAILS("Host: x\r\nTransfer-Encoding: xchunked\r\n\r\n");
    FAILS("Host: x\r\nTransfer-Encoding: chunked \r\n\r\n"); /* libmicrohttpd would not see it */
    FAILS("Host: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    FAILS("Host: x\r\nTransfer-Encoding: \r\n\r\n");
    FAILS("Host: x\r\nContent-Length: +5\r\n\r\n");
    FAILS("Host: x\r\nContent-Length: 5, 5\r\n\r\n");
    FAILS("Host: x\r\nContent-Length: 0x5\r\n\r\n");
    FAILS("Host: x\r\nContent-Length: \r\n\r\n");
    FAILS("Host: x\r\nContent-Length: 1234567890123456789\r\n\r\n");
}

static void test_chunked_is_not_for_1_0(void **state)
{
    (void)state;
    static const char head[] = "Transfer-Encoding: chunked\r\n\r\n", bare[] = "\r\n";
    assert_false(look("HTTP/1.0", head, sizeof(head) - 1).passed);
    assert_true(look("HTTP/1.0", bare, sizeof(bare) - 1).passed); /* needs no Host either */
}

static void test_names_are_tokens(void **state)
{
    (void)state;
    FAILS("Host: x\r\nContent-Length : 5\r\n\r\n");
    FAILS("Host: x\r\nContent-Length\t: 5\r\n\r\n");
    FAILS("Host: x\r\n: 5\r\n\r\n");
    FAILS("Host: x\r\nX(1): 5\r\n\r\n");
    FAILS("Host: x\r\nX\xc3\xa4: 5\r\n\r\n");
    FAILS(" X: y\r\nHost: x\r\n\r\n");
    PASSES("Host: x\r\n!#$%&'*+-.^_`|~09azAZ: 5\r\n\r\n");
}

static void test_folds_fail(void **state)
{
    (void)state;
    FAILS("Host: x\r\nX-Forwarded-Fo: 1.1.1.1\r\n r\r\n\r\n"); /* would become X-Forwarded-For */
    FAILS("Host: x\r\nX: a\r\n\tb\r\n\r\n");
    FAILS("Host: x\r\nX: a\r\n \r\n\r\n");
    FAILS("Host: x\r\n y\r\n\r\n");
}

static void test_bare_line_feeds_fail(void **state)
{
    (void)state;
    FAILS("Host: x\nX: a\r\n\r\n");
    FAILS("Host: x\r\nX: a\n\r\n");
    FAILS("Host: x\r\n\n");
}

static void test_nul_fails_wherever_it_is(void **state)
{
    (void)state;
    FAILS("Host: x\r\nX: a\0b\r\n\r\n");
    FAILS("Host: x\r\nX: a\0\r\n\r\n");
    FAILS("Host: x\r\nX\0Y: a\r\n\r\n");
    FAILS("Host: x\r\nX: a\0\0Content-Length\0 5\r\n\r\n"); /* looks like a seam */
    FAILS("Host: x\r\nX: a\0\0\0\0\r\n\r\n");
}

static void test_control_characters_fail(void **state)
{
    (void)state;
    FAILS("Host: x\r\nX: a\rb\r\n\r\n");
    FAILS("Host: x\r\nX: a\x01\r\n\r\n");
    FAILS("Host: x\r\nX: a\x7f\r\n\r\n");
}

static void test_host_must_be_there_once(void **state)
{
    (void)state;
    FAILS("X: y\r\n\r\n");
    FAILS("Host: x\r\nHost: x\r\n\r\n");
    FAILS("Host: a b\r\n\r\n");
    FAILS("Host: a/b\r\n\r\n");
    FAILS("Host: u@h\r\n\r\n");
    FAILS("Host: a, b\r\n\r\n");
}

static void test_what_counts_must_come_once(void **state)
{
    (void)state;
    FAILS("Host: x\r\nAuthorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n");
    FAILS("Host: x\r\nIdempotency-Key: a\r\nIdempotency-Key: a\r\n\r\n");
    FAILS("Host: x\r\nContent-Type: a\r\nContent-Type: a\r\n\r\n");
    PASSES("Host: x\r\nAccept: a\r\nAccept: a\r\n\r\n");
}

static void test_forwarded_for_is_joined_in_order(void **state)
{
    (void)state;
    struct screen s;
    struct err e = {0};
    struct span name = {"X-Forwarded-For", 15};
    screen_init(&s);
    assert_true(screen_header(&s, name, (struct span){"1.1.1.1", 7}, &e));
    assert_string_equal(s.forwarded_for, "1.1.1.1");
    assert_true(screen_header(&s, name, (struct span){"2.2.2.2, 3.3.3.3", 16}, &e));
    assert_true(screen_header(&s, name, (struct span){"4.4.4.4", 7}, &e));
    assert_string_equal(s.forwarded_for, "1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4");
    screen_fini(&s);
}

static void test_too_many_headers_fail(void **state)
{
    (void)state;
    for (int count = LIMIT_HEADER_COUNT; count <= LIMIT_HEADER_COUNT + 1; count++) {
        char head[SPLIT_BYTES - 2] = "Host: x\r\n";
        for (int i = 1; i < count; i++)
            strcat(head, "X: y\r\n");
        strcat(head, "\r\n");
        assert_int_equal(look("HTTP/1.1", head, strlen(head)).passed, count == LIMIT_HEADER_COUNT);
    }
}

static bool begins(const char *method, const char *target, const char *version)
{
    struct screen s;
    struct err e = {0};
    struct screen_line line = {method, version, {target, strlen(target)}};
    screen_init(&s);
    bool passed = screen_begin(&s, &line, &e);
    screen_fini(&s);
    return passed;
}

static void test_request_line(void **state)
{
    (void)state;
    char longest[SCREEN_TARGET_BYTES + 2];
    memset(longest, 'a', sizeof(longest));
    longest[0] = '/';
    longest[SCREEN_TARGET_BYTES + 1] = 0;
    assert_true(begins("GET", "/conversations/a%2fb?after=1", "HTTP/1.1"));
    assert_false(begins("GET", "http://x/chat", "HTTP/1.1"));
    assert_false(begins("OPTIONS", "*", "HTTP/1.1"));
    assert_false(begins("CONNECT", "x:80", "HTTP/1.1"));
    assert_false(begins("GET", "", "HTTP/1.1"));
    assert_false(begins("GET", "/a b", "HTTP/1.1"));
    assert_false(begins("GET", "/a\x01", "HTTP/1.1"));
    assert_false(begins("GET", "/a#b", "HTTP/1.1"));
    assert_false(begins("G(T", "/", "HTTP/1.1"));
    assert_false(begins("", "/", "HTTP/1.1"));
    assert_false(begins("GET", "/", "HTTP/2.0"));
    assert_false(begins("GET", "/", ""));
    assert_false(begins("GET", longest, "HTTP/1.1"));
    longest[SCREEN_TARGET_BYTES] = 0;
    assert_true(begins("GET", longest, "HTTP/1.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual_requests_pass),
        cmocka_unit_test(test_length_is_read),
        cmocka_unit_test(test_two_framings_fail),
        cmocka_unit_test(test_odd_framings_fail),
        cmocka_unit_test(test_chunked_is_not_for_1_0),
        cmocka_unit_test(test_names_are_tokens),
        cmocka_unit_test(test_folds_fail),
        cmocka_unit_test(test_bare_line_feeds_fail),
        cmocka_unit_test(test_nul_fails_wherever_it_is),
        cmocka_unit_test(test_control_characters_fail),
        cmocka_unit_test(test_host_must_be_there_once),
        cmocka_unit_test(test_what_counts_must_come_once),
        cmocka_unit_test(test_forwarded_for_is_joined_in_order),
        cmocka_unit_test(test_too_many_headers_fail),
        cmocka_unit_test(test_request_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
