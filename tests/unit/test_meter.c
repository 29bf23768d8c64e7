/* Those of one caller who wait are asked for together, with some for those who are about to come; each is told once, as
 * many granted as there is quota for, and nobody more than was taken. Against a clock, timers and a database that
 * do as they are told. */
#include "unit.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/meter.h"

#define BEGIN_MS 1000000 /* a span begins */

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
static struct timer *started[8];   /* world */
static struct call_item *asked[8]; /* world */

void timer_start(struct timers *t, struct timer *timer, int64_t due_ms)
{
    (void)t;
    size_t i = 0;
    pthread_mutex_lock(&world);
    for (; started[i]; i++)
        assert_ptr_not_equal(started[i], timer);
    assert_true(i < COUNT_OF(started) - 1);
    timer->due_ms = due_ms;
    started[i] = timer;
    pthread_mutex_unlock(&world);
}

/* The timers' thread: one that is due. */
static bool fire_one(void)
{
    struct timer *due = NULL;
    pthread_mutex_lock(&world);
    for (size_t i = 0; i < COUNT_OF(started) && !due; i++) {
        if (started[i] && started[i]->due_ms <= now_ms) {
            due = started[i];
            started[i] = NULL;
        }
    }
    pthread_mutex_unlock(&world);
    if (due)
        due->fire(due);
    return due != NULL;
}

static void pass(int64_t ms)
{
    now_ms += ms;
    while (fire_one())
        ;
}

void db_submit_call(struct db *d, struct call_item *item)
{
    (void)d;
    size_t i = 0;
    pthread_mutex_lock(&world);
    for (; asked[i]; i++)
        assert_ptr_not_equal(asked[i], item);
    assert_true(i < COUNT_OF(asked) - 1);
    assert_null(item->text);
    item->err = (struct err){.kind = ERR_NONE};
    asked[i] = item;
    pthread_mutex_unlock(&world);
}

static size_t calls(void)
{
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        count += asked[i] != NULL;
    return count;
}

/* Its parameters, as the function has them. */
enum { KEY, ADDRESS, TURNS, AHEAD };

static const char *told(size_t call, size_t param)
{
    assert_non_null(asked[call]);
    assert_int_equal(asked[call]->params, AHEAD + 1);
    return asked[call]->param[param].data;
}

static int number(const struct call_item *item, size_t param)
{
    return atoi(item->param[param].data);
}

static void assert_told(int turns, int ahead)
{
    assert_non_null(asked[0]);
    assert_int_equal(number(asked[0], TURNS), turns);
    assert_int_equal(number(asked[0], AHEAD), ahead);
}

static void finish(struct call_item *item, enum err_kind kind, const char *text)
{
    if (kind != ERR_NONE)
        err_set(&item->err, kind, "%s", "as told");
    item->text = mem_text(text);
    item->text_len = text ? strlen(text) : 0;
    item->done(item);
}

static struct call_item *take_call(size_t call)
{
    pthread_mutex_lock(&world);
    struct call_item *item = asked[call];
    asked[call] = NULL;
    pthread_mutex_unlock(&world);
    return item;
}

static void answer(size_t call, enum err_kind kind, const char *text)
{
    struct call_item *item = take_call(call);
    assert_non_null(item);
    finish(item, kind, text);
}

/* ---- those who wait ---------------------------------------------------------------------------- */

struct guest {
    struct meter_place place;
    int granted, paid, refused;
    enum err_kind why;
    unsigned retry_after_ms;
};

static void on_granted(struct meter_place *p, bool is_paid)
{
    struct guest *g = CONTAINER_OF(p, struct guest, place);
    g->granted++;
    g->paid += is_paid;
}

static void on_refused(struct meter_place *p, const struct err *why)
{
    struct guest *g = CONTAINER_OF(p, struct guest, place);
    g->refused++;
    g->why = why->kind;
    g->retry_after_ms = why->retry_after_ms;
}

static void take(struct meter *m, struct guest *g, uint8_t caller, int64_t deadline_ms)
{
    const struct hash name = {{caller}};
    const struct meter_ask ask = {
        .name = &name, .address = "192.0.2.1", .now_ms = now_ms, .deadline_ms = deadline_ms};
    *g = (struct guest){.place = {.granted = on_granted, .refused = on_refused}};
    meter_take(m, &g->place, &ask);
}

static void open_meter(struct meter *m)
{
    memset(started, 0, sizeof started);
    memset(asked, 0, sizeof asked);
    now_ms = BEGIN_MS;
    meter_init(m, NULL, NULL);
}

