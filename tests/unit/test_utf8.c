/* What may enter the record: RFC 3629 and nothing else. */
#include "unit.h"

#include <string.h>

#include "base/utf8.h"

/* As RFC 3629 defines it, without looking at ranges: may make overlong forms and surrogates. */
static size_t encode(uint32_t point, size_t bytes, char out[4])
{
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = bytes - 1; i > 0; i--, point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3F));
    out[0] = (char)(lead[bytes] | point);
    return bytes;
}

static size_t shortest(uint32_t point)
{
    return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

static void every_character_in_every_form(void **state)
{
    (void)state;
    char text[4];
    for (uint32_t point = 0; point < 0x200000; point++) {
        bool is_character = point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
        for (size_t bytes = shortest(point); bytes <= 4; bytes++) {
            size_t len = encode(point, bytes, text);
            bool expected = is_character && bytes == shortest(point);
            if (utf8_is_valid(text, len) != expected)
                fail_msg("U+%04X in %zu bytes", point, bytes);
        }
    }
}

static void every_pair_of_bytes(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            const char text[2] = {(char)a, (char)b};
            bool two = a >= 0xC2 && a <= 0xDF && b >= 0x80 && b <= 0xBF;
            assert_int_equal(utf8_is_valid(text, 2), two || (a < 0x80 && b < 0x80));
        }
    }
}

/* The fast way looks at eight bytes: a fault must be seen wherever it stands. */
static void a_fault_at_every_place(void **state)
{
    (void)state;
    char text[80];
    for (size_t len = 1; len <= sizeof text; len++) {
        for (size_t at = 0; at < len; at++) {
            memset(text, 'a', len);
            assert_true(utf8_is_valid(text, len));
            text[at] = (char)0x80;
            assert_false(utf8_is_valid(text, len));
            assert_int_equal(utf8_valid_prefix(text, len), at);
        }
    }
}

static void a_character_cut_at_every_place(void **state)
{
    (void)state;
    const char text[] = "abcdefg\xF0\x9F\x98\x80xyz";
    for (size_t len = 0; len < sizeof text; len++)
        assert_int_equal(utf8_is_valid(text, len), len <= 7 || len >= 11);
    assert_true(utf8_is_valid(NULL, 0));
    assert_true(utf8_is_valid("a\0b", 3)); /* NUL is a character here; others refuse it */
}

static void controls_are_found(void **state)
{
    (void)state;
    for (uint32_t point = 0; point < 0x3000; point++) {
        char text[8] = "ab";
        size_t len = 2 + encode(point, shortest(point), text + 2);
        bool control = point < 0x20 || (point >= 0x7F && point <= 0x9F);
        if (utf8_has_control(text, len) != control)
            fail_msg("U+%04X", point);
    }
    assert_false(utf8_has_control("", 0));
    assert_false(utf8_has_control("\xC3\x80\xE0\xA0\x80", 5)); /* tails that look like C1 */
}

static void cuts_between_characters(void **state)
{
    (void)state;
    const char text[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"; /* 1 + 2 + 3 + 4 bytes */
    const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10, 10};
    for (size_t max = 0; max < COUNT_OF(expected); max++)
        assert_int_equal(utf8_cut(text, 10, max), expected[max]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_in_every_form),
        cmocka_unit_test(every_pair_of_bytes),
        cmocka_unit_test(a_fault_at_every_place),
        cmocka_unit_test(a_character_cut_at_every_place),
        cmocka_unit_test(controls_are_found),
        cmocka_unit_test(cuts_between_characters),
    };
    return RUN(tests);
}
