/* Who waits for a job is told once: when it has ended, here or elsewhere, or at the deadline. What runs here costs no
 * question; the rest costs one a second, however many wait. Against a clock, timers and a database that do as they are
 * told. */
#include "unit.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "core/watch.h"

#define BEGIN_MS 1000000
#define FAR_MS 60000

/* ---- stand-ins: time, timers, database ------------------------------------------------------- */

static atomic_llong now_ms;

int64_t clock_mono_us(void)
{
    return now_ms * 1000;
}

int64_t clock_mono_ms(void)
{
    return now_ms;
}

int64_t clock_unix_ms(void)
{
    return now_ms;
}

void clock_format(int64_t unix_ms, char out[25])
{
    (void)unix_ms;
    out[0] = '\0';
}

static pthread_mutex_t world = PTHREAD_MUTEX_INITIALIZER;
static struct timer *started[4096]; /* world */
static struct timer *firing;        /* world */
static struct call_item *asked;     /* world; never two at once */
static int questions;

void timer_start(struct timers *t, struct timer *timer, int64_t due_ms)
{
    (void)t;
    size_t i = 0;
    pthread_mutex_lock(&world);
    assert_int_equal(timer->slot, 0);
    while (started[i])
        i++;
    assert_true(i < COUNT_OF(started) - 1);
    timer->due_ms = due_ms;
    timer->slot = i + 1;
    started[i] = timer;
    pthread_mutex_unlock(&world);
}

static bool take_timer_locked(struct timer *timer)
{
    if (timer->slot == 0)
        return false;
    started[timer->slot - 1] = NULL;
    timer->slot = 0;
    return true;
}

bool timer_stop_and_wait(struct timers *t, struct timer *timer)
{
    (void)t;
    pthread_mutex_lock(&world);
    bool was_waiting = take_timer_locked(timer);
    while (firing == timer) {
        pthread_mutex_unlock(&world);
        sched_yield();
        pthread_mutex_lock(&world);
    }
    pthread_mutex_unlock(&world);
    return was_waiting;
}

/* The timers' thread: one that is due. */
static bool fire_one(void)
{
    struct timer *due = NULL;
    pthread_mutex_lock(&world);
    for (size_t i = 0; i < COUNT_OF(started) && !due; i++)
        if (started[i] && started[i]->due_ms <= now_ms)
            due = started[i];
    if (due)
        take_timer_locked(due);
    firing = due;
    pthread_mutex_unlock(&world);
    if (due)
        due->fire(due);
    pthread_mutex_lock(&world);
    firing = NULL;
    pthread_mutex_unlock(&world);
    return due != NULL;
}

static void pass(int64_t ms)
{
    now_ms += ms;
    while (fire_one())
        ;
}

static bool is_timed(void)
{
    for (size_t i = 0; i < COUNT_OF(started); i++)
        if (started[i])
            return true;
    return false;
}

void db_submit_call(struct db *d, struct call_item *item)
{
    (void)d;
    pthread_mutex_lock(&world);
    assert_null(asked);
    assert_null(item->text);
    assert_int_equal(item->params, 2);
    assert_non_null(strstr(item->sql, "hansard_api.jobs_ended("));
    item->err = (struct err){.kind = ERR_NONE};
    asked = item;
    questions++;
    pthread_mutex_unlock(&world);
}

static struct call_item *take_call(void)
{
    pthread_mutex_lock(&world);
    struct call_item *item = asked;
    asked = NULL;
    pthread_mutex_unlock(&world);
    return item;
}

static void answer(enum err_kind kind, const char *text)
{
    struct call_item *item = take_call();
    assert_non_null(item);
    if (kind != ERR_NONE)
        err_set(&item->err, kind, "%s", "as told");
    item->text = mem_text(text);
    item->text_len = text ? strlen(text) : 0;
    item->done(item);
}

/* ---- jobs and those that wait ------------------------------------------------------------------ */

static struct job_ref job(int n)
{
    struct job_ref ref = {.turn_no = n + 1};
    memset(ref.conversation.bytes, n % 251, sizeof ref.conversation.bytes);
    return ref;
}

static atomic_bool runs_here[64];

static bool is_here(void *arg, const struct job_ref *ref)
{
    assert_ptr_equal(arg, &now_ms);
    return ref->turn_no <= (int)COUNT_OF(runs_here) && runs_here[ref->turn_no - 1];
}

static struct watch watch;

static void open_watch(void)
{
    memset(started, 0, sizeof started);
    asked = NULL;
    questions = 0;
    now_ms = BEGIN_MS;
    for (size_t i = 0; i < COUNT_OF(runs_here); i++)
        runs_here[i] = false;
    const struct watch_options options = {.is_here = is_here, .arg = &now_ms};
    watch_init(&watch, &options);
}

static void close_watch(void)
{
    watch_stop(&watch);
    assert_int_equal(metrics_get(METRIC_JOBS_WATCHED, 0), 0);
    watch_fini(&watch);
}

struct guest {
    struct watcher place;
    atomic_int told;
};

static void on_told(struct watcher *p)
{
    assert_int_equal(pthread_mutex_trylock(&watch.lock), 0); /* without the lock */
    pthread_mutex_unlock(&watch.lock);
    CONTAINER_OF(p, struct guest, place)->told++;
}

static void enter(struct guest *g, int n, int64_t wait_ms)
{
    struct job_ref ref = job(n);
    memset(g, 0, sizeof *g);
    g->place.told = on_told;
    watch_enter(&watch, &g->place, &ref, now_ms + wait_ms);
}

static void end(int n)
{
    struct job_ref ref = job(n);
    watch_tell(&watch, &ref);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_is_told_of_its_job),
        cmocka_unit_test(at_the_deadline_at_the_latest),
        cmocka_unit_test(what_runs_here_is_not_asked_for),
        cmocka_unit_test(the_rest_once_a_second_each_job_once),
        cmocka_unit_test(what_stops_running_here_is_asked_for),
        cmocka_unit_test(who_comes_while_it_is_asked_is_told_of_the_same_job),
        cmocka_unit_test(who_has_left_meanwhile_is_not_told_again),
        cmocka_unit_test(a_look_asks_for_those_here_too_and_at_once),
        cmocka_unit_test(a_look_while_it_is_asked_asks_again),
        cmocka_unit_test(a_look_at_nothing_asks_nothing),
        cmocka_unit_test(many_jobs_take_turns),
        cmocka_unit_test(answers_that_are_none),
        cmocka_unit_test(stopped_it_lets_nobody_wait),
        cmocka_unit_test(everybody_is_told_once_whoever_is_first),
        cmocka_unit_test(names_are_read_as_they_are_written),
    };
    return RUN(tests);
}
