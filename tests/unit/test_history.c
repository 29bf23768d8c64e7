/* What is remembered of conversations: by name, up to a ceiling, for a time. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "core/history.h"

static struct hash name_of(int i)
{
    return hash_sha256(&i, sizeof i);
}

static void put(struct history *h, int i, size_t text_bytes, int64_t now_ms)
{
    static char text[100000];
    memset(text, 'x', sizeof text);
    struct hash name = name_of(i);
    struct memory *m = memory_new(&name);
    struct span words = {text, text_bytes}, answer = {"yes", 3};
    m->last_turn = i;
    passage_append_turn(&m->passage, words, answer);
    history_put(h, m, now_ms);
}

static bool has(struct history *h, int i, int64_t now_ms)
{
    struct hash name = name_of(i);
    struct memory *m = history_take(h, &name);
    if (!m)
        return false;
    assert_int_equal(m->last_turn, i);
    history_put(h, m, now_ms);
    return true;
}

static void what_was_put_is_taken_once(void **state)
{
    (void)state;
    struct history h;
    struct hash name = name_of(1);
    history_init(&h, 100000);
    assert_null(history_take(&h, &name));
    put(&h, 1, 10, 0);
    struct memory *m = history_take(&h, &name);
    assert_non_null(m);
    assert_null(history_take(&h, &name));
    assert_int_equal(h.bytes, 0);
    memory_free(m);
    history_fini(&h);
}

static void the_longest_unused_makes_room(void **state)
{
    (void)state;
    struct history h;
    history_init(&h, 35000);
    for (int i = 0; i < 3; i++)
        put(&h, i, 10000, 0);
    assert_true(has(&h, 0, 0)); /* used: now 1 is the oldest */
    put(&h, 3, 10000, 0);
    assert_false(has(&h, 1, 0));
    assert_true(has(&h, 0, 0));
    assert_true(has(&h, 2, 0));
    assert_true(has(&h, 3, 0));
    assert_true(h.bytes <= 35000);
    put(&h, 4, 90000, 0); /* larger than all there is */
    assert_false(has(&h, 4, 0));
    assert_int_equal(h.bytes, 0);
    history_fini(&h);
}

static void nothing_is_kept_without_room(void **state)
{
    (void)state;
    struct history h;
    history_init(&h, 0);
    put(&h, 1, 1, 0);
    assert_false(has(&h, 1, 0));
    history_fini(&h);
}

static void idle_ones_are_forgotten(void **state)
{
    (void)state;
    struct history h;
    history_init(&h, 1000000);
    put(&h, 1, 10, 1000);
    put(&h, 2, 10, 2000);
    history_forget_idle(&h, 1000 + HISTORY_IDLE_MS - 1);
    assert_true(has(&h, 1, 1000));
    assert_true(has(&h, 2, 2000));
    history_forget_idle(&h, 1000 + HISTORY_IDLE_MS);
    assert_false(has(&h, 1, 2000));
    assert_true(has(&h, 2, 2000));
    history_fini(&h);
}

static void many_share_buckets(void **state)
{
    (void)state;
    struct history h;
    history_init(&h, 10000000);
    h.table.bucket_count = 4; /* of those made */
    for (int i = 0; i < 300; i++)
        put(&h, i, 10, 0);
    for (int i = 0; i < 300; i++)
        assert_true(has(&h, i, 0));
    history_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_taken_once),
        cmocka_unit_test(the_longest_unused_makes_room),
        cmocka_unit_test(nothing_is_kept_without_room),
        cmocka_unit_test(idle_ones_are_forgotten),
        cmocka_unit_test(many_share_buckets),
    };
    return RUN(tests);
}
