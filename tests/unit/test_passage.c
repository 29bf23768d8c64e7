/* Turns as JSON: written once, joined, and cut off whole. */
#include "unit.h"

#include <string.h>

#include "base/json.h"
#include "db/passage.h"

static struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static void add(struct passage *p, const char *words, const char *answer)
{
    passage_append_turn(p, span_of(words), span_of(answer));
}

static void a_turn_is_two_messages(void **state)
{
    (void)state;
    struct passage p = {.json = NULL};
    add(&p, "say \"hi\"\n", "hi \xc3\xa4");
    static const char json[] = "{\"role\":\"user\",\"content\":\"say \\\"hi\\\"\\n\"},"
                               "{\"role\":\"assistant\",\"content\":\"hi \xc3\xa4\"},";
    assert_int_equal(p.len, strlen(json));
    assert_memory_equal(p.json, json, p.len);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.turns[0].json_bytes, p.len);
    assert_int_equal(p.turns[0].text_bytes, 9 + 5);
    passage_fini(&p);
    assert_null(p.json);
    assert_int_equal(p.count, 0);
}

static void joined_it_is_as_if_written_in_one(void **state)
{
    (void)state;
    struct passage all = {.json = NULL}, first = {.json = NULL}, second = {.json = NULL};
    struct passage none = {.json = NULL};
    add(&all, "1", "one");
    add(&all, "2", "two");
    add(&all, "3", "three");
    add(&first, "1", "one");
    add(&second, "2", "two");
    add(&second, "3", "three");
    passage_append(&first, &none);
    passage_append(&first, &second);
    assert_int_equal(first.len, all.len);
    assert_memory_equal(first.json, all.json, all.len);
    assert_int_equal(first.count, 3);
    assert_memory_equal(first.turns, all.turns, 3 * sizeof *all.turns);
    passage_fini(&all);
    passage_fini(&first);
    passage_fini(&second);
}

/* What is left of four turns of 4, 6, 8 and 10 bytes of text. */
static size_t left_of(size_t most_turns, size_t most_bytes)
{
    struct passage p = {.json = NULL}, rest = {.json = NULL};
    const char *const words[] = {"aa", "bbb", "cccc", "ddddd"};
    for (size_t i = 0; i < 4; i++)
        add(&p, words[i], words[i]);
    passage_trim(&p, most_turns, most_bytes);
    size_t left = p.count;
    for (size_t i = 4 - left; i < 4; i++)
        add(&rest, words[i], words[i]);
    assert_int_equal(p.len, rest.len);
    assert_int_equal(rest.len == 0 ? 0 : memcmp(p.json, rest.json, rest.len), 0);
    passage_fini(&p);
    passage_fini(&rest);
    return left;
}

static void the_oldest_are_cut_off_whole(void **state)
{
    (void)state;
    assert_int_equal(left_of(4, 28), 4);
    assert_int_equal(left_of(9, 1000), 4);
    assert_int_equal(left_of(4, 27), 3);
    assert_int_equal(left_of(3, 28), 3);
    assert_int_equal(left_of(2, 28), 2);
    assert_int_equal(left_of(4, 18), 2);
    assert_int_equal(left_of(4, 17), 1);
    assert_int_equal(left_of(4, 9),
                     0); /* the newest alone does not fit: none, and not an older one */
    assert_int_equal(left_of(0, 28), 0);
    assert_int_equal(left_of(4, 0), 0);
}

static void a_full_buffer_is_told(void **state)
{
    (void)state;
    struct buf out;
    struct span nothing = {.data = NULL};
    buf_init(&out, 40);
    assert_false(passage_add_json(&out, span_of("a long word or two"), span_of("and an answer")));
    buf_fini(&out);
    buf_init(&out, 1000);
    assert_false(passage_add_json(&out, span_of("words"), nothing));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_is_two_messages),
        cmocka_unit_test(joined_it_is_as_if_written_in_one),
        cmocka_unit_test(the_oldest_are_cut_off_whole),
        cmocka_unit_test(a_full_buffer_is_told),
    };
    return RUN(tests);
}
