/* UUIDs, keys and chance. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/thread.h"

static void version_7_holds_the_time(void **state)
{
    (void)state;
    char text[UUID_TEXT_BYTES];
    struct uuid u = uuid_v7(INT64_C(0x017F22E279B0)); /* the example of RFC 9562, A.6 */
    uuid_format(&u, text);
    assert_int_equal(strlen(text), 36);
    assert_memory_equal(text, "017f22e2-79b0-7", 15);
    assert_non_null(strchr("89ab", text[19]));
}

static void version_and_variant_leave_the_rest_to_chance(void **state)
{
    (void)state;
    uint8_t seen_one[16] = {0}, seen_zero[16] = {0};
    for (int i = 0; i < 2000; i++) {
        struct uuid u = uuid_v7(0);
        for (size_t b = 0; b < 16; b++) {
            seen_one[b] |= u.bytes[b];
            seen_zero[b] |= (uint8_t)~u.bytes[b];
        }
    }
    const uint8_t fixed_one[16] = {[6] = 0x70, [8] = 0x80},
                  fixed_zero[16] = {[6] = 0x80, [8] = 0x40};
    for (size_t b = 0; b < 6; b++)
        assert_int_equal(seen_one[b], 0);
    for (size_t b = 6; b < 16; b++) {
        assert_int_equal(seen_one[b], 0xFF ^ fixed_zero[b]);
        assert_int_equal(seen_zero[b], 0xFF ^ fixed_one[b]);
    }
}

#define MADE 20000
static struct uuid made[4][MADE];
static pthread_barrier_t start_line;

static void *make_many(void *arg)
{
    struct uuid *out = arg;
    pthread_barrier_wait(&start_line);
    for (int i = 0; i < MADE; i++)
        out[i] = uuid_v7(1);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

static void no_two_threads_make_the_same(void **state)
{
    (void)state;
    pthread_t threads[4];
    pthread_barrier_init(&start_line, NULL, 4);
    for (size_t i = 0; i < 4; i++)
        threads[i] = thread_start("ids", make_many, made[i]);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start_line);
    struct uuid *all = &made[0][0];
    qsort(all, COUNT_OF(made) * MADE, sizeof *all, compare);
    for (size_t i = 1; i < COUNT_OF(made) * MADE; i++)
        assert_memory_not_equal(&all[i], &all[i - 1], sizeof *all);
}

static void text_goes_both_ways(void **state)
{
    (void)state;
    struct uuid u, back;
    char text[UUID_TEXT_BYTES];
    const char upper[] = "017F22E2-79B0-7CC3-98C4-DC0C0C07398F";
    assert_true(uuid_parse(upper, 36, &u));
    uuid_format(&u, text);
    assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    for (int i = 0; i < 100; i++) {
        u = uuid_v7(i);
        uuid_format(&u, text);
        assert_true(uuid_parse(text, 36, &back));
        assert_memory_equal(&u, &back, sizeof u);
    }
}

static void other_texts_are_refused(void **state)
{
    (void)state;
    const char good[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    struct uuid out, before;
    memset(&out, 0x5A, sizeof out);
    before = out;
    assert_false(uuid_parse(good, 35, &out));
    assert_false(uuid_parse(good, 37, &out));
    assert_false(uuid_parse("", 0, &out));
    for (size_t i = 0; i < 36; i++) {
        const char wrong[] = {'g', ' ', '\0', '/', ':', '@', '`', 'G', good[i] == '-' ? '0' : '-'};
        for (size_t n = 0; n < sizeof wrong; n++) {
            char text[37];
            memcpy(text, good, sizeof text);
            text[i] = wrong[n];
            assert_false(uuid_parse(text, 36, &out));
        }
    }
    assert_memory_equal(&out, &before, sizeof out);
}

static void below_is_below_and_uniform(void **state)
{
    (void)state;
    assert_int_equal(random_below(0), 0);
    assert_int_equal(random_below(1), 0);
    unsigned counts[7] = {0};
    for (int i = 0; i < 70000; i++)
        counts[random_below(7)]++; /* beyond the array: the sanitizer tells */
    for (size_t i = 0; i < 7; i++)
        assert_in_range(counts[i], 9400, 10600); /* six standard deviations */
    /* Where four draws share three numbers, and a scaled draw would favour the multiples of 3. */
    unsigned multiples = 0;
    for (int i = 0; i < 30000; i++)
        multiples += random_below(UINT32_C(0xC0000000)) % 3 == 0;
    assert_in_range(multiples, 9500, 10500);
}

static void random_bytes_fill_all(void **state)
{
    (void)state;
    static uint8_t bytes[100000]; /* more than one getrandom gives at once */
    unsigned counts[256] = {0};
    random_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        counts[bytes[i]]++;
    for (size_t i = 0; i < 256; i++)
        assert_in_range(counts[i], 200, 600);
    random_bytes(NULL, 0);
}

static void keys_have_their_form(void **state)
{
    (void)state;
    bool seen[256] = {false};
    char last[API_KEY_TEXT_BYTES] = "";
    for (int i = 0; i < 500; i++) {
        char key[API_KEY_TEXT_BYTES];
        memset(key, '!', sizeof key);
        api_key_make(key);
        assert_int_equal(strlen(key), 47);
        assert_memory_equal(key, "hsk_", 4);
        assert_int_equal(strspn(key + 4, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                         "0123456789-_"),
                         43);
        /* 256 bits in 43 characters: the last one holds four bits and two zeros */
        assert_non_null(strchr("AEIMQUYcgkosw048", key[46]));
        for (size_t c = 4; c < 46; c++)
            seen[(unsigned char)key[c]] = true;
        assert_string_not_equal(key, last);
        memcpy(last, key, sizeof last);
    }
    unsigned used = 0;
    for (size_t i = 0; i < 256; i++)
        used += seen[i];
    assert_int_equal(used, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_7_holds_the_time),
        cmocka_unit_test(version_and_variant_leave_the_rest_to_chance),
        cmocka_unit_test(no_two_threads_make_the_same),
        cmocka_unit_test(text_goes_both_ways),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(below_is_below_and_uniform),
        cmocka_unit_test(random_bytes_fill_all),
        cmocka_unit_test(keys_have_their_form),
    };
    return RUN(tests);
}
