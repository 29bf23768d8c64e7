/* Strict reading behind the screen, and writing that reads back. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"

static void refuse_bytes(const char *text, size_t len, const char *expected)
{
    struct err e = {.kind = ERR_NONE};
    json_t *root = json_read(text, len, &e);
    if (root)
        fail_msg("accepted: %.60s", text);
    assert_int_equal(e.kind, ERR_BAD_JSON);
    if (!strstr(e.detail, expected))
        fail_msg("%.60s: \"%s\" lacks \"%s\"", text, e.detail, expected);
    assert_memory_equal(e.detail, "line ", 5);
}

#define REFUSE(text, expected) refuse_bytes(text, sizeof(text) - 1, expected)

static json_t *accept(const char *text)
{
    struct err e = {.kind = ERR_NONE};
    json_t *root = json_read(text, strlen(text), &e);
    if (!root)
        fail_msg("%.60s: %s", text, e.detail);
    return root;
}

static void reads_what_is_right(void **state)
{
    (void)state;
    json_t *root =
        accept(" {\"a\":\"\\u00e9\\\\\\\"\",\"b\":[1,-2.5e3,true,null,{}],\"c\":{}}\r\n\t");
    assert_int_equal(json_object_size(root), 3);
    assert_string_equal(json_string_value(json_object_get(root, "a")), "\xC3\xA9\\\"");
    assert_int_equal(json_array_size(json_object_get(root, "b")), 5);
    json_decref(root);
    json_decref(accept("{}"));
    json_decref(accept("{\"emoji\":\"\\ud83d\\ude00 \xF0\x9F\x98\x80\"}"));
    json_decref(accept("{\"marks in strings\":\"[{:,}]\",\"]\":\"{\"}"));
    json_decref(accept("{\"no nul\":\"\\\\u0000 \\u0001\"}"));
}

static void refuses_what_is_not_an_object(void **state)
{
    (void)state;
    REFUSE("", "line 1, column 1");
    REFUSE("   ", "line 1");
    REFUSE("[]", "line 1, column 1: not an object");
    REFUSE("\n\"text\"", "line 2, column 1: not an object");
    REFUSE("12", "not an object");
    REFUSE("null", "not an object");
    REFUSE("\xEF\xBB\xBF{}", "not an object"); /* a byte order mark */
    REFUSE("{} {}", "line 1, column 4: more than one value");
    REFUSE("{}x", "more than one value");
    REFUSE("{}}", "more than one value");
    REFUSE("{}\0", "more than one value");
}

static void refuses_what_is_not_json(void **state)
{
    (void)state;
    const char *const texts[] = {
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "{\"a\":1]",
        "{\"a\":[1}",
        "{\"a\":[1,]}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":NaN}",
        "{\"a\":tru}",
        "{\"a\":True}",
        "{\"a\":1 2}",
        "{\"a\" 1}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"b",
        "{\"a\":\"b\\",
        "{\"a\":\"b\\\"",
        "{\"a\":\"\\u12\"}",
        "{1:2}",
        "{/*c*/}",
        "{\"a\":1;\"b\":2}",
        "{\"a\":Infinity}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\n\"}",
        "{,}",
        "{\"a\":{}",
        "{\"a\":0x1}",
        "{\"a\":- 1}",
        "{]}",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        refuse_bytes(texts[i], strlen(texts[i]), "line 1, column ");
}

static void refuses_doubles_and_overflows(void **state)
{
    (void)state;
    REFUSE("{\"a\":1,\"a\":1}", "a member is there twice");
    REFUSE("{\"x\":{\"a\":1,\"b\":2,\"\\u0061\":3}}", "a member is there twice");
    REFUSE("{\"a\":9223372036854775808}", "a number is too large");
    REFUSE("{\"a\":1e400}", "a number is too large");
}

static void refuses_nul_everywhere(void **state)
{
    (void)state;
    REFUSE("{\"a\":\"\\u0000\"}", "a string holds NUL");
    REFUSE("{\"a\":\"text\\n\\u0000text\"}", "a string holds NUL");
    REFUSE("{\"a\\u0000b\":1}", "a string holds NUL");
    REFUSE("{\"a\":\"\0\"}", "control character");
    REFUSE("{\0\"a\":1}", "unexpected character");
    REFUSE("\0{}", "not an object");
    REFUSE("{\"a\":1\0}", "line 1, column 7: unexpected character"); /* jansson 2.14 takes it */
}

static void refuses_what_is_not_utf8(void **state)
{
    (void)state;
    REFUSE("{\"a\":\"\xFF\"}", "line 1, column 7: not valid UTF-8");
    REFUSE("{\n \"a\":\"\xC3\xA9\xC0\x80\"}", "line 2, column 8: not valid UTF-8");
    REFUSE("{\"a\":\"\xED\xA0\x80\"}", "not valid UTF-8");
    REFUSE("{\"a\":\"\\ud800\"}", "not valid JSON"); /* lone surrogates */
    REFUSE("{\"a\":\"\\udc00\"}", "not valid JSON");
    REFUSE("{\"a\":\"\\ud83dx\"}", "not valid JSON");
    REFUSE("{\xC2\xA0\"a\":1}", "unexpected character");
}