/* Nobody comes any more: all is over, and nothing is asked for. */
static void close_meter(struct meter *m)
{
    pass(METER_SPAN_MS);
    pass(METER_SPAN_MS);
    pass(METER_SPAN_MS);
    assert_int_equal(calls(), 0);
    assert_int_equal(m->callers.count, 0);
    for (size_t i = 0; i < COUNT_OF(started); i++)
        assert_null(started[i]);
    meter_fini(m);
}

#define FAR (now_ms + 500)

static void those_who_wait_are_asked_for_together(void **state)
{
    (void)state;
    struct meter m;
    struct guest g[6];
    open_meter(&m);
    take(&m, &g[0], 1, BEGIN_MS + 500);
    assert_int_equal(calls(), 1);
    assert_null(told(0, KEY));
    assert_string_equal(told(0, ADDRESS), "192.0.2.1");
    assert_told(1, 0);
    assert_int_equal(asked[0]->deadline_ms, BEGIN_MS + 500);
    for (int i = 1; i < 5; i++)
        take(&m, &g[i], 1, BEGIN_MS + 500 + i); /* while the first is on its way */
    take(&m, &g[5], 2, BEGIN_MS + 900);         /* another caller does not wait for it */
    assert_int_equal(calls(), 2);
    answer(0, ERR_NONE, "{1,0,0}");
    assert_int_equal(g[0].granted, 1);
    assert_int_equal(g[0].paid, 1);
    assert_int_equal(calls(), 2);
    assert_told(4, 0);
    assert_int_equal(asked[0]->deadline_ms, BEGIN_MS + 501); /* of the first of them */
    answer(0, ERR_NONE, "{3,700,0}");
    for (int i = 1; i < 4; i++)
        assert_int_equal(g[i].granted + g[i].paid, 2);
    assert_int_equal(g[4].refused, 1);
    assert_int_equal(g[4].why, ERR_RATE_LIMITED);
    assert_int_equal(g[4].retry_after_ms, 700);
    answer(1, ERR_NONE, "{1,0,0}");
    assert_int_equal(g[5].granted, 1);
    close_meter(&m);
}

static void with_his_key(void **state)
{
    (void)state;
    struct meter m;
    struct guest g = {.place = {.granted = on_granted, .refused = on_refused}};
    const struct hash name = {{1}}, key_hash = {{0xab}};
    const struct meter_ask ask = {
        .name = &name, .key_hash = &key_hash, .address = "", .now_ms = BEGIN_MS};
    open_meter(&m);
    meter_take(&m, &g.place, &ask);
    assert_memory_equal(told(0, KEY), "\\xab00", 6);
    assert_int_equal(strlen(told(0, KEY)), 2 + 2 * HASH_BYTES);
    answer(0, ERR_NONE, "{1,0,0}");
    close_meter(&m);
}

static void what_is_no_limit_costs_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {NULL, "", "{1}", "{1,0}", "nonsense"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct meter m;
        struct guest g;
        open_meter(&m);
        take(&m, &g, 1, FAR);
        answer(0, ERR_NONE, texts[i]);
        assert_int_equal(g.granted, 1);
        assert_int_equal(g.paid, 0); /* accept_turns will say */
        close_meter(&m);
    }
}

static void a_failure_is_everybodys(void **state)
{
    (void)state;
    struct meter m;
    struct guest g[3];
    open_meter(&m);
    take(&m, &g[0], 1, FAR);
    take(&m, &g[1], 1, FAR);
    take(&m, &g[2], 1, FAR);
    answer(0, ERR_DB_DOWN, NULL);
    answer(0, ERR_DB_DOWN, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(g[i].refused, 1);
        assert_int_equal(g[i].why, ERR_DB_DOWN);
        assert_int_equal(g[i].granted, 0);
    }
    take(&m, &g[0], 1, FAR); /* and is over */
    answer(0, ERR_NONE, "{1,0,0}");
    assert_int_equal(g[0].paid, 1);
    close_meter(&m);
}

static void no_more_than_a_thousand_in_one_call(void **state)
{
    (void)state;
    static struct guest g[2502];
    struct meter m;
    open_meter(&m);
    for (size_t i = 0; i < COUNT_OF(g); i++)
        take(&m, &g[i], 1, BEGIN_MS + 500 + (int64_t)i);
    answer(0, ERR_NONE, "{1,0,0}");
    assert_told(1000, 0);
    assert_int_equal(asked[0]->deadline_ms, BEGIN_MS + 501);
    answer(0, ERR_NONE, "{1000,0,0}");
    assert_told(1000, 0);
    assert_int_equal(asked[0]->deadline_ms, BEGIN_MS + 1501); /* not of those that were told */
    pass(METER_SPAN_MS);
    answer(0, ERR_NONE, "{0,90,0}");
    assert_told(501, 1000); /* nor more ahead */
    answer(0, ERR_NONE, "{501,0,0}");
    for (size_t i = 0; i < COUNT_OF(g); i++) {
        assert_int_equal(g[i].granted + g[i].refused, 1);
        assert_int_equal(g[i].refused, i > 1000 && i <= 2000);
    }
    close_meter(&m);
}

