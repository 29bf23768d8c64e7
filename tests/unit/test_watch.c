/* Who waits for a job is told once: when it has ended, here or elsewhere, or at the deadline. */
#include "watch_stage.h"

static void who_waits_is_told_of_its_job(void **state)
{
    (void)state;
    struct guest a, b, other;
    open_watch();
    runs_here[1] = runs_here[2] = true;
    enter(&a, 1, FAR_MS);
    enter(&b, 1, FAR_MS);
    enter(&other, 2, FAR_MS);
    assert_int_equal(metrics_get(METRIC_JOBS_WATCHED, 0), 3);
    end(1);
    assert_int_equal(a.told, 1);
    assert_int_equal(b.told, 1);
    assert_int_equal(other.told, 0);
    end(1);
    pass(FAR_MS);
    assert_int_equal(a.told, 1);
    assert_int_equal(b.told, 1);
    close_watch();
}

static void at_the_deadline_at_the_latest(void **state)
{
    (void)state;
    struct guest a, b;
    open_watch();
    runs_here[1] = true;
    enter(&a, 1, 5000);
    enter(&b, 1, 7000);
    pass(4999);
    assert_int_equal(a.told, 0);
    pass(1);
    assert_int_equal(a.told, 1);
    assert_int_equal(b.told, 0);
    pass(2000);
    assert_int_equal(a.told, 1);
    assert_int_equal(b.told, 1);
    pass(10000);
    assert_false(is_timed()); /* nobody waits: nothing goes on */
    close_watch();
}

static void who_comes_while_it_is_asked_is_told_of_the_same_job(void **state)
{
    (void)state;
    struct guest first, second;
    open_watch();
    enter(&first, 1, FAR_MS);
    pass(1000);
    enter(&second, 1, FAR_MS);
    answer(ERR_NONE, "{1}");
    assert_int_equal(first.told, 1);
    assert_int_equal(second.told, 1);
    close_watch();
}

static void who_has_left_meanwhile_is_not_told_again(void **state)
{
    (void)state;
    struct guest g;
    open_watch();
    enter(&g, 1, 1500);
    pass(1000);
    pass(500);
    assert_int_equal(g.told, 1);
    answer(ERR_NONE, "{1}");
    assert_int_equal(g.told, 1);
    assert_false(is_timed());
    close_watch();
}

static void stopped_it_lets_nobody_wait(void **state)
{
    (void)state;
    struct guest before[3], after;
    open_watch();
    for (int i = 0; i < 3; i++)
        enter(&before[i], i, FAR_MS);
    pass(1000);
    watch_stop(&watch);
    for (int i = 0; i < 3; i++)
        assert_int_equal(before[i].told, 1);
    enter(&after, 1, FAR_MS);
    assert_int_equal(after.told, 1);
    watch_look(&watch);
    answer(ERR_NONE, "{1,2,3}"); /* that was on its way */
    pass(FAR_MS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(before[i].told, 1);
    assert_int_equal(after.told, 1);
    assert_null(asked);
    assert_false(is_timed());
    close_watch();
}

/* Told by four threads, by the database and by the deadline at once: each hears of it once, and may be gone then. */
enum { CROWD = 400 };
static atomic_int heard;
static atomic_bool is_over;

static void on_told_for_good(struct watcher *p)
{
    atomic_fetch_add(&heard, 1);
    struct guest *g = CONTAINER_OF(p, struct guest, place);
    assert_int_equal(g->told++, 0);
    free(g);
}

static void *tell_some(void *arg)
{
    (void)arg;
    while (!is_over)
        end((int)random_below(16));
    return NULL;
}

static void *run_time(void *arg)
{
    (void)arg;
    while (!is_over) {
        now_ms++;
        while (fire_one())
            ;
    }
    return NULL;
}

static void *answer_all(void *arg)
{
    (void)arg;
    while (!is_over) {
        struct call_item *item = take_call();
        if (!item) {
            sched_yield();
            continue;
        }
        item->text = mem_text("{2,1,4}");
        item->done(item);
        watch_look(&watch);
    }
    return NULL;
}

static void everybody_is_told_once_whoever_is_first(void **state)
{
    (void)state;
    pthread_t threads[4];
    void *(*const runs[])(void *) = {tell_some, tell_some, run_time, answer_all};
    open_watch();
    heard = 0;
    is_over = false;
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_create(&threads[i], NULL, runs[i], NULL);
    for (int i = 0; i < CROWD; i++) {
        struct guest *g = mem_zero(sizeof *g);
        struct job_ref ref = job((int)random_below(16));
        g->place.told = on_told_for_good;
        watch_enter(&watch, &g->place, &ref, now_ms + random_below(5));
        if (i % 16 == 0)
            sched_yield();
    }
    watch_stop(&watch);
    is_over = true;
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(heard, CROWD);
    close_watch();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_is_told_of_its_job),
        cmocka_unit_test(at_the_deadline_at_the_latest),
        cmocka_unit_test(who_comes_while_it_is_asked_is_told_of_the_same_job),
        cmocka_unit_test(who_has_left_meanwhile_is_not_told_again),
        cmocka_unit_test(stopped_it_lets_nobody_wait),
        cmocka_unit_test(everybody_is_told_once_whoever_is_first),
    };
    return RUN(tests);
}
