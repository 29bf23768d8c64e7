/* Those of one caller who wait are asked for together; each is told once, as many granted as there is quota for, and nobody
 * more than was taken, be it for him or for those expected. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/meter.h"

/* ---- a database that answers when it is told to ------------------------------------------------ */

static struct call_item *asked[8];

void db_submit_call(struct db *d, struct call_item *item)
{
    (void)d;
    size_t i = 0;
    while (asked[i])
        i++;
    assert_true(i < COUNT_OF(asked) - 1);
    item->err = (struct err){.kind = ERR_NONE};
    asked[i] = item;
}

static size_t calls(void)
{
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        count += asked[i] != NULL;
    return count;
}

static const char *told(size_t call, size_t param)
{
    assert_non_null(asked[call]);
    return asked[call]->param[param].data;
}

static void answer(size_t call, enum err_kind kind, const char *text)
{
    struct call_item *item = asked[call];
    assert_non_null(item);
    asked[call] = NULL;
    if (kind != ERR_NONE)
        err_set(&item->err, kind, "%s", "as told");
    item->text = mem_text(text);
    item->text_len = text ? strlen(text) : 0;
    item->done(item);
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

static void take_at(struct meter *m, struct guest *g, uint8_t caller, int64_t now_ms)
{
    const struct hash name = {{caller}};
    const struct meter_ask ask = {
        .name = &name, .address = "192.0.2.1", .now_ms = now_ms, .deadline_ms = 500};
    *g = (struct guest){.place = {.granted = on_granted, .refused = on_refused}};
    meter_take(m, &g->place, &ask);
}

static void take(struct meter *m, struct guest *g, uint8_t caller, int64_t deadline_ms)
{
    const struct hash name = {{caller}};
    const struct meter_ask ask = {.name = &name,
                                  .address = "192.0.2.1",
                                  .now_ms = clock_mono_ms(),
                                  .deadline_ms = deadline_ms};
    *g = (struct guest){.place = {.granted = on_granted, .refused = on_refused}};
    meter_take(m, &g->place, &ask);
}

static struct timers *timers;

static void open_meter(struct meter *m)
{
    timers = timers_new("meter-test");
    meter_init(m, NULL, timers);
}

static void close_meter(struct meter *m)
{
    timers_free(timers);
    meter_fini(m);
}

/* Nobody comes any more. */
static void wait_until_forgotten(struct meter *m)
{
    int64_t until_ms = clock_mono_ms() + 20000;
    size_t count = 1;
    while (count > 0 && clock_mono_ms() < until_ms) {
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        pthread_mutex_lock(&m->lock);
        count = m->callers.count;
        pthread_mutex_unlock(&m->lock);
    }
    assert_int_equal(count, 0);
}

static void those_who_wait_are_asked_for_together(void **state)
{
    (void)state;
    struct meter m;
    struct guest g[6];
    open_meter(&m);
    take(&m, &g[0], 1, 500);
    assert_int_equal(calls(), 1);
    assert_null(told(0, 0));
    assert_string_equal(told(0, 1), "192.0.2.1");
    assert_string_equal(told(0, 2), "1");
    assert_int_equal(asked[0]->deadline_ms, 500);
    for (int i = 1; i < 5; i++)
        take(&m, &g[i], 1, 500 + i); /* while the first is on its way */
    take(&m, &g[5], 2, 900);         /* another caller does not wait for it */
    assert_int_equal(calls(), 2);
    answer(0, ERR_NONE, "{1,0,0}");
    assert_int_equal(g[0].granted, 1);
    assert_int_equal(g[0].paid, 1);
    assert_int_equal(calls(), 2);
    assert_string_equal(told(0, 2), "4");
    assert_int_equal(asked[0]->deadline_ms, 501); /* the nearest of theirs */
    answer(0, ERR_NONE, "{3,700,0}");
    for (int i = 1; i < 4; i++)
        assert_int_equal(g[i].granted + g[i].paid, 2);
    assert_int_equal(g[4].refused, 1);
    assert_int_equal(g[4].why, ERR_RATE_LIMITED);
    assert_int_equal(g[4].retry_after_ms, 700);
    answer(1, ERR_NONE, "{1,0,0}");
    assert_int_equal(g[5].granted, 1);
    wait_until_forgotten(&m);
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
        take(&m, &g, 1, 500);
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
    take(&m, &g[0], 1, 500);
    take(&m, &g[1], 1, 500);
    take(&m, &g[2], 1, 500);
    answer(0, ERR_DB_DOWN, NULL);
    answer(0, ERR_DB_DOWN, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(g[i].refused, 1);
        assert_int_equal(g[i].why, ERR_DB_DOWN);
        assert_int_equal(g[i].granted, 0);
    }
    close_meter(&m);
}

static void no_more_than_a_thousand_in_one_call(void **state)
{
    (void)state;
    static struct guest g[2502];
    struct meter m;
    open_meter(&m);
    for (size_t i = 0; i < COUNT_OF(g); i++)
        take(&m, &g[i], 1, 500);
    answer(0, ERR_NONE, "{1,0,0}");
    assert_string_equal(told(0, 2), "1000");
    answer(0, ERR_NONE, "{1000,0,0}");
    assert_string_equal(told(0, 2), "1000");
    answer(0, ERR_NONE, "{0,90,0}");
    assert_string_equal(told(0, 2), "501");
    answer(0, ERR_NONE, "{501,0,0}");
    assert_int_equal(calls(), 0);
    for (size_t i = 0; i < COUNT_OF(g); i++) {
        assert_int_equal(g[i].granted + g[i].refused, 1);
        assert_int_equal(g[i].refused, i > 1000 && i <= 2000);
    }
    close_meter(&m);
}

/* As many as came in the tenth of a second before are paid ahead; they need not wait, nor be asked for. */
static void those_expected_are_paid_ahead(void **state)
{
    (void)state;
    static struct guest g[40];
    struct meter m;
    int64_t now_ms = (clock_mono_ms() / METER_SPAN_MS + 1) * METER_SPAN_MS;
    open_meter(&m);
    for (int i = 0; i < 10; i++)
        take_at(&m, &g[i], 1, now_ms);
    assert_string_equal(told(0, 2), "1");
    assert_string_equal(told(0, 3), "0"); /* nothing is known of him yet */
    answer(0, ERR_NONE, "{1,0,0}");
    answer(0, ERR_NONE, "{9,0,0}");
    now_ms += METER_SPAN_MS;
    take_at(&m, &g[10], 1, now_ms);
    assert_string_equal(told(0, 2), "1");
    assert_string_equal(told(0, 3), "10");
    for (int i = 11; i < 14; i++)
        take_at(&m, &g[i], 1, now_ms); /* while the call is on its way */
    assert_int_equal(g[11].granted, 0);
    answer(0, ERR_NONE, "{1,0,5}"); /* of ten expected, five are granted */
    for (int i = 10; i < 14; i++)
        assert_int_equal(g[i].granted + g[i].paid, 2);
    assert_int_equal(calls(), 0);
    take_at(&m, &g[14], 1, now_ms);
    take_at(&m, &g[15], 1, now_ms);
    assert_int_equal(g[14].granted + g[15].paid, 2); /* at once */
    assert_int_equal(calls(), 0);
    take_at(&m, &g[16], 1, now_ms); /* the five are used up */
    assert_int_equal(g[16].granted, 0);
    assert_string_equal(told(0, 2), "1");
    answer(0, ERR_NONE, "{0,300,0}");
    assert_int_equal(g[16].refused, 1);
    take_at(&m, &g[17], 2, now_ms); /* what is another's does not count */
    assert_int_equal(g[17].granted, 0);
    answer(0, ERR_NONE, "{1,0,0}");
    wait_until_forgotten(&m);
    take_at(&m, &g[18], 1, now_ms + 100 * METER_SPAN_MS);
    assert_string_equal(told(0, 3), "0");
    answer(0, ERR_NONE, "{1,0,0}");
    close_meter(&m);
}

/* Whatever comes, and whatever the database says: nobody is granted more than it said. */
static void no_more_than_was_taken(void **state)
{
    (void)state;
    static struct guest g[5000];
    struct meter m;
    int64_t now_ms = clock_mono_ms(), taken = 0;
    open_meter(&m);
    srand(7);
    for (size_t i = 0; i < COUNT_OF(g); i++) {
        now_ms += rand() % 20;
        take_at(&m, &g[i], 1, now_ms);
        while (calls() > 0 && rand() % 3 == 0) {
            int turns = atoi(told(0, 2)), ahead = atoi(told(0, 3));
            int granted = rand() % (turns + 1);
            int more = granted == turns && ahead > 0 ? rand() % (ahead + 1) : 0;
            char text[64];
            snprintf(text, sizeof text, "{%d,10,%d}", granted, more);
            taken += granted + more;
            answer(0, rand() % 20 == 0 ? ERR_DB_DOWN : ERR_NONE, text);
        }
        int64_t paid = 0;
        for (size_t k = 0; k <= i; k++)
            paid += g[k].paid;
        assert_true(paid <= taken);
    }
    while (calls() > 0)
        answer(0, ERR_NONE, "{0,10,0}");
    for (size_t i = 0; i < COUNT_OF(g); i++)
        assert_int_equal(g[i].granted + g[i].refused, 1);
    close_meter(&m);
}

static void forgotten_at_the_end(void **state)
{
    (void)state;
    struct meter m;
    struct guest g[2];
    open_meter(&m);
    take(&m, &g[0], 1, 500);
    take(&m, &g[1], 1, 500);
    asked[0] = NULL; /* the database was closed with it */
    close_meter(&m);
    assert_int_equal(g[0].granted + g[0].refused + g[1].granted + g[1].refused, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_who_wait_are_asked_for_together),
        cmocka_unit_test(what_is_no_limit_costs_nothing),
        cmocka_unit_test(a_failure_is_everybodys),
        cmocka_unit_test(no_more_than_a_thousand_in_one_call),
        cmocka_unit_test(those_expected_are_paid_ahead),
        cmocka_unit_test(no_more_than_was_taken),
        cmocka_unit_test(forgotten_at_the_end),
    };
    return RUN(tests);
}
