/* Bytes that grow up to a ceiling and not one further. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void grows_and_stays_terminated(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    for (int i = 0; i < 10000; i++) {
        assert_true(buf_add(&b, "abcdefghij" + i % 5, 5));
        assert_int_equal(b.data[b.len], '\0');
    }
    assert_int_equal(b.len, 50000);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.data[i], "abcdefghij"[i / 5 % 5 + i % 5]);
    buf_fini(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
}

static void capacity_doubles(void **state)
{
    (void)state;
    struct buf b;
    unsigned moves = 0;
    size_t cap = 0;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 1 << 20; i++) {
        assert_true(buf_add(&b, "x", 1));
        moves += b.cap != cap;
        cap = b.cap;
    }
    assert_in_range(moves, 2, 24);
    buf_fini(&b);
}

static void ceiling_is_exact(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_true(buf_add(&b, "0123456789", 10));
    assert_false(b.overflowed);
    assert_int_equal(b.cap, 11); /* the ceiling and the NUL */
    assert_false(buf_add(&b, "x", 1));
    assert_true(b.overflowed);
    assert_int_equal(b.len, 10);
    assert_string_equal(b.data, "0123456789");
    assert_true(buf_add(&b, "", 0));
    assert_null(buf_reserve(&b, SIZE_MAX));
    buf_fini(&b);
}

static void a_refused_append_leaves_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_true(buf_puts(&b, "01234"));
    assert_false(buf_puts(&b, "567890"));
    assert_string_equal(b.data, "01234");
    assert_false(buf_printf(&b, "%s", "567890"));
    assert_int_equal(b.len, 5);
    assert_string_equal(b.data, "01234");
    assert_true(buf_printf(&b, "%d", 56789));
    assert_string_equal(b.data, "0123456789");
    buf_fini(&b);
}

static void a_ceiling_of_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    assert_true(buf_puts(&b, ""));
    assert_string_equal(b.data, "");
    assert_false(buf_puts(&b, "x"));
    assert_false(buf_printf(&b, "x"));
    buf_fini(&b);
}

static void printf_grows_when_it_must(void **state)
{
    (void)state;
    struct buf b;
    char expected[1001];
    memset(expected, 'y', 1000);
    expected[1000] = '\0';
    buf_init(&b, 4000);
    assert_true(buf_printf(&b, "%s", "")); /* nothing allocated before */
    assert_string_equal(b.data, "");
    assert_true(buf_printf(&b, "%d-", 7));
    assert_true(buf_printf(&b, "%s", expected));
    assert_int_equal(b.len, 1002);
    assert_memory_equal(b.data, "7-", 2);
    assert_string_equal(b.data + 2, expected);
    buf_fini(&b);
}

static void printf_at_every_edge_of_the_capacity(void **state)
{
    (void)state;
    for (int first = 0; first < 70; first++) {
        for (int second = 0; second < 70; second++) {
            struct buf b;
            buf_init(&b, 100);
            assert_true(buf_printf(&b, "%*s", first, ""));
            assert_int_equal(buf_printf(&b, "%*s", second, ""), first + second <= 100);
            assert_int_equal(strlen(b.data), first + second <= 100 ? first + second : first);
            buf_fini(&b);
        }
    }
}

static void reserve_lends_room(void **state)
{
    (void)state;
    struct buf b;
    size_t len;
    buf_init(&b, 300);
    char *room = buf_reserve(&b, 300);
    assert_non_null(room);
    memset(room, 'z', 300);
    b.len += 300;
    assert_null(buf_reserve(&b, 1));
    char *taken = buf_take(&b, &len);
    assert_int_equal(len, 300);
    assert_int_equal(strlen(taken), 300); /* buf_take put the NUL there */
    free(taken);
    buf_fini(&b);
}

static void take_gives_away(void **state)
{
    (void)state;
    struct buf b;
    size_t len = 99;
    buf_init(&b, 10);
    char *empty = buf_take(&b, &len);
    assert_string_equal(empty, "");
    assert_int_equal(len, 0);
    assert_true(buf_puts(&b, "word"));
    char *word = buf_take(&b, NULL);
    assert_string_equal(word, "word");
    assert_null(b.data);
    assert_int_equal(b.max, 10);
    assert_true(buf_puts(&b, "0123456789")); /* usable again, same ceiling */
    assert_false(buf_puts(&b, "x"));
    assert_string_equal(word, "word");
    free(empty);
    free(word);
    buf_fini(&b);
}

static void reset_keeps_memory_and_ceiling(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_reset(&b);
    assert_true(buf_puts(&b, "0123456789"));
    assert_false(buf_puts(&b, "x"));
    const char *data = b.data;
    buf_reset(&b);
    assert_ptr_equal(b.data, data);
    assert_string_equal(b.data, "");
    assert_false(b.overflowed);
    assert_int_equal(b.max, 10);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(capacity_doubles),
        cmocka_unit_test(ceiling_is_exact),
        cmocka_unit_test(a_refused_append_leaves_nothing),
        cmocka_unit_test(a_ceiling_of_nothing),
        cmocka_unit_test(printf_grows_when_it_must),
        cmocka_unit_test(printf_at_every_edge_of_the_capacity),
        cmocka_unit_test(reserve_lends_room),
        cmocka_unit_test(take_gives_away),
        cmocka_unit_test(reset_keeps_memory_and_ceiling),
    };
    return RUN(tests);
}