/* ---- ahead ------------------------------------------------------------------------------------- */

/* Six came in the span before, and the first of this one is on its way, with six ahead. */
static void begin_ahead(struct meter *m, struct guest *g)
{
    open_meter(m);
    for (int i = 0; i < 6; i++) {
        take(m, g, 1, FAR);
        assert_told(1, 0);
        answer(0, ERR_NONE, "{1,0,0}");
    }
    pass(METER_SPAN_MS);
    take(m, g, 1, FAR);
    assert_told(1, 6);
}

static void who_comes_next_is_served_at_once(void **state)
{
    (void)state;
    struct meter m;
    struct guest g[5];
    begin_ahead(&m, &g[0]);
    take(&m, &g[1], 1, FAR); /* while they are on their way */
    answer(0, ERR_NONE, "{1,0,3}");
    assert_int_equal(g[0].paid + g[1].paid, 2);
    assert_int_equal(calls(), 0);
    take(&m, &g[2], 1, FAR);
    take(&m, &g[3], 1, FAR);
    assert_int_equal(g[2].paid + g[3].paid, 2);
    assert_int_equal(calls(), 0);
    take(&m, &g[4], 2, FAR); /* somebody else is not */
    assert_int_equal(g[4].granted, 0);
    answer(0, ERR_NONE, "{1,0,0}");
    take(&m, &g[4], 1, FAR); /* nor who finds none left */
    assert_told(1, 6);
    answer(0, ERR_NONE, "{0,50,0}");
    assert_int_equal(g[4].refused, 1);
    close_meter(&m);
}

static void more_wait_than_were_expected(void **state)
{
    (void)state;
    struct meter m;
    struct guest g[5];
    begin_ahead(&m, &g[0]);
    for (int i = 1; i < 5; i++)
        take(&m, &g[i], 1, FAR + i);
    answer(0, ERR_NONE, "{1,0,2}");
    assert_int_equal(g[1].paid + g[2].paid, 2);
    assert_told(2, 6);
    assert_int_equal(asked[0]->deadline_ms, FAR + 3); /* of those who are left */
    answer(0, ERR_NONE, "{2,0,0}");
    assert_int_equal(g[3].paid + g[4].paid, 2);
    close_meter(&m);
}

static void what_nobody_came_for_is_forgotten(void **state)
{
    (void)state;
    struct meter m;
    struct guest g[2];
    begin_ahead(&m, &g[0]);
    answer(0, ERR_NONE, "{1,0,4}");
    pass(METER_SPAN_MS - 1);
    take(&m, &g[1], 1, FAR);
    assert_int_equal(g[1].paid, 1);
    pass(1);
    take(&m, &g[1], 1, FAR); /* the three that are left may not be used any more */
    assert_int_equal(g[1].paid, 0);
    answer(0, ERR_NONE, "{1,0,0}");
    for (int i = 0; i < 3; i++)
        pass(METER_SPAN_MS);
    assert_int_equal(m.callers.count, 0);
    take(&m, &g[1], 1, FAR);
    assert_told(1, 0);
    answer(0, ERR_NONE, "{1,0,0}");
    close_meter(&m);
}

static void his_tier_is_unlimited_from_now_on(void **state)
{
    (void)state;
    struct meter m;
    struct guest g[3];
    begin_ahead(&m, &g[0]);
    take(&m, &g[1], 1, FAR);
    answer(0, ERR_NONE, NULL);
    assert_int_equal(g[0].granted, 1);
    assert_int_equal(g[0].paid, 0);
    answer(0, ERR_NONE, NULL);
    assert_int_equal(g[1].granted - g[1].paid, 1);
    close_meter(&m);
    begin_ahead(&m, &g[0]);
    answer(0, ERR_NONE, "{1,0,1}");
    take(&m, &g[1], 1, FAR);
    take(&m, &g[2], 1, FAR);
    assert_int_equal(g[1].paid, 1); /* it was */
    answer(0, ERR_NONE, NULL);
    assert_int_equal(g[2].granted - g[2].paid, 1);
    close_meter(&m);
}

