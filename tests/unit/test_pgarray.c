/* PostgreSQL's arrays: what is written is what it would send, and is read back; broken ones are refused. */
#include "unit.h"

#include <string.h>

#include "db/pgarray.h"

static void written_as_postgresql_does(void **state)
{
    (void)state;
    /* array_send(ARRAY['ab', NULL]) */
    static const uint8_t wire[] = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0,   0,   25,  0,   0,   0,
                                   2, 0, 0, 0, 1, 0, 0, 0, 2, 'a', 'b', 255, 255, 255, 255};
    struct pgarray a;
    pgarray_init(&a, 1000);
    pgarray_begin(&a, PGTYPE_TEXT);
    pgarray_add_text(&a, "ab");
    pgarray_add_text(&a, NULL);
    assert_true(pgarray_end(&a));
    assert_int_equal(a.bytes.len, sizeof wire);
    assert_memory_equal(a.bytes.data, wire, sizeof wire);
    pgarray_fini(&a);
}

static void read_back(void **state)
{
    (void)state;
    struct pgarray a;
    struct pgarray_walk w;
    struct span s;
    pgarray_init(&a, 1000);
    pgarray_begin(&a, PGTYPE_TEXT);
    pgarray_add_text(&a, "one");
    pgarray_add_text(&a, NULL);
    pgarray_add_text(&a, "");
    assert_true(pgarray_end(&a));
    struct span bytes = {a.bytes.data, a.bytes.len};
    assert_true(pgarray_walk(bytes, PGTYPE_TEXT, &w));
    assert_int_equal(w.left, 3);
    assert_true(pgarray_next(&w, &s));
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.data, "one", 3);
    assert_true(pgarray_next(&w, &s));
    assert_null(s.data);
    assert_true(pgarray_next(&w, &s));
    assert_non_null(s.data);
    assert_int_equal(s.len, 0);
    assert_int_equal(w.left, 0);
    assert_false(pgarray_walk(bytes, PGTYPE_INT4, &w));
    pgarray_fini(&a);
}

static void an_empty_one_has_no_dimension(void **state)
{
    (void)state;
    struct pgarray a;
    struct pgarray_walk w;
    pgarray_init(&a, 1000);
    pgarray_begin(&a, PGTYPE_INT4);
    assert_true(pgarray_end(&a));
    assert_int_equal(a.bytes.len, 12);
    assert_true(pgarray_walk((struct span){a.bytes.data, a.bytes.len}, PGTYPE_INT4, &w));
    assert_int_equal(w.left, 0);
    pgarray_fini(&a);
}

/* Cut anywhere, it is refused at the latest by the element that is not whole. */
static void cut_ones_are_refused(void **state)
{
    (void)state;
    struct pgarray a;
    pgarray_init(&a, 1000);
    pgarray_begin(&a, PGTYPE_TEXT);
    pgarray_add_text(&a, "words");
    pgarray_add_text(&a, "answer");
    assert_true(pgarray_end(&a));
    for (size_t len = 0; len < a.bytes.len; len++) {
        struct pgarray_walk w;
        struct span s;
        bool is_whole = pgarray_walk((struct span){a.bytes.data, len}, PGTYPE_TEXT, &w);
        while (is_whole && w.left > 0)
            is_whole = pgarray_next(&w, &s);
        assert_false(is_whole);
    }
    pgarray_fini(&a);
}

static void the_ceiling_is_told(void **state)
{
    (void)state;
    struct pgarray a;
    pgarray_init(&a, 40);
    pgarray_begin(&a, PGTYPE_TEXT);
    pgarray_add_text(&a, "more than there is room for");
    assert_false(pgarray_end(&a));
    pgarray_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_as_postgresql_does),    cmocka_unit_test(read_back),
        cmocka_unit_test(an_empty_one_has_no_dimension), cmocka_unit_test(cut_ones_are_refused),
        cmocka_unit_test(the_ceiling_is_told),
    };
    return RUN(tests);
}