/* A detail is logged and sent: it must not quote what somebody wrote. */
static void the_place_does_not_quote_the_body(void **state)
{
    (void)state;
    struct err e = {.kind = ERR_NONE};
    const char text[] = "{\"a\": swordfish}";
    assert_null(json_read(text, sizeof text - 1, &e));
    assert_null(strstr(e.detail, "sword"));
}

static char *nested(int depth)
{
    char *text = malloc((size_t)depth * 2 + 16), *at = text;
    at += sprintf(at, "{\"a\":");
    for (int i = 1; i < depth; i++)
        *at++ = '[';
    if (depth == 1)
        *at++ = '1';
    for (int i = 1; i < depth; i++)
        *at++ = ']';
    memcpy(at, "}", 2);
    return text;
}

static void depth_has_an_exact_ceiling(void **state)
{
    (void)state;
    char *most = nested(LIMIT_JSON_DEPTH), *more = nested(LIMIT_JSON_DEPTH + 1);
    char *deep = nested(500000);
    json_decref(accept(most));
    refuse_bytes(more, strlen(more), "nested too deeply");
    refuse_bytes(deep, strlen(deep), "nested too deeply");
    json_decref(accept("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}"));
    free(most);
    free(more);
    free(deep);
}

/* {"x":<open><item>,<item>...<close>}, where %d in the item is its number; or the root itself. */
static char *repeated(int count, const char *open, const char *item, const char *close)
{
    struct buf b;
    buf_init(&b, 4 << 20);
    buf_puts(&b, open);
    for (int i = 0; i < count; i++) {
        const char *number = strchr(item, '#');
        buf_puts(&b, i ? "," : "");
        buf_add(&b, item, number ? (size_t)(number - item) : strlen(item));
        if (number)
            buf_printf(&b, "%d%s", i, number + 1);
    }
    buf_puts(&b, close);
    return buf_take(&b, NULL);
}

static void expect_ceiling(const char *shape[3], int most, const char *fault)
{
    char *text = repeated(most, shape[0], shape[1], shape[2]);
    json_decref(accept(text));
    free(text);
    text = repeated(most + 1, shape[0], shape[1], shape[2]);
    refuse_bytes(text, strlen(text), fault);
    free(text);
}

static void counts_have_exact_ceilings(void **state)
{
    (void)state;
    expect_ceiling((const char *[]){"{", "\"k#\":1", "}"}, LIMIT_JSON_KEYS, "too many members");
    expect_ceiling((const char *[]){"{\"x\":{", "\"k#\":1", "}}"}, LIMIT_JSON_MEMBERS - 1,
                   "too many members");
    expect_ceiling((const char *[]){"{\"x\":[", "{\"k\":1}", "]}"}, LIMIT_JSON_MEMBERS - 1,
                   "too many members");
    expect_ceiling((const char *[]){"{\"x\":[", "1", "]}"}, LIMIT_JSON_VALUES + 1,
                   "too many values");
    json_decref(accept("{\"x\":\",,,,,,::::::::::::::::::::::::::::::::::::::::::::::::::::::::::"
                       "::::::::::::::\"}"));
}

static void a_number_has_a_ceiling(void **state)
{
    (void)state;
    char text[LIMIT_JSON_NUMBER_BYTES + 32];
    const char head[] = "{\"a\":0.";
    for (size_t digits = LIMIT_JSON_NUMBER_BYTES - 2; digits < LIMIT_JSON_NUMBER_BYTES; digits++) {
        memcpy(text, head, sizeof head);
        memset(text + sizeof head - 1, '5', digits);
        strcpy(text + sizeof head - 1 + digits, "}");
        if (digits == LIMIT_JSON_NUMBER_BYTES - 2)
            json_decref(accept(text));
        else
            refuse_bytes(text, strlen(text), "a number or word is too long");
    }
}

static int64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A megabyte of each hostile shape costs next to nothing (jansson alone: 30 ms to seconds). */
static void hostile_shapes_are_cheap(void **state)
{
    (void)state;
    char *shapes[] = {
        repeated(100000, "{\"x\":{", "\"k#\":1", "}}"),
        repeated(500000, "{\"x\":[", "1", "]}"),
        repeated(100000, "{\"x\":[", "{\"a\":{}}", "]}"),
        nested(500000),
    };
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        struct err e;
        int64_t least = INT64_MAX;
        for (int again = 0; again < 3; again++) {
            err_clear(&e);
            int64_t begun = cpu_us();
            assert_null(json_read(shapes[i], strlen(shapes[i]), &e));
            int64_t spent = cpu_us() - begun;
            least = spent < least ? spent : least;
        }
        assert_non_null(strstr(e.detail, "too "));
        assert_in_range(least, 0, 10000);
        free(shapes[i]);
    }
}

