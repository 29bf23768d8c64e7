/* The intrusive list: order, counts, and who is in it. */
#include "unit.h"

#include "base/list.h"

struct item {
    int number;
    struct list_node node;
};

static int number_of(struct list_node *n)
{
    return CONTAINER_OF(n, struct item, node)->number;
}

static void first_in_first_out(void **state)
{
    (void)state;
    struct list l;
    struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    list_init(&l);
    assert_null(list_first(&l));
    assert_null(list_take_first(&l));
    for (size_t i = 0; i < 3; i++)
        list_append(&l, &items[i].node);
    assert_int_equal(l.count, 3);
    int expected = 0;
    for (struct list_node *n = list_first(&l); n; n = list_next(&l, n))
        assert_int_equal(number_of(n), expected++);
    assert_int_equal(expected, 3);
    for (int i = 0; i < 3; i++) {
        struct list_node *n = list_take_first(&l);
        assert_int_equal(number_of(n), i);
        assert_false(list_is_linked(n));
    }
    assert_int_equal(l.count, 0);
    assert_null(list_first(&l));
}

static void removal_from_every_place(void **state)
{
    (void)state;
    for (size_t gone = 0; gone < 3; gone++) {
        struct list l;
        struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
        list_init(&l);
        for (size_t i = 0; i < 3; i++)
            list_append(&l, &items[i].node);
        list_remove(&l, &items[gone].node);
        assert_false(list_is_linked(&items[gone].node));
        assert_int_equal(l.count, 2);
        list_append(&l, &items[gone].node); /* again, at the end */
        const int order[3][3] = {{1, 2, 0}, {0, 2, 1}, {0, 1, 2}};
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(number_of(list_take_first(&l)), order[gone][i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_in_first_out),
        cmocka_unit_test(removal_from_every_place),
    };
    return RUN(tests);
}
