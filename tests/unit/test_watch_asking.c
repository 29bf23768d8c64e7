/* What the database is asked for those who wait: what runs here costs no question; the rest costs one a second, however
 * many wait. */
#include "watch_stage.h"

/* How many jobs it is asked about; they are these, in any order. */
static void assert_asked(const int *jobs, size_t count)
{
    assert_non_null(asked);
    const char *uuid = asked->param[0].data, *turn_no = asked->param[1].data;
    bool seen[64] = {false};
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(*uuid, i == 0 ? '{' : ',');
        assert_int_equal(*turn_no, i == 0 ? '{' : ',');
        int n = atoi(turn_no + 1) - 1;
        struct job_ref ref = job(n);
        char text[UUID_TEXT_BYTES];
        uuid_format(&ref.conversation, text);
        assert_memory_equal(uuid + 1, text, UUID_TEXT_BYTES - 1);
        uuid += UUID_TEXT_BYTES;
        turn_no += 1 + strcspn(turn_no + 1, ",}");
        assert_false(seen[n]);
        seen[n] = true;
    }
    assert_string_equal(uuid, "}");
    assert_string_equal(turn_no, "}");
    for (size_t i = 0; i < count; i++)
        assert_true(seen[jobs[i]]);
}

/* The place of a job in the question. */
static const char *place_of(int n)
{
    static char text[24];
    int place = 1;
    for (const char *at = asked->param[1].data; atoi(at + 1) != n + 1; place++)
        at = strchr(at + 1, ',');
    snprintf(text, sizeof text, "{%d}", place);
    return text;
}

/* ---- the tests --------------------------------------------------------------------------------- */

static void what_runs_here_is_not_asked_for(void **state)
{
    (void)state;
    struct guest g[200];
    open_watch();
    for (int i = 0; i < 200; i++) {
        runs_here[i % 50] = true;
        enter(&g[i], i % 50, FAR_MS);
    }
    for (int s = 0; s < 30; s++)
        pass(1000);
    assert_int_equal(questions, 0);
    close_watch();
}

static void the_rest_once_a_second_each_job_once(void **state)
{
    (void)state;
    struct guest g[60], late;
    open_watch();
    runs_here[0] = true;
    for (int i = 0; i < 60; i++)
        enter(&g[i], i % 4, FAR_MS);
    pass(999);
    assert_null(asked);
    pass(1);
    assert_asked((const int[]){1, 2, 3}, 3);
    assert_int_equal(asked->deadline_ms, now_ms + 5000);
    pass(4000); /* its reply takes long: no second one */
    enter(&late, 5, FAR_MS);
    answer(ERR_NONE, "{}");
    for (int i = 0; i < 60; i++)
        assert_int_equal(g[i].told, 0);
    pass(999);
    assert_null(asked);
    pass(1);
    assert_asked((const int[]){1, 2, 3, 5}, 4);
    answer(ERR_NONE, place_of(2));
    for (int i = 0; i < 60; i++)
        assert_int_equal(g[i].told, i % 4 == 2);
    pass(1000);
    assert_asked((const int[]){1, 3, 5}, 3);
    answer(ERR_NONE, "{1,2,3}");
    for (int i = 0; i < 60; i++)
        assert_int_equal(g[i].told, i % 4 != 0);
    assert_int_equal(late.told, 1);
    pass(1000);
    assert_null(asked);
    assert_int_equal(questions, 3);
    close_watch();
}

static void what_stops_running_here_is_asked_for(void **state)
{
    (void)state;
    struct guest g;
    open_watch();
    runs_here[1] = true;
    enter(&g, 1, FAR_MS);
    pass(3000);
    assert_null(asked);
    runs_here[1] = false; /* handed back; or it ended before somebody came to wait for it */
    pass(1000);
    assert_asked((const int[]){1}, 1);
    answer(ERR_NONE, "{1}");
    assert_int_equal(g.told, 1);
    close_watch();
}

