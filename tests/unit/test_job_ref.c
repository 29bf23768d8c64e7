/* The names of jobs: as they are outside, and as the database is told many of them. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "core/job_list.h"

static void names_are_read_as_they_are_written(void **state)
{
    (void)state;
    static const char conversation[] = "01a211ad-cf3a-7729-9649-c123512b4d6a";
    static const char *const bad[] = {
        "",    "-",   "-0",          "-01",          "1",   "-+1", "--1",
        "- 1", "-1 ", "-2147483648", "-99999999999", "-1x", "_1",  "-1-1"};
    char text[100], again[JOB_REF_TEXT_BYTES];
    struct job_ref ref, other;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        snprintf(text, sizeof text, "%s%s", conversation, bad[i]);
        assert_false(job_ref_parse((struct span){text, strlen(text)}, &ref));
    }
    static const int32_t good[] = {1, 7, 10, 2147483647};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        snprintf(text, sizeof text, "%s-%d", conversation, (int)good[i]);
        assert_true(job_ref_parse((struct span){text, strlen(text)}, &ref));
        assert_int_equal(ref.turn_no, good[i]);
        job_ref_format(&ref, again);
        assert_string_equal(again, text);
        other = ref;
        assert_true(job_ref_equals(&ref, &other));
        assert_int_equal(job_ref_hash(&ref), job_ref_hash(&other));
        other.turn_no ^= 1;
        assert_false(job_ref_equals(&ref, &other));
        other = ref;
        other.conversation.bytes[3] ^= 1;
        assert_false(job_ref_equals(&ref, &other));
    }
    text[20] = 'g';
    assert_false(job_ref_parse((struct span){text, strlen(text)}, &ref));
    assert_false(job_ref_parse((struct span){NULL, 0}, &ref));
}

static void a_list_holds_what_was_added_since_it_began(void **state)
{
    (void)state;
    struct job_list l;
    struct job_ref first = {.conversation = {{1}}, .turn_no = 7};
    struct job_ref second = {.conversation = {{2}}, .turn_no = 2147483647};
    job_list_init(&l);
    for (int i = 0; i < 3; i++) {
        job_list_begin(&l);
        job_list_end(&l);
        assert_string_equal(l.conversations.data, "{}");
        assert_string_equal(l.turn_nos.data, "{}");
        assert_string_equal(l.attempts.data, "{}");
        job_list_begin(&l);
        job_list_add(&l, &first, 1);
        job_list_add(&l, &second, 32767);
        job_list_end(&l);
        assert_int_equal(l.count, 2);
        assert_string_equal(l.conversations.data, "{01000000-0000-0000-0000-000000000000,"
                                                  "02000000-0000-0000-0000-000000000000}");
        assert_string_equal(l.turn_nos.data, "{7,2147483647}");
        assert_string_equal(l.attempts.data, "{1,32767}");
    }
    job_list_fini(&l);
}

static void a_list_has_room_for_all_that_a_worker_can_run(void **state)
{
    (void)state;
    struct job_list l;
    job_list_init(&l);
    job_list_begin(&l);
    for (int i = 0; i < 200000; i++) {
        struct job_ref ref = {.turn_no = 2147483647};
        job_list_add(&l, &ref, 32767);
    }
    job_list_end(&l);
    assert_int_equal(l.conversations.len, 200000 * UUID_TEXT_BYTES + 1);
    job_list_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_as_they_are_written),
        cmocka_unit_test(a_list_holds_what_was_added_since_it_began),
        cmocka_unit_test(a_list_has_room_for_all_that_a_worker_can_run),
    };
    return RUN(tests);
}
