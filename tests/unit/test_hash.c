/* SHA-256 by its published vectors, and parts that cannot be shifted into each other. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/thread.h"

static void expect_hex(struct hash h, const char *hex)
{
    char text[2 * HASH_BYTES + 1];
    hash_hex(&h, text);
    assert_string_equal(text, hex);
}

static void published_vectors(void **state)
{
    (void)state;
    expect_hex(hash_sha256("", 0),
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_hex(hash_sha256(NULL, 0),
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_hex(hash_sha256("abc", 3),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    expect_hex(hash_sha256(million, 1000000),
               "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void parts_are_prefixed_by_their_length(void **state)
{
    (void)state;
    const char bytes[] = "\0\0\0\0\0\0\0\2ab\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1c";
    const struct span parts[] = {{"ab", 2}, {"", 0}, {"c", 1}};
    struct hash whole = hash_sha256(bytes, sizeof bytes - 1);
    struct hash apart = hash_sha256_parts(parts, 3);
    assert_memory_equal(&whole, &apart, sizeof whole);
    const struct span shifted[] = {{"a", 1}, {"b", 1}, {"c", 1}};
    struct hash other = hash_sha256_parts(shifted, 3);
    assert_memory_not_equal(&whole, &other, sizeof whole);
    struct hash none = hash_sha256_parts(NULL, 0), empty = hash_sha256("", 0);
    assert_memory_equal(&none, &empty, sizeof none);
}

static void long_parts_use_every_byte_of_the_length(void **state)
{
    (void)state;
    char text[8 + 300] = {0, 0, 0, 0, 0, 0, 1, 44};
    memset(text + 8, 'q', 300);
    const struct span part = {text + 8, 300};
    struct hash apart = hash_sha256_parts(&part, 1), whole = hash_sha256(text, sizeof text);
    assert_memory_equal(&whole, &apart, sizeof whole);
}

/* RFC 4231, test cases 1, 2 and 6: a short key, a shorter one, one longer than a block. */
static void published_hmac_vectors(void **state)
{
    (void)state;
    char key[131];
    const struct span one = {"Hi There", 8};
    memset(key, 0x0b, 20);
    expect_hex(hash_hmac_sha256((struct span){key, 20}, &one, 1),
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    const struct span two[] = {{"what do ya want ", 16}, {"", 0}, {"for nothing?", 12}};
    expect_hex(hash_hmac_sha256((struct span){"Jefe", 4}, two, 3),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    const char text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    const struct span six = {text, sizeof text - 1};
    memset(key, 0xaa, sizeof key);
    expect_hex(hash_hmac_sha256((struct span){key, sizeof key}, &six, 1),
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void *hash_often(void *arg)
{
    struct hash *out = arg;
    for (int i = 0; i < 1000; i++)
        *out = hash_sha256("abc", 3);
    return NULL;
}

static void many_threads_at_once(void **state)
{
    (void)state;
    pthread_t threads[4];
    struct hash results[4];
    for (size_t i = 0; i < 4; i++)
        threads[i] = thread_start("hash", hash_often, &results[i]);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        expect_hex(results[i], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_at_once), /* first: they race for the fetch */
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(published_hmac_vectors),
        cmocka_unit_test(parts_are_prefixed_by_their_length),
        cmocka_unit_test(long_parts_use_every_byte_of_the_length),
    };
    return RUN(tests);
}