static void a_look_asks_for_those_here_too_and_at_once(void **state)
{
    (void)state;
    struct guest here, elsewhere;
    open_watch();
    runs_here[1] = true;
    enter(&here, 1, FAR_MS);
    enter(&elsewhere, 2, FAR_MS);
    watch_look(&watch);
    assert_asked((const int[]){1, 2}, 2);
    answer(ERR_NONE, place_of(1));
    assert_int_equal(here.told, 1);
    assert_int_equal(elsewhere.told, 0);
    close_watch();
}

static void a_look_while_it_is_asked_asks_again(void **state)
{
    (void)state;
    struct guest here, elsewhere;
    open_watch();
    runs_here[1] = true;
    enter(&here, 1, FAR_MS);
    enter(&elsewhere, 2, FAR_MS);
    pass(1000);
    assert_asked((const int[]){2}, 1);
    watch_look(&watch);
    watch_look(&watch);
    answer(ERR_NONE, "{}");
    assert_asked((const int[]){1, 2}, 2);
    answer(ERR_NONE, place_of(1));
    assert_int_equal(here.told, 1);
    assert_null(asked);
    assert_int_equal(questions, 2);
    close_watch();
}

static void a_look_at_nothing_asks_nothing(void **state)
{
    (void)state;
    open_watch();
    watch_look(&watch);
    assert_null(asked);
    close_watch();
}

/* More than one question holds: each has its turn. */
static void many_jobs_take_turns(void **state)
{
    (void)state;
    enum { JOBS = 2500 };
    static struct guest g[JOBS];
    static int times[JOBS];
    open_watch();
    memset(times, 0, sizeof times);
    for (int i = 0; i < JOBS; i++) {
        struct job_ref ref = {.conversation = uuid_v7(now_ms), .turn_no = i + 1};
        g[i].place.told = on_told;
        watch_enter(&watch, &g[i].place, &ref, now_ms + FAR_MS);
    }
    for (int s = 0; s < 4; s++) {
        pass(1000);
        size_t count = 0;
        for (const char *at = asked->param[1].data; at; at = strchr(at + 1, ','), count++)
            times[atoi(at + 1) - 1]++;
        assert_int_equal(count, LIMIT_WATCH_JOBS);
        answer(ERR_NONE, "{}");
    }
    for (int i = 0; i < JOBS; i++)
        assert_in_range(times[i], 1, 3); /* 3: where one question ended and the next began */
    close_watch();
}

static void answers_that_are_none(void **state)
{
    (void)state;
    static const char *const texts[] = {
        NULL,       "",      "{",   "{}",   "{0}", "{-1}",
        "{NULL}",   "{2}",   "1",   "{x}",  "{,}", "{99999999999999999999}",
        "{0,NULL}", "{3,2}", "[1]", "{ }1", "{}1", "{\"1\"}"};
    struct guest g;
    open_watch();
    enter(&g, 1, 1000000);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        pass(1000);
        answer(ERR_NONE, texts[i]);
        assert_int_equal(g.told, 0);
    }
    static const enum err_kind kinds[] = {ERR_DB_DOWN, ERR_INTERNAL};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        pass(1000);
        answer(kinds[i], NULL);
        assert_int_equal(g.told, 0);
    }
    pass(1000);
    answer(ERR_NONE, "{1}");
    assert_int_equal(g.told, 1);
    close_watch();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_runs_here_is_not_asked_for),
        cmocka_unit_test(the_rest_once_a_second_each_job_once),
        cmocka_unit_test(what_stops_running_here_is_asked_for),
        cmocka_unit_test(a_look_asks_for_those_here_too_and_at_once),
        cmocka_unit_test(a_look_while_it_is_asked_asks_again),
        cmocka_unit_test(a_look_at_nothing_asks_nothing),
        cmocka_unit_test(many_jobs_take_turns),
        cmocka_unit_test(answers_that_are_none),
    };
    return RUN(tests);
}
