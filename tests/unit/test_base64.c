/* Base64 by its published vectors; read back only as it is written. */
#include "unit.h"

#include <string.h>

#include "base/base64.h"

static void published_vectors(void **state)
{
    (void)state;
    const struct {
        const char *bytes, *text;
    } cases[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[BASE64_TEXT_BYTES(6)];
        uint8_t bytes[6];
        size_t len = 99;
        base64_encode(cases[i].bytes, strlen(cases[i].bytes), text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(base64_decode(text, sizeof bytes, bytes, &len), i > 0);
        assert_int_equal(len, i > 0 ? strlen(cases[i].bytes) : 99);
        if (i > 0)
            assert_memory_equal(bytes, cases[i].bytes, len);
    }
}

static void every_length_comes_back(void **state)
{
    (void)state;
    uint8_t bytes[BASE64_BYTES_MOST], back[BASE64_BYTES_MOST];
    char text[BASE64_TEXT_BYTES(BASE64_BYTES_MOST)];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 200);
    for (size_t len = 1; len <= sizeof bytes; len++) {
        size_t got = 0;
        base64_encode(bytes, len, text);
        assert_int_equal(strlen(text) + 1, BASE64_TEXT_BYTES(len));
        assert_true(base64_decode(text, len, back, &got));
        assert_int_equal(got, len);
        assert_memory_equal(back, bytes, len);
        assert_false(base64_decode(text, len - 1, back, &got)); /* a byte more than there is room */
    }
}

static void malformed_texts_are_refused(void **state)
{
    (void)state;
    const char *const texts[] = {
        "Z",     "Zg",         "Zg=",          "Zg===", "====", "=Zg=", "Z=g=",         "Zh==",
        "Zm9=",  "Zg==\n",     " Zg==",        "Zg== ", "Zm-v", "Zm_v", "Zm9vZg==Zm9v", "Zm\n9v===",
        "Zm9v=", "\xC3\xA4Zg", "Zm9v\r\n\r\n",
    };
    uint8_t out[BASE64_BYTES_MOST];
    size_t len;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (base64_decode(texts[i], sizeof out, out, &len))
            fail_msg("accepted: %s", texts[i]);
    char all[200];
    memset(all, 'A', sizeof all);
    all[88] = '\0';
    assert_false(base64_decode(all, sizeof out, out, &len)); /* 66 bytes */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(malformed_texts_are_refused),
    };
    return RUN(tests);
}