static void how_many_are_expected(void **state)
{
    (void)state;
    struct meter m;
    struct guest g;
    begin_ahead(&m, &g); /* one in this span */
    answer(0, ERR_NONE, "{1,0,0}");
    now_ms -=
        1; /* a thread that looked at the clock before the span began: the sixth is not forgotten */
    take(&m, &g, 1, FAR);
    assert_told(1, 6);
    answer(0, ERR_NONE, "{1,0,0}");
    now_ms += 1;
    take(&m, &g, 1, FAR);
    assert_told(1, 6);
    answer(0, ERR_NONE, "{1,0,0}");
    pass(METER_SPAN_MS);
    take(&m, &g, 1, FAR);
    assert_told(1, 3);
    pass(2 * METER_SPAN_MS); /* nobody came while it was on its way */
    struct guest late;
    take(&m, &late, 1, FAR);
    answer(0, ERR_NONE, "{1,0,0}");
    assert_told(1, 0);
    answer(0, ERR_NONE, "{1,0,0}");
    close_meter(&m);
}

static void forgotten_at_the_end(void **state)
{
    (void)state;
    struct meter m;
    struct guest g[3];
    open_meter(&m);
    take(&m, &g[0], 1, FAR);
    take(&m, &g[1], 1, FAR);
    take(&m, &g[2], 2, FAR);
    answer(1, ERR_NONE, "{1,0,5}"); /* has a timer, and something ahead */
    asked[0] = NULL;                /* the database was closed with it */
    meter_fini(&m);
    assert_int_equal(g[0].granted + g[0].refused + g[1].granted + g[1].refused, 0);
}

/* ---- a walk ------------------------------------------------------------------------------------ */

#define WALKERS 3000

static uint32_t seed;

static uint32_t dice(uint32_t sides)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % sides;
}

static struct meter walked;
static struct guest walkers[WALKERS];
static int came;
/* Of the database: turns taken; of them, when a reply was lost; of them, for those expected. */
static int taken, lost, taken_ahead;
static int room;

static void someone_comes(void);

static void walk_granted(struct meter_place *p, bool is_paid)
{
    on_granted(p, is_paid);
    if (dice(4) == 0)
        someone_comes();
}

static void walk_refused(struct meter_place *p, const struct err *why)
{
    on_refused(p, why);
    if (dice(4) == 0)
        someone_comes();
}

static void someone_comes(void)
{
    if (came == WALKERS)
        return;
    struct guest *g = &walkers[came++];
    const struct hash name = {{(uint8_t)dice(3)}};
    const struct meter_ask ask = {.name = &name,
                                  .address = "",
                                  .now_ms = now_ms - dice(2),
                                  .deadline_ms = now_ms + dice(300)};
    *g = (struct guest){.place = {.granted = walk_granted, .refused = walk_refused}};
    meter_take(&walked, &g->place, &ask);
}

/* As take_quota_for does it. */
static int execute(const struct call_item *item, char *text, size_t size)
{
    int turns = number(item, TURNS), ahead = number(item, AHEAD);
    assert_true(turns > 0);
    int spare = room > turns ? (room - turns) / 20 : 0;
    int granted = turns < room ? turns : room;
    ahead = ahead < spare ? ahead : spare;
    room -= granted + ahead;
    taken += granted + ahead;
    taken_ahead += ahead;
    snprintf(text, size, "{%d,%d,%d}", granted, granted < turns ? 10 : 0, ahead);
    return granted + ahead;
}

static void something_is_answered(void)
{
    char text[64];
    size_t call = dice(COUNT_OF(asked));
    if (!asked[call])
        return;
    struct call_item *item = take_call(call);
    switch (dice(12)) {
    case 0: /* its reply is lost: repeated */
        lost += execute(item, text, sizeof text);
        break;
    case 1: /* ... and nothing is heard until its deadline */
        lost += execute(item, text, sizeof text);
        finish(item, ERR_DB_DOWN, NULL);
        return;
    case 2:
        finish(item, ERR_INTERNAL, NULL);
        return;
    case 3: /* not limited */
        finish(item, ERR_NONE, NULL);
        return;
    }
    (void)execute(item, text, sizeof text);
    finish(item, ERR_NONE, text);
}

static int paid(void)
{
    int sum = 0;
    for (int i = 0; i < came; i++) {
        assert_true(walkers[i].granted + walkers[i].refused <= 1);
        sum += walkers[i].paid;
    }
    return sum;
}

