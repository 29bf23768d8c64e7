/* How many jobs are queued is counted now and then, by its cost; between counts, what is queued here is added. Against a
 * clock, timers and a database that do as they are told. */
#include "unit.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "core/core_private.h"

#define BEGIN_MS 1000000

/* ---- stand-ins: time, timers, database ------------------------------------------------------- */

static int64_t now_ms;

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

static struct timer *started;

void timer_start(struct timers *t, struct timer *timer, int64_t due_ms)
{
    (void)t;
    assert_null(started);
    timer->due_ms = due_ms;
    started = timer;
}

bool timer_stop_and_wait(struct timers *t, struct timer *timer)
{
    (void)t;
    (void)timer;
    return false;
}

static struct call_item *asked;

void db_submit_call(struct db *d, struct call_item *item)
{
    (void)d;
    assert_null(asked);
    assert_null(item->text);
    assert_non_null(strstr(item->sql, "hansard_api.count_jobs("));
    assert_int_equal(item->deadline_ms, now_ms + 5000);
    item->err = (struct err){.kind = ERR_NONE};
    asked = item;
}

/* Its answer, which took so long; NULL: none came. */
static void count(const char *text, int64_t took_ms)
{
    struct timer *timer = started;
    if (!asked) {
        assert_non_null(timer);
        started = NULL;
        now_ms = timer->due_ms;
        timer->fire(timer);
    }
    struct call_item *item = asked;
    asked = NULL;
    now_ms += took_ms;
    if (!text)
        err_set(&item->err, ERR_DB_DOWN, "%s", "as told");
    item->text = mem_text(text);
    item->done(item);
}

/* ---- a worker's backlog ------------------------------------------------------------------------ */

static struct core core;
static struct config config = {.job_limit = 5};

static void open_backlog(void)
{
    memset(&core, 0, sizeof core);
    started = NULL;
    asked = NULL;
    now_ms = BEGIN_MS;
    core.config = &config;
    const struct gate_options gate = {.permits = 4, .most = 100};
    gate_init(&core.gate, &gate);
    backlog_init(&core.backlog, &core);
}

static void close_backlog(void)
{
    backlog_fini(&core.backlog);
    gate_fini(&core.gate);
}

static int64_t queue(int64_t *wait_ms)
{
    int64_t position;
    backlog_place(&core.backlog, true, &position, wait_ms);
    return position;
}

static void it_counts_at_once_and_every_two_seconds(void **state)
{
    (void)state;
    open_backlog();
    assert_int_equal(started->due_ms, now_ms);
    count("{3,2,40}", 0);
    assert_int_equal(metrics_get(METRIC_JOBS_QUEUED, 0), 3);
    assert_int_equal(started->due_ms, now_ms + 2000);
    count("{4,2,40}", 15); /* no more than a hundredth of the time */
    assert_int_equal(started->due_ms, now_ms + 2000);
    count("{4,2,40}", 50);
    assert_int_equal(started->due_ms, now_ms + 5000);
    count("{4,2,40}", 500); /* on its way, perhaps */
    assert_int_equal(started->due_ms, now_ms + 10000);
    count(NULL, 5);
    assert_int_equal(started->due_ms, now_ms + 2000);
    close_backlog();
}

static void what_is_queued_here_is_added(void **state)
{
    (void)state;
    int64_t wait_ms;
    open_backlog();
    assert_true(backlog_has_room(&core.backlog)); /* until it knows */
    assert_int_equal(queue(&wait_ms), 1);
    assert_int_equal(wait_ms, -1);
    count("{3,2,40}", 0);
    assert_int_equal(queue(&wait_ms), 4);
    assert_true(backlog_has_room(&core.backlog));
    assert_int_equal(queue(&wait_ms), 5);
    assert_false(backlog_has_room(&core.backlog));
    int64_t position;
    backlog_place(&core.backlog, false, &position, &wait_ms); /* one that is queued already */
    assert_int_equal(position, 5);
    count("{2,2,40}", 0); /* these two are among them */
    assert_int_equal(queue(&wait_ms), 3);
    close_backlog();
}

static void what_began_here_is_taken_off(void **state)
{
    (void)state;
    int64_t wait_ms;
    open_backlog();
    count("{3,3,40}", 0);
    assert_int_equal(queue(&wait_ms), 4);
    backlog_began(&core.backlog, 3);
    assert_int_equal(queue(&wait_ms), 2);
    backlog_began(&core.backlog, 100);
    assert_int_equal(queue(&wait_ms), 1);
    close_backlog();
}

static void what_comes_while_it_counts_is_added_to_the_count(void **state)
{
    (void)state;
    int64_t wait_ms;
    open_backlog();
    count("{1,1,40}", 0);
    struct timer *timer = started;
    started = NULL;
    now_ms = timer->due_ms;
    timer->fire(timer);
    assert_int_equal(queue(&wait_ms), 2);
    assert_int_equal(queue(&wait_ms), 3);
    count("{1,1,40}", 5);
    assert_int_equal(queue(&wait_ms), 4);
    close_backlog();
}

static void answers_that_are_none_change_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {NULL, "", "{}", "{7}", "{7,7}", "7,7,7", "{x,7,7}"};
    int64_t wait_ms, position;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        open_backlog();
        count("{3,2,40}", 0);
        count(texts[i], 0);
        backlog_place(&core.backlog, false, &position, &wait_ms);
        assert_int_equal(position, 3);
        assert_non_null(started);
        close_backlog();
    }
}

static void when_one_begins_follows_from_the_pace(void **state)
{
    (void)state;
    int64_t wait_ms, position;
    open_backlog();
    count("{100,2,40}", 0);
    backlog_place(&core.backlog, false, &position, &wait_ms);
    assert_int_equal(wait_ms, -1); /* nothing was called yet */
    core.gate.call_us = 2000000;
    backlog_place(&core.backlog, false, &position, &wait_ms);
    assert_int_equal(position, 100);
    assert_int_equal(wait_ms, 99 * 2000 / 40);
    count("{1,1,40}", 0);
    backlog_place(&core.backlog, false, &position, &wait_ms);
    assert_int_equal(wait_ms, 0);
    count("{1,1,0}", 0); /* no worker: nobody knows */
    backlog_place(&core.backlog, false, &position, &wait_ms);
    assert_int_equal(wait_ms, -1);
    close_backlog();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_counts_at_once_and_every_two_seconds),
        cmocka_unit_test(what_is_queued_here_is_added),
        cmocka_unit_test(what_began_here_is_taken_off),
        cmocka_unit_test(what_comes_while_it_counts_is_added_to_the_count),
        cmocka_unit_test(answers_that_are_none_change_nothing),
        cmocka_unit_test(when_one_begins_follows_from_the_pace),
    };
    return RUN(tests);
}
