/* Seals: their bytes, their JSON, their keys and signatures. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/seal.h"

/* RFC 8032, 7.1, TEST 1, TEST 2. */
#define PRIVATE "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define PUBLIC_UPPER "D75A980182B10AB7D54BFED3C964073A0EE172F3DAA62325AF021A68F707511A"
#define PUBLIC "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
#define PUBLIC_BASE64 "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
#define OTHER "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"

#define ROOT "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
#define PREVIOUS "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"
#define LINE(heads, more)                                                                          \
    "{\"event\":\"sealed\",\"seal_no\":258,\"sealed_us\":1767225600000001,\"from_us\":0,"          \
    "\"to_us\":1000000,\"heads\":" heads ",\"root\":\"" ROOT "\",\"previous\":\"" PREVIOUS         \
    "\",\"hash\":\"" ROOT "\"" more "}"

static struct seal read_line(const char *line)
{
    struct seal s;
    struct err e = {.kind = ERR_NONE};
    assert_true(seal_read(line, strlen(line), &s, &e));
    return s;
}

static void is_read_and_hashed(void **state)
{
    (void)state;
    struct seal s = read_line(LINE("3", ""));
    char bytes[14 + 36 + 64] = "hansard seal 1"
                               "\x00\x00\x00\x00\x00\x00\x01\x02"
                               "\x00\x06\x47\x48\x46\x20\x40\x01"
                               "\x00\x00\x00\x00\x00\x00\x00\x00"
                               "\x00\x00\x00\x00\x00\x0f\x42\x40"
                               "\x00\x00\x00\x03";
    memset(bytes + 50, 0x0A, 32);
    memset(bytes + 82, 0x0B, 32);
    struct hash h = seal_hash(&s), expected = hash_sha256(bytes, sizeof bytes);
    assert_memory_equal(&h, &expected, sizeof h);
    assert_false(s.is_signed);
}

static void what_is_no_seal(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "{}",
        "[]",
        LINE("\"3\"", ""),
        LINE("-1", ""),
        LINE("2147483648", ""),
        LINE("3.0", ""),
        LINE("3", ",\"signature\":\"00\",\"key_id\":\"0123456789abcdef\""),
        LINE("3", ",\"signature\":\"" ROOT ROOT "\""),
        LINE("3", ",\"signature\":\"" ROOT ROOT "\",\"key_id\":\"0123456789abcde\""),
        LINE("3", ",\"signature\":\"" ROOT PREVIOUS "\",\"key_id\":7"),
        LINE("3", ",\"signature\":7,\"key_id\":\"0123456789abcdef\""),
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct seal s;
        struct err e = {.kind = ERR_NONE};
        assert_false(seal_read(lines[i], strlen(lines[i]), &s, &e));
        assert_int_equal(e.kind, ERR_BAD_JSON);
    }
}

static void leaves(void **state)
{
    (void)state;
    const struct uuid id = {{1, 2, 3}};
    const struct hash head = {{9, 8, 7}};
    uint8_t leaf[SEAL_LEAF_BYTES], expected[SEAL_LEAF_BYTES] = {1, 2, 3};
    expected[18] = 1;
    expected[19] = 2;
    memcpy(expected + 20, "\x09\x08\x07", 3);
    seal_leaf(&id, 258, &head, leaf);
    assert_memory_equal(leaf, expected, sizeof leaf);
}

static struct seal_key *public_key(const char *text)
{
    struct err e = {.kind = ERR_NONE};
    struct seal_key *k = seal_key_public(text, "X", &e);
    assert_non_null(k);
    return k;
}

static void signatures(void **state)
{
    (void)state;
    struct err e = {.kind = ERR_NONE};
    struct seal_key *private = seal_key_private(PRIVATE, "X", &e);
    struct seal_key *public = public_key(PUBLIC), *same = public_key(PUBLIC_BASE64);
    struct seal_key *other = public_key(OTHER), *upper = public_key(PUBLIC_UPPER);
    assert_non_null(private);
    assert_string_equal(seal_key_id(private), seal_key_id(public));
    assert_string_equal(seal_key_id(same), seal_key_id(public));
    assert_string_equal(seal_key_id(upper), seal_key_id(public));
    assert_string_equal(seal_key_id(public), "21fe31dfa154a261");

    struct seal s = read_line(LINE("3", ""));
    assert_false(seal_is_signed_by(&s, public));
    seal_sign(private, &s);
    assert_true(s.is_signed);
    assert_true(seal_is_signed_by(&s, public));
    assert_true(seal_is_signed_by(&s, private));
    assert_false(seal_is_signed_by(&s, other));
    struct seal changed = s;
    changed.hash.bytes[31] ^= 1;
    assert_false(seal_is_signed_by(&changed, public));
    changed = s;
    changed.signature[0] ^= 1;
    assert_false(seal_is_signed_by(&changed, public));
    memcpy(s.key_id, seal_key_id(other), sizeof s.key_id);
    assert_false(seal_is_signed_by(&s, other));
    seal_key_free(private);
    seal_key_free(public);
    seal_key_free(same);
    seal_key_free(upper);
    seal_key_free(other);
}

static void what_is_no_key(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "0",
        PUBLIC "0",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511",
        "zz5a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUR==",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct err e = {.kind = ERR_NONE};
        assert_null(seal_key_private(texts[i], "HANSARD_X", &e));
        assert_int_equal(e.kind, ERR_BAD_FIELD);
        assert_non_null(strstr(e.detail, "HANSARD_X"));
        assert_true(texts[i][0] == '\0' || texts[i][1] == '\0' || !strstr(e.detail, texts[i]));
    }
}

int main(void)
{
    json_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_and_hashed),
        cmocka_unit_test(what_is_no_seal),
        cmocka_unit_test(leaves),
        cmocka_unit_test(signatures),
        cmocka_unit_test(what_is_no_key),
    };
    return RUN(tests);
}