static void a_walk(void **state)
{
    (void)state;
    int all_lost = 0, all_paid = 0, all_idle = 0;
    taken_ahead = 0;
    for (uint32_t walk = 1; walk <= 40; walk++) {
        seed = walk * 2654435761U;
        open_meter(&walked);
        came = taken = lost = 0;
        room = 100 << dice(8);
        uint32_t pace = 2 + dice(60);
        while (came < WALKERS) {
            uint32_t what = dice(pace + 4);
            if (what == 0)
                now_ms += dice(60);
            else if (what == 1)
                (void)fire_one();
            else if (what < 4)
                something_is_answered();
            else
                someone_comes();
            if (what < 4 && dice(8) == 0)
                assert_true(paid() + lost <= taken);
        }
        while (calls() > 0 || walked.callers.count > 0) {
            pass(1);
            something_is_answered();
        }
        for (int i = 0; i < came; i++)
            assert_int_equal(walkers[i].granted + walkers[i].refused, 1);
        assert_true(paid() + lost <= taken);
        all_idle += taken - lost - paid();
        all_lost += lost;
        all_paid += paid();
        meter_fini(&walked);
    }
    assert_true(all_lost > 100 && all_paid > 10000 && taken_ahead > 1000);
    assert_true(all_idle < taken_ahead); /* no more is left over than was expected */
}

/* ---- many threads ------------------------------------------------------------------------------ */

#define CROWD 4000
#define COMERS 3

static struct guest crowd[COMERS][CROWD];
static atomic_int coming;

static void *comers_run(void *arg)
{
    struct guest *mine = arg;
    for (int i = 0; i < CROWD; i++) {
        take(&walked, &mine[i], (uint8_t)(i % 2), now_ms + 100000);
        if (i % 16 == 0) {
            now_ms += 1;
            sched_yield();
        }
    }
    coming--;
    return NULL;
}

static atomic_int crowd_taken, crowd_ahead;

static void *lane_run(void *arg)
{
    char text[64];
    size_t from = *(size_t *)arg;
    while (coming > 0) {
        for (size_t i = 0; i < COUNT_OF(asked); i++) {
            struct call_item *item = take_call((from + i) % COUNT_OF(asked));
            if (!item)
                continue;
            int turns = number(item, TURNS), ahead = number(item, AHEAD);
            crowd_taken += turns + ahead;
            crowd_ahead += ahead;
            snprintf(text, sizeof text, "{%d,0,%d}", turns, ahead);
            finish(item, ERR_NONE, text);
        }
        sched_yield();
    }
    return NULL;
}

static void *timers_run(void *arg)
{
    (void)arg;
    while (coming > 0) {
        (void)fire_one();
        now_ms += 1;
        sched_yield();
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    pthread_t comers[COMERS], others[3];
    size_t from[2] = {0, 3};
    open_meter(&walked);
    coming = COMERS;
    crowd_taken = crowd_ahead = 0;
    pthread_create(&others[0], NULL, lane_run, &from[0]);
    pthread_create(&others[1], NULL, lane_run, &from[1]);
    pthread_create(&others[2], NULL, timers_run, NULL);
    for (int i = 0; i < COMERS; i++)
        pthread_create(&comers[i], NULL, comers_run, crowd[i]);
    for (int i = 0; i < COMERS; i++)
        pthread_join(comers[i], NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(others[i], NULL);
    size_t first = 0;
    while (calls() > 0 || walked.callers.count > 0) {
        coming = 1;
        pthread_create(&others[0], NULL, lane_run, &first);
        pass(1);
        coming = 0;
        pthread_join(others[0], NULL);
    }
    for (int i = 0; i < COMERS; i++)
        for (int k = 0; k < CROWD; k++)
            assert_int_equal(crowd[i][k].paid, 1);
    assert_true(crowd_taken >= COMERS * CROWD && crowd_taken - crowd_ahead <= COMERS * CROWD);
    meter_fini(&walked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_who_wait_are_asked_for_together),
        cmocka_unit_test(with_his_key),
        cmocka_unit_test(what_is_no_limit_costs_nothing),
        cmocka_unit_test(a_failure_is_everybodys),
        cmocka_unit_test(no_more_than_a_thousand_in_one_call),
        cmocka_unit_test(who_comes_next_is_served_at_once),
        cmocka_unit_test(more_wait_than_were_expected),
        cmocka_unit_test(what_nobody_came_for_is_forgotten),
        cmocka_unit_test(his_tier_is_unlimited_from_now_on),
        cmocka_unit_test(how_many_are_expected),
        cmocka_unit_test(forgotten_at_the_end),
        cmocka_unit_test(a_walk),
        cmocka_unit_test(many_threads),
    };
    return RUN(tests);
}
