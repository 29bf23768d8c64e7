/* What was added is found by its name, also among others of its bucket, until it is removed. */
#include "unit.h"

#include "base/table.h"

#define MANY 1000

struct thing {
    struct table_node node;
    int number;
};

/* Names of which many share a bucket: only the last byte differs. */
static struct hash name_of(int number, bool collides)
{
    struct hash h = {{0}};
    h.bytes[collides ? 30 : 0] = (uint8_t)number;
    h.bytes[collides ? 31 : 1] = (uint8_t)(number >> 8);
    return h;
}

static void add_find_remove(bool collides)
{
    static struct thing things[MANY];
    struct table t;
    table_init(&t, 10);
    assert_null(table_any(&t));
    for (int i = 0; i < MANY; i++) {
        struct hash name = name_of(i, collides);
        assert_null(table_find(&t, &name));
        things[i].number = i;
        table_add(&t, &things[i].node, &name);
    }
    assert_int_equal(t.count, MANY);
    for (int i = 0; i < MANY; i += 2)
        table_remove(&t, &things[i].node);
    for (int i = 0; i < MANY; i++) {
        struct hash name = name_of(i, collides);
        struct table_node *n = table_find(&t, &name);
        if (i % 2 == 0)
            assert_null(n);
        else
            assert_int_equal(CONTAINER_OF(n, struct thing, node)->number, i);
    }
    size_t left = 0;
    for (struct table_node *n; (n = table_any(&t)); left++)
        table_remove(&t, n);
    assert_int_equal(left, MANY / 2);
    assert_int_equal(t.count, 0);
    table_fini(&t);
}

static void what_is_added_is_found(void **state)
{
    (void)state;
    add_find_remove(false);
}

static void also_in_one_bucket(void **state)
{
    (void)state;
    add_find_remove(true);
}

static void it_is_made_for_as_many_as_there_will_be(void **state)
{
    (void)state;
    const size_t mosts[] = {0, 64, 65, 1000, SIZE_MAX};
    const size_t counts[] = {64, 64, 128, 1024, (size_t)1 << 20};
    for (size_t i = 0; i < COUNT_OF(mosts); i++) {
        struct table t;
        table_init(&t, mosts[i]);
        assert_int_equal(t.bucket_count, counts[i]);
        table_fini(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_found),
        cmocka_unit_test(also_in_one_bucket),
        cmocka_unit_test(it_is_made_for_as_many_as_there_will_be),
    };
    return RUN(tests);
}