static void members_are_checked_one_by_one(void **state)
{
    (void)state;
    json_t *root = accept("{\"name\":\"abc\",\"empty\":\"\",\"number\":1,\"null\":null}");
    const struct {
        struct json_want want;
        bool ok;
        const char *found; /* or a part of the detail */
    } cases[] = {
        {{"name", 1, 3, true}, true, "abc"},
        {{"name", 3, 3, false}, true, "abc"},
        {{"name", 0, 2, true}, false, "\"name\" must have at most 2 bytes"},
        {{"name", 4, 9, true}, false, "\"name\" must have at least 4 bytes"},
        {{"empty", 0, 9, true}, true, ""},
        {{"empty", 1, 9, true}, false, "\"empty\" must have at least 1 byte"},
        {{"number", 0, 9, true}, false, "\"number\" must be a string"},
        {{"number", 0, 9, false}, false, "\"number\" must be a string"},
        {{"null", 0, 9, false}, false, "\"null\" must be a string"},
        {{"absent", 0, 9, false}, true, NULL},
        {{"absent", 0, 9, true}, false, "\"absent\" is missing"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = {.kind = ERR_NONE};
        struct span out = {"before", 6};
        assert_int_equal(json_get_text(root, &cases[i].want, &out, &e), cases[i].ok);
        if (!cases[i].ok) {
            assert_int_equal(e.kind, ERR_BAD_FIELD);
            assert_string_equal(e.detail, cases[i].found);
            assert_null(out.data);
        } else if (cases[i].found) {
            assert_int_equal(out.len, strlen(cases[i].found));
            assert_memory_equal(out.data, cases[i].found, out.len);
        } else {
            assert_null(out.data);
        }
    }
    json_object_set_new(root, "nul", json_stringn("a\0b", 3));
    struct err e = {.kind = ERR_NONE};
    struct span out;
    assert_false(json_get_text(root, &(struct json_want){"nul", 0, 9, true}, &out, &e));
    assert_string_equal(e.detail, "\"nul\" must not hold NUL");
    json_decref(root);
}

static void written_text_has_its_form(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_true(json_add_text(&b, "a\"b\\c/\b\f\n\r\t\x01\x1f\x7f\xC3\xA9", 16));
    assert_string_equal(b.data, "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xC3\xA9\"");
    buf_reset(&b);
    assert_true(json_add_text(&b, "", 0));
    assert_string_equal(b.data, "\"\"");
    assert_true(json_add_text(&b, "\0", 1));
    assert_string_equal(b.data, "\"\"\"\\u0000\"");
    buf_fini(&b);
}

static void every_character_reads_back(void **state)
{
    (void)state;
    for (int c = 1; c < 128; c++) {
        const char text[3] = {'<', (char)c, '>'};
        struct buf b;
        buf_init(&b, 100);
        buf_puts(&b, "{\"t\":");
        assert_true(json_add_text(&b, text, 3));
        buf_puts(&b, "}");
        json_t *root = accept(b.data);
        assert_memory_equal(json_string_value(json_object_get(root, "t")), text, 3);
        json_decref(root);
        buf_fini(&b);
    }
}

static void a_full_buffer_keeps_nothing_of_it(void **state)
{
    (void)state;
    for (size_t max = 0; max < 14; max++) {
        struct buf b;
        buf_init(&b, 2 + max);
        buf_puts(&b, "x:");
        bool ok = json_add_text(&b, "ab\ncd\x01", 6); /* "ab\ncd\u0001" is 14 bytes with quotes */
        assert_false(ok);
        assert_true(b.overflowed);
        assert_string_equal(b.data, "x:");
        buf_fini(&b);
    }
    struct buf exact;
    buf_init(&exact, 14);
    assert_true(json_add_text(&exact, "ab\ncd\x01", 6));
    assert_string_equal(exact.data, "\"ab\\ncd\\u0001\"");
    buf_fini(&exact);
}

int main(void)
{
    json_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_right),
        cmocka_unit_test(refuses_what_is_not_an_object),
        cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(refuses_doubles_and_overflows),
        cmocka_unit_test(refuses_nul_everywhere),
        cmocka_unit_test(refuses_what_is_not_utf8),
        cmocka_unit_test(the_place_does_not_quote_the_body),
        cmocka_unit_test(depth_has_an_exact_ceiling),
        cmocka_unit_test(counts_have_exact_ceilings),
        cmocka_unit_test(a_number_has_a_ceiling),
        cmocka_unit_test(hostile_shapes_are_cheap),
        cmocka_unit_test(members_are_checked_one_by_one),
        cmocka_unit_test(written_text_has_its_form),
        cmocka_unit_test(every_character_reads_back),
        cmocka_unit_test(a_full_buffer_keeps_nothing_of_it),
    };
    return RUN(tests);
}
