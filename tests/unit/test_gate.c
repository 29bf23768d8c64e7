/* The gate never lets in more than may be in, lets callers in by turns and each one's own in order, forgets who waited
 * too long, and says beforehand who would. */
#include "unit.h"

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "core/gate.h"

#define FAR_MS 60000

struct guest {
    struct gate_place place;
    atomic_int admitted, expired;
    int order;                    /* in which it was let in */
    uint8_t caller;               /* of whom it is */
    void (*then)(struct guest *); /* what it does when it was let in, or turned away */
};

static atomic_int admissions;

static void on_admitted(struct gate_place *p)
{
    struct guest *g = CONTAINER_OF(p, struct guest, place);
    g->order = atomic_fetch_add(&admissions, 1);
    void (*then)(struct guest *) = g->then;
    atomic_fetch_add(&g->admitted, 1); /* whoever waits for it may have it from now on */
    if (then)
        then(g);
}

static void on_expired(struct gate_place *p)
{
    struct guest *g = CONTAINER_OF(p, struct guest, place);
    void (*then)(struct guest *) = g->then;
    atomic_fetch_add(&g->expired, 1);
    if (then)
        then(g);
}

static bool arrive(struct gate *g, struct guest *guest, int64_t *wait_ms)
{
    const struct hash caller = {{guest->caller}};
    guest->place.admitted = on_admitted;
    guest->place.expired = on_expired;
    return gate_arrive(g, &guest->place, &caller, wait_ms);
}

static void come(struct gate *g, struct guest *guest)
{
    int64_t unused;
    if (!guest->place.rota.caller)
        assert_true(arrive(g, guest, &unused));
    /* A deadline no estimate reaches: what is tested by this is the entry. */
    assert_true(gate_come(g, &guest->place, INT64_MAX / 2, &unused));
}

static bool enter(struct gate *g, struct guest *guest, int64_t wait_ms)
{
    come(g, guest);
    return gate_enter(g, &guest->place, clock_mono_ms() + wait_ms);
}

static void leave(struct gate *g, struct guest *guest)
{
    gate_leave(g, &guest->place);
    gate_depart(g, &guest->place);
}

static void wait_for(const atomic_int *value, int wanted)
{
    int64_t until = clock_mono_ms() + 5000;
    while (atomic_load(value) != wanted && clock_mono_ms() < until)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(atomic_load(value), wanted);
}

struct fixture {
    struct timers *timers;
    struct gate gate;
};

static void open_gate_with(struct fixture *f, struct gate_options options)
{
    atomic_store(&admissions, 0);
    f->timers = timers_new("gate-test");
    options.timers = f->timers;
    gate_init(&f->gate, &options);
}

static void open_gate(struct fixture *f, int permits)
{
    open_gate_with(f, (struct gate_options){.permits = permits, .most = 100});
}

static void close_gate(struct fixture *f)
{
    timers_free(f->timers);
    gate_fini(&f->gate);
}

/* Everybody has left, and nothing was lost or won. */
static void assert_empty(struct gate *g, int left)
{
    int value;
    assert_int_equal(g->in_use, 0);
    for (size_t i = 0; i < GATE_CLASSES; i++) {
        assert_int_equal(g->rotas[i].held + g->rotas[i].waiting + g->rotas[i].coming, 0);
        assert_int_equal(g->rotas[i].round.count + g->rotas[i].awake.count, 0);
    }
    assert_int_equal(sem_getvalue(&g->free, &value), 0);
    assert_int_equal(value, left);
    assert_int_equal(g->posted, left);
    assert_int_equal(metrics_get(METRIC_GATE_IN_USE, 0), 0);
    assert_int_equal(metrics_get(METRIC_GATE_WAITING, 0), 0);
}

static void as_many_as_permits(void **state)
{
    (void)state;
    struct fixture f;
    struct guest guests[3] = {0};
    open_gate(&f, 2);
    assert_true(enter(&f.gate, &guests[0], FAR_MS));
    assert_true(enter(&f.gate, &guests[1], FAR_MS));
    assert_false(enter(&f.gate, &guests[2], FAR_MS));
    assert_int_equal(f.gate.in_use, 2);
    gate_leave(&f.gate, &guests[0].place);
    assert_int_equal(guests[2].admitted, 1);
    assert_int_equal(f.gate.in_use, 2);
    gate_leave(&f.gate, &guests[1].place);
    gate_leave(&f.gate, &guests[2].place);
    assert_int_equal(f.gate.in_use, 0);
    assert_int_equal(f.gate.high_water, 2);
    close_gate(&f);
}

static void first_come_first_served(void **state)
{
    (void)state;
    struct fixture f;
    struct guest first = {0}, guests[5] = {0};
    open_gate(&f, 1);
    assert_true(enter(&f.gate, &first, FAR_MS));
    for (size_t i = 0; i < COUNT_OF(guests); i++)
        assert_false(enter(&f.gate, &guests[i], FAR_MS));
    for (size_t i = 0; i < COUNT_OF(guests); i++) {
        gate_leave(&f.gate, i == 0 ? &first.place : &guests[i - 1].place);
        assert_int_equal(guests[i].admitted, 1);
        assert_int_equal(guests[i].order, i);
    }
    gate_leave(&f.gate, &guests[4].place);
    close_gate(&f);
}

static void the_deadline_ends_the_wait(void **state)
{
    (void)state;
    struct fixture f;
    struct guest first = {0}, late = {0}, patient = {0};
    open_gate(&f, 1);
    assert_true(enter(&f.gate, &first, FAR_MS));
    assert_false(enter(&f.gate, &late, 10));
    assert_false(enter(&f.gate, &patient, FAR_MS));
    wait_for(&late.expired, 1);
    gate_leave(&f.gate, &first.place);
    assert_int_equal(late.admitted, 0);
    assert_int_equal(patient.admitted, 1);
    gate_leave(&f.gate, &patient.place);
    close_gate(&f);
}

static void closed_it_lets_nobody_in(void **state)
{
    (void)state;
    struct fixture f;
    struct guest inside = {0}, waiting[3] = {0}, late = {0};
    open_gate(&f, 1);
    assert_true(enter(&f.gate, &inside, FAR_MS));
    for (size_t i = 0; i < COUNT_OF(waiting); i++)
        assert_false(enter(&f.gate, &waiting[i], FAR_MS));
    gate_close(&f.gate, GATE_LIVE);
    for (size_t i = 0; i < COUNT_OF(waiting); i++)
        assert_int_equal(waiting[i].expired, 1);
    assert_false(enter(&f.gate, &late, FAR_MS));
    assert_int_equal(late.expired, 1);
    gate_leave(&f.gate, &inside.place);
    assert_int_equal(waiting[0].admitted + late.admitted, 0);
    assert_int_equal(f.gate.in_use, 0);
    close_gate(&f);
}

/* ---- limits that move ------------------------------------------------------------------------ */

static int sum_of_admitted(const struct guest *guests, size_t count)
{
    int sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += atomic_load(&guests[i].admitted);
    return sum;
}

static void without_a_lease_nobody_comes_in(void **state)
{
    (void)state;
    struct fixture f;
    struct guest guests[5] = {0};
    int64_t far_ms = clock_mono_ms() + FAR_MS;
    open_gate_with(&f, (struct gate_options){.permits = 4, .most = 100, .has_leases = true});
    for (size_t i = 0; i < COUNT_OF(guests); i++)
        assert_false(enter(&f.gate, &guests[i], FAR_MS));
    gate_lease(&f.gate, 2, far_ms);
    assert_int_equal(sum_of_admitted(guests, 5), 2);
    assert_int_equal(guests[0].admitted + guests[1].admitted, 2);
    gate_lease(&f.gate, 1000, far_ms); /* its own cap holds all the same */
    assert_int_equal(sum_of_admitted(guests, 5), 4);
    gate_lease(&f.gate, -3, far_ms); /* nonsense is none */
    for (size_t i = 0; i < 4; i++)
        leave(&f.gate, &guests[i]);
    assert_int_equal(guests[4].admitted, 0);
    gate_lease(&f.gate, 1, far_ms);
    assert_int_equal(guests[4].admitted, 1);
    leave(&f.gate, &guests[4]);
    assert_empty(&f.gate, 1);
    close_gate(&f);
}

static void a_lease_that_is_over_lets_nobody_in(void **state)
{
    (void)state;
    struct fixture f;
    struct guest early = {0}, late[2] = {0};
    open_gate_with(&f, (struct gate_options){.permits = 4, .most = 100, .has_leases = true});
    gate_lease(&f.gate, 2, clock_mono_ms() + FAR_MS);
    assert_true(enter(&f.gate, &early, FAR_MS));
    gate_lease(&f.gate, 2,
               clock_mono_ms()); /* over as it begins: a permit is free, and is not given */
    assert_false(enter(&f.gate, &late[0], FAR_MS));
    gate_leave(&f.gate, &early.place);
    assert_false(enter(&f.gate, &late[1], FAR_MS));
    gate_depart(&f.gate, &early.place);
    assert_int_equal(sum_of_admitted(late, 2), 0);
    gate_lease(&f.gate, 2, clock_mono_ms() + FAR_MS); /* as many as before, and they come in */
    assert_int_equal(sum_of_admitted(late, 2), 2);
    leave(&f.gate, &late[0]);
    leave(&f.gate, &late[1]);
    assert_empty(&f.gate, 2);
    close_gate(&f);
}

static void the_lowest_limit_holds(void **state)
{
    (void)state;
    struct fixture f;
    struct guest guests[8] = {0};
    int64_t far_ms = clock_mono_ms() + FAR_MS;
    open_gate(&f, 6);
    for (size_t i = 0; i < 6; i++)
        assert_true(enter(&f.gate, &guests[i], FAR_MS));
    assert_false(enter(&f.gate, &guests[6], FAR_MS));
    assert_false(enter(&f.gate, &guests[7], FAR_MS));
    gate_lease(&f.gate, 5, far_ms);
    gate_bear(&f.gate, 3);
    assert_int_equal(f.gate.in_use, 6); /* who is in stays in */
    for (size_t i = 0; i < 3; i++)
        leave(&f.gate, &guests[i]);
    assert_int_equal(f.gate.in_use, 3);
    assert_int_equal(guests[6].admitted, 0);
    leave(&f.gate, &guests[3]); /* below it: the next */
    assert_int_equal(guests[6].admitted, 1);
    assert_int_equal(guests[7].admitted, 0);
    gate_bear(&f.gate, 0);
    leave(&f.gate, &guests[4]);
    leave(&f.gate, &guests[5]);
    leave(&f.gate, &guests[6]);
    assert_int_equal(guests[7].admitted, 0);
    gate_lease(&f.gate, 0, far_ms);
    gate_bear(&f.gate, 100);
    assert_int_equal(guests[7].admitted, 0);
    gate_lease(&f.gate, 5, far_ms);
    assert_int_equal(guests[7].admitted, 1);
    leave(&f.gate, &guests[7]);
    assert_int_equal(metrics_get(METRIC_GATE_PERMITS, 0), 5);
    assert_empty(&f.gate, 5);
    close_gate(&f);
}

/* ---- who is next ----------------------------------------------------------------------------- */

static struct gate *open_for; /* of the callbacks below */
static struct guest *newcomer;

static void bring_newcomer(struct guest *g)
{
    g->then = NULL;
    assert_false(enter(open_for, newcomer, FAR_MS));
}

/* Four permits come at once, three wait: who enters while the first of them is let in is the last. */
static void nobody_overtakes(void **state)
{
    (void)state;
    struct fixture f;
    struct guest guests[3] = {0}, last = {0};
    open_gate(&f, 4);
    gate_bear(&f.gate, 0);
    for (size_t i = 0; i < COUNT_OF(guests); i++)
        assert_false(enter(&f.gate, &guests[i], FAR_MS));
    open_for = &f.gate;
    newcomer = &last;
    guests[0].then = bring_newcomer;
    gate_bear(&f.gate, 4);
    for (size_t i = 0; i < COUNT_OF(guests); i++)
        assert_int_equal(guests[i].order, i);
    assert_int_equal(last.admitted, 1);
    assert_int_equal(last.order, 3);
    for (size_t i = 0; i < COUNT_OF(guests); i++)
        leave(&f.gate, &guests[i]);
    leave(&f.gate, &last);
    assert_empty(&f.gate, 4);
    close_gate(&f);
}

#define MANY 1000

static void callers_take_turns(void **state)
{
    (void)state;
    struct fixture f;
    static struct guest many[MANY], first, inside;
    open_gate_with(&f, (struct gate_options){.permits = 1, .most = 10 * MANY});
    inside = first = (struct guest){.caller = 2};
    assert_true(enter(&f.gate, &inside, FAR_MS));
    for (size_t i = 0; i < MANY; i++) {
        many[i] = (struct guest){.caller = 1};
        assert_false(enter(&f.gate, &many[i], FAR_MS));
    }
    assert_false(enter(&f.gate, &first, FAR_MS));
    leave(&f.gate, &inside);
    assert_int_equal(many[0].admitted, 1);
    assert_int_equal(first.admitted, 0);
    leave(&f.gate, &many[0]);
    assert_int_equal(first.admitted, 1);
    leave(&f.gate, &first);
    for (size_t i = 1; i < MANY; i++) {
        assert_int_equal(many[i].admitted, 1);
        leave(&f.gate, &many[i]);
    }
    assert_empty(&f.gate, 1);
    close_gate(&f);
}

static void jobs_get_one_permit_of_five(void **state)
{
    (void)state;
    struct fixture f;
    struct guest inside = {0}, live[12] = {0}, jobs[4] = {0};
    struct guest *order[16];
    open_gate(&f, 1);
    assert_true(enter(&f.gate, &inside, FAR_MS));
    for (size_t i = 0; i < COUNT_OF(jobs); i++) {
        jobs[i].place.class = GATE_JOB;
        assert_false(enter(&f.gate, &jobs[i], FAR_MS));
    }
    for (size_t i = 0; i < COUNT_OF(live); i++)
        assert_false(enter(&f.gate, &live[i], FAR_MS));
    struct guest *now = &inside;
    for (size_t n = 0; n < COUNT_OF(order); n++) {
        leave(&f.gate, now);
        now = NULL;
        for (size_t i = 0; i < COUNT_OF(live); i++)
            now = live[i].admitted && live[i].order == (int)n ? &live[i] : now;
        for (size_t i = 0; i < COUNT_OF(jobs); i++)
            now = jobs[i].admitted && jobs[i].order == (int)n ? &jobs[i] : now;
        assert_non_null(now);
        /* Four live, one job; when no more live ones wait, the jobs that are left. */
        assert_int_equal(now->place.class, n % 5 == 4 || n == 15 ? GATE_JOB : GATE_LIVE);
    }
    leave(&f.gate, now);
    assert_empty(&f.gate, 1);
    close_gate(&f);
}

/* A call that ends at once lets in the next. However many do, none is let in within another. */
static int depth, depth_most;

static void leave_at_once(struct guest *g)
{
    depth++;
    depth_most = depth > depth_most ? depth : depth_most;
    leave(open_for, g);
    depth--;
}

static void calls_that_end_at_once_are_not_nested(void **state)
{
    (void)state;
    struct fixture f;
    static struct guest many[MANY];
    open_gate_with(&f, (struct gate_options){.permits = 2, .most = 10 * MANY});
    gate_bear(&f.gate, 0);
    open_for = &f.gate;
    depth = depth_most = 0;
    for (size_t i = 0; i < MANY; i++) {
        many[i] = (struct guest){.then = leave_at_once};
        assert_false(enter(&f.gate, &many[i], FAR_MS));
    }
    gate_bear(&f.gate, 2);
    assert_int_equal(sum_of_admitted(many, MANY), MANY);
    assert_int_equal(depth_most, 1);
    assert_empty(&f.gate, 2);
    close_gate(&f);
}

static struct guest *to_leave;

static void another_leaves(struct guest *g)
{
    g->then = NULL;
    gate_leave(open_for, &to_leave->place);
}

static void what_is_given_back_while_it_closes_goes_to_nobody(void **state)
{
    (void)state;
    struct fixture f;
    struct guest inside = {0}, waiting[3] = {0};
    open_gate(&f, 1);
    assert_true(enter(&f.gate, &inside, FAR_MS));
    for (size_t i = 0; i < COUNT_OF(waiting); i++)
        assert_false(enter(&f.gate, &waiting[i], FAR_MS));
    open_for = &f.gate;
    to_leave = &inside;
    waiting[0].then = another_leaves;
    gate_close(&f.gate, GATE_LIVE);
    for (size_t i = 0; i < COUNT_OF(waiting); i++) {
        assert_int_equal(waiting[i].admitted, 0);
        assert_int_equal(waiting[i].expired, 1);
        gate_depart(&f.gate, &waiting[i].place);
    }
    gate_bear(&f.gate, 1);
    gate_depart(&f.gate, &inside.place);
    assert_empty(&f.gate, 1);
    close_gate(&f);
}

/* ---- places and estimates -------------------------------------------------------------------- */

static void an_eighth_is_kept_for_who_has_little_here(void **state)
{
    (void)state;
    struct fixture f;
    struct guest guests[37] = {0};
    int64_t wait_ms = 0;
    open_gate_with(&f, (struct gate_options){.permits = 4, .most = 36}); /* a queue of 32, 4 kept */
    for (size_t i = 0; i < 32; i++) {
        guests[i].caller = 1;
        assert_true(arrive(&f.gate, &guests[i], &wait_ms));
    }
    guests[32].caller = 1;
    assert_false(arrive(&f.gate, &guests[32], &wait_ms));
    assert_int_equal(wait_ms, 0); /* nothing was called yet: who knows */
    for (size_t i = 32; i < 36; i++) {
        guests[i].caller = 2;
        assert_true(arrive(&f.gate, &guests[i], &wait_ms));
    }
    guests[36].caller = 3;
    assert_false(arrive(&f.gate, &guests[36], &wait_ms)); /* full is full */
    gate_depart(&f.gate, &guests[0].place);
    guests[36].caller = 2;
    assert_false(arrive(&f.gate, &guests[36], &wait_ms)); /* has four by now */
    guests[36].caller = 1;
    assert_false(arrive(&f.gate, &guests[36], &wait_ms));
    guests[36].caller = 3;
    assert_true(arrive(&f.gate, &guests[36], &wait_ms));
    for (size_t i = 1; i < COUNT_OF(guests); i++)
        gate_depart(&f.gate, &guests[i].place);
    assert_empty(&f.gate, 4);
    close_gate(&f);
}

static void a_small_queue_keeps_none(void **state)
{
    (void)state;
    struct fixture f;
    struct guest guests[9] = {0};
    int64_t wait_ms;
    for (size_t most = 2; most < COUNT_OF(guests); most++) { /* down to no queue at all */
        open_gate_with(&f, (struct gate_options){.permits = 2, .most = most});
        for (size_t i = 0; i < most; i++)
            assert_true(arrive(&f.gate, &guests[i], &wait_ms));
        assert_false(arrive(&f.gate, &guests[most], &wait_ms));
        for (size_t i = 0; i < most; i++)
            gate_depart(&f.gate, &guests[i].place);
        assert_empty(&f.gate, 2);
        close_gate(&f);
    }
}

static void who_finds_no_place_is_told_when(void **state)
{
    (void)state;
    struct fixture f;
    struct guest guests[5] = {0};
    int64_t wait_ms = 0;
    open_gate_with(&f, (struct gate_options){.permits = 2, .most = 4});
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(enter(&f.gate, &guests[i], FAR_MS), i < 2);
    f.gate.call_us = 4000000;
    assert_false(arrive(&f.gate, &guests[4], &wait_ms));
    assert_int_equal(wait_ms,
                     3 * 4000 / 2); /* two wait: with the third end two of two are through */
    f.gate.call_us = INT64_C(3600000000);
    assert_false(arrive(&f.gate, &guests[4], &wait_ms));
    assert_int_equal(wait_ms, 60000);
    gate_bear(&f.gate, 0); /* nobody knows */
    assert_false(arrive(&f.gate, &guests[4], &wait_ms));
    assert_int_equal(wait_ms, 0);
    gate_close(&f.gate, GATE_LIVE);
    for (size_t i = 0; i < 4; i++) {
        if (i < 2)
            gate_leave(&f.gate, &guests[i].place);
        gate_depart(&f.gate, &guests[i].place);
    }
    assert_empty(&f.gate, 0);
    close_gate(&f);
}

static bool would_come(struct gate *g, struct guest *guest, int64_t left_ms, int64_t *wait_ms)
{
    bool comes = gate_come(g, &guest->place, clock_mono_ms() + left_ms, wait_ms);
    if (comes)
        gate_quit(g, &guest->place);
    return comes;
}

static void who_would_wait_in_vain_is_told_so(void **state)
{
    (void)state;
    struct fixture f;
    struct guest inside = {0}, waiting[4] = {0}, own = {0}, other = {.caller = 9};
    int64_t wait_ms;
    open_gate(&f, 1);
    assert_true(arrive(&f.gate, &own, &wait_ms) && arrive(&f.gate, &other, &wait_ms));
    assert_true(would_come(&f.gate, &own, 0, &wait_ms)); /* a permit is free */
    assert_true(enter(&f.gate, &inside, FAR_MS));
    for (size_t i = 0; i < COUNT_OF(waiting); i++)
        assert_false(enter(&f.gate, &waiting[i], FAR_MS));
    assert_true(would_come(&f.gate, &own, 0, &wait_ms)); /* nobody knows how long */
    f.gate.call_us = 100000000;                          /* 100 s: no pause of the test matters */
    assert_true(would_come(&f.gate, &own, 700000, &wait_ms));
    assert_false(would_come(&f.gate, &own, 580000, &wait_ms)); /* five ends, and his own */
    assert_in_range(wait_ms, 20000, 30000);
    assert_false(would_come(&f.gate, &own, 100000, &wait_ms));
    assert_int_equal(wait_ms, 60000);                           /* at most */
    assert_true(would_come(&f.gate, &other, 310000, &wait_ms)); /* after one of theirs: two ends */
    assert_false(would_come(&f.gate, &other, 290000, &wait_ms));
    assert_int_equal(f.gate.rotas[GATE_LIVE].coming, 0); /* who does not come is not counted */
    /* Those who come wait before him, too. */
    assert_true(gate_come(&f.gate, &other.place, clock_mono_ms() + 310000, &wait_ms));
    assert_false(would_come(&f.gate, &own, 650000, &wait_ms));
    gate_quit(&f.gate, &other.place);
    gate_bear(&f.gate, 0);
    assert_true(would_come(&f.gate, &own, 0, &wait_ms)); /* nothing is called: nobody knows */
    gate_bear(&f.gate, 1);
    gate_close(&f.gate, GATE_LIVE);
    gate_leave(&f.gate, &inside.place);
    gate_depart(&f.gate, &inside.place);
    for (size_t i = 0; i < COUNT_OF(waiting); i++)
        gate_depart(&f.gate, &waiting[i].place);
    gate_depart(&f.gate, &own.place);
    gate_depart(&f.gate, &other.place);
    assert_empty(&f.gate, 1);
    close_gate(&f);
}

static void call_of(struct gate *g, int64_t ms)
{
    struct guest guest = {0};
    assert_true(enter(g, &guest, FAR_MS));
    guest.place.admitted_ms -= ms;
    leave(g, &guest);
}

static void the_pace_follows_the_calls(void **state)
{
    (void)state;
    struct fixture f;
    open_gate(&f, 1);
    assert_int_equal(f.gate.call_us, 0);
    call_of(&f.gate, 1000000); /* so long that a pause of the test does not matter */
    assert_in_range(f.gate.call_us, 1000000000, 1010000000);
    call_of(&f.gate, 2000000);
    assert_in_range(f.gate.call_us, 1125000000, 1140000000);
    for (int i = 0; i < 200; i++)
        call_of(&f.gate, -3600000); /* as if the clock ran backwards */
    assert_in_range(f.gate.call_us, 1, 8);
    assert_empty(&f.gate, 1);
    close_gate(&f);
}

static void it_tells_what_is_wanted(void **state)
{
    (void)state;
    struct fixture f;
    struct gate_report report;
    struct guest inside[2] = {0}, waiting = {0}, coming[3] = {0};
    open_gate(&f, 5);
    gate_lease(&f.gate, 2, clock_mono_ms() + FAR_MS);
    gate_tell(&f.gate, &report);
    assert_int_equal(report.in_use + report.wanted, 0);
    assert_true(enter(&f.gate, &inside[0], FAR_MS) && enter(&f.gate, &inside[1], FAR_MS));
    assert_false(enter(&f.gate, &waiting, FAR_MS));
    coming[0].place.class = GATE_JOB;
    come(&f.gate, &coming[0]);
    gate_tell(&f.gate, &report);
    assert_int_equal(report.in_use, 2);
    assert_int_equal(report.wanted, 4); /* though the lease gives two */
    come(&f.gate, &coming[1]);
    come(&f.gate, &coming[2]);
    gate_tell(&f.gate, &report);
    assert_int_equal(report.wanted, 5); /* no more than its own cap */
    gate_bear(&f.gate, 3);
    gate_tell(&f.gate, &report);
    assert_int_equal(report.wanted, 3); /* nor than the model bears */
    gate_bear(&f.gate, 0);
    gate_tell(&f.gate, &report);
    assert_int_equal(report.wanted, 2); /* what is in use is */
    gate_bear(&f.gate, 5);
    leave(&f.gate, &inside[0]);
    leave(&f.gate, &inside[1]);
    leave(&f.gate, &waiting);
    for (size_t i = 0; i < COUNT_OF(coming); i++)
        gate_depart(&f.gate, &coming[i].place); /* while it still comes */
    assert_empty(&f.gate, 2);
    close_gate(&f);
}

/* ---- jobs ---------------------------------------------------------------------------------------- */

static bool enter_job(struct gate *g, struct guest *guest)
{
    guest->place.class = GATE_JOB;
    return enter(g, guest, FAR_MS);
}

static void jobs_find_what_is_free(void **state)
{
    (void)state;
    struct fixture f;
    struct guest guests[4] = {0};
    open_gate(&f, 3);
    assert_int_equal(gate_room(&f.gate), 3);
    assert_true(enter(&f.gate, &guests[0], FAR_MS));
    assert_int_equal(gate_room(&f.gate), 2);
    assert_true(enter_job(&f.gate, &guests[1]));
    assert_int_equal(gate_room(&f.gate), 1);
    gate_bear(&f.gate, 2);
    assert_int_equal(gate_room(&f.gate), 0);
    assert_false(enter(&f.gate, &guests[2], FAR_MS)); /* a live turn waits: one may wait with it */
    assert_int_equal(gate_room(&f.gate), 1);
    assert_false(enter_job(&f.gate, &guests[3]));
    assert_int_equal(gate_room(&f.gate), 0);
    gate_bear(&f.gate, 0); /* the model is down */
    assert_int_equal(gate_room(&f.gate), 0);
    gate_bear(&f.gate, 3);
    assert_int_equal(guests[2].admitted, 1);
    gate_bear(&f.gate, 4);
    for (size_t i = 0; i < COUNT_OF(guests); i++)
        leave(&f.gate, &guests[i]);
    assert_empty(&f.gate, 3);
    close_gate(&f);
}

static void as_many_again_while_short_calls_end(void **state)
{
    (void)state;
    struct fixture f;
    struct guest guests[2] = {0};
    open_gate(&f, 2);
    f.gate.call_us = GATE_SHORT_US - 1;
    f.gate.left_us = clock_mono_us() + 60000000; /* just now, however slow the test */
    assert_int_equal(gate_room(&f.gate), 4);
    assert_true(enter(&f.gate, &guests[0], FAR_MS) && enter(&f.gate, &guests[1], FAR_MS));
    assert_int_equal(gate_room(&f.gate), 2);
    f.gate.left_us = clock_mono_us() - GATE_LULL_US; /* those that run may be long */
    assert_int_equal(gate_room(&f.gate), 0);
    f.gate.left_us = clock_mono_us() + 60000000;
    f.gate.call_us = GATE_SHORT_US;
    assert_int_equal(gate_room(&f.gate), 0);
    leave(&f.gate, &guests[0]);
    leave(&f.gate, &guests[1]);
    close_gate(&f);
}

static void without_a_lease_jobs_find_nothing(void **state)
{
    (void)state;
    struct fixture f;
    open_gate_with(&f, (struct gate_options){.permits = 3, .most = 100, .has_leases = true});
    assert_int_equal(gate_room(&f.gate), 0);
    gate_lease(&f.gate, 2, clock_mono_ms() + FAR_MS);
    assert_int_equal(gate_room(&f.gate), 2);
    gate_lease(&f.gate, 2, clock_mono_ms());
    assert_int_equal(gate_room(&f.gate), 0);
    close_gate(&f);
}

static void jobs_are_turned_out_and_live_turns_stay(void **state)
{
    (void)state;
    struct fixture f;
    struct guest inside = {0}, live = {0}, jobs[3] = {0};
    open_gate(&f, 1);
    assert_true(enter(&f.gate, &inside, FAR_MS));
    assert_false(enter_job(&f.gate, &jobs[0]));
    assert_false(enter(&f.gate, &live, FAR_MS));
    assert_false(enter_job(&f.gate, &jobs[1]));
    gate_close(&f.gate, GATE_JOB);
    assert_false(enter_job(&f.gate, &jobs[2])); /* came too late */
    for (size_t i = 0; i < COUNT_OF(jobs); i++)
        assert_int_equal(jobs[i].expired, 1);
    assert_int_equal(gate_room(&f.gate), 0);
    leave(&f.gate, &inside);
    assert_int_equal(live.admitted, 1);
    leave(&f.gate, &live);
    for (size_t i = 0; i < COUNT_OF(jobs); i++)
        gate_depart(&f.gate, &jobs[i].place);
    assert_int_equal(gate_room(&f.gate), 0);
    assert_empty(&f.gate, 1);
    close_gate(&f);
}

/* ---- races ----------------------------------------------------------------------------------- */

/* Each comes, stays for a moment or is turned away by its deadline, and comes again. */
#define RACERS 8
#define ROUNDS 1500

struct racer {
    pthread_t thread;
    struct guest guest;
    struct gate *gate;
    uint8_t caller;
    enum gate_class class;
    atomic_int *left; /* NULL: ROUNDS of them */
    int let_in, turned_away;
};

static bool came_in(const struct guest *g, bool is_in)
{
    return is_in || atomic_load(&g->admitted);
}

static void come_once(struct racer *r, int64_t wait_ms)
{
    struct guest *g = &r->guest;
    *g = (struct guest){.caller = r->caller, .place = {.class = r->class}};
    bool is_in = enter(r->gate, g, wait_ms);
    while (!came_in(g, is_in) && !atomic_load(&g->expired))
        sched_yield();
    if (came_in(g, is_in)) {
        r->let_in++;
        gate_leave(r->gate, &g->place);
    } else {
        r->turned_away++;
    }
    assert_int_equal(atomic_load(&g->admitted) + atomic_load(&g->expired) + is_in, 1);
    gate_depart(r->gate, &g->place);
}

static void *race(void *arg)
{
    struct racer *r = arg;
    for (int i = 0; i < ROUNDS; i++)
        come_once(r, i % 3);
    if (r->left)
        atomic_fetch_sub(r->left, 1);
    return NULL;
}

static struct racer racers[RACERS];

static void start_racers(struct gate *g, void *(*run)(void *), atomic_int *left)
{
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.gate = g,
                                   .caller = (uint8_t)(i % 3),
                                   .class = i % 4 == 3 ? GATE_JOB : GATE_LIVE,
                                   .left = left};
        racers[i].thread = thread_start("racer", run, &racers[i]);
    }
}

static int join_racers(void)
{
    int total = 0;
    for (size_t i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        total += racers[i].let_in + racers[i].turned_away;
    }
    return total;
}

static void leaving_against_deadlines(void **state)
{
    (void)state;
    struct fixture f;
    open_gate(&f, 3);
    start_racers(&f.gate, race, NULL);
    assert_int_equal(join_racers(), RACERS * ROUNDS);
    assert_true(f.gate.high_water <= 3);
    assert_empty(&f.gate, 3);
    close_gate(&f);
}

static int in_use(struct gate *g)
{
    struct gate_report report;
    gate_tell(g, &report);
    return report.in_use;
}

/* While the limit is the same, in_use does not rise above it; and does not rise at all if it is. */
static void watch(struct gate *g, int limit, int times)
{
    int before = in_use(g);
    for (int i = 0; i < times; i++) {
        int now = in_use(g);
        assert_true(now <= (before > limit ? before : limit));
        before = now;
        sched_yield();
    }
}

static void limits_move_and_leases_end_under_load(void **state)
{
    (void)state;
    struct fixture f;
    atomic_int left = RACERS;
    unsigned moves = 0;
    open_gate_with(&f, (struct gate_options){.permits = 5, .most = 100, .has_leases = true});
    start_racers(&f.gate, race, &left);
    for (; atomic_load(&left) > 0; moves++) {
        int leased = (int)(moves * 7 % 9), borne = (int)(moves / 2 % 6);
        int limit = leased < borne ? leased : borne;
        gate_bear(&f.gate, borne);
        gate_lease(&f.gate, leased, clock_mono_ms() + FAR_MS);
        watch(&f.gate, limit < 5 ? limit : 5, 20);
        int64_t until_ms = clock_mono_ms() + (int64_t)(moves % 3);
        gate_lease(&f.gate, leased, until_ms);
        while (clock_mono_ms() < until_ms)
            sched_yield();
        watch(&f.gate, 0, 20); /* over: nobody comes in any more */
    }
    assert_int_equal(join_racers(), RACERS * ROUNDS);
    assert_true(moves > 1);
    assert_true(f.gate.high_water <= 5);
    gate_bear(&f.gate, 4);
    gate_lease(&f.gate, 5, clock_mono_ms() + FAR_MS);
    assert_empty(&f.gate, 4);
    close_gate(&f);
}

static void *race_until_closed(void *arg)
{
    struct racer *r = arg;
    do
        come_once(r, FAR_MS);
    while (r->turned_away == 0);
    come_once(r, FAR_MS); /* once more, to a closed gate */
    assert_int_equal(r->turned_away, 2);
    return NULL;
}

static void closing_against_all_of_it(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        struct fixture f;
        open_gate(&f, 2);
        start_racers(&f.gate, race_until_closed, NULL);
        for (int k = 0; k < i; k++)
            sched_yield();
        gate_close(&f.gate, GATE_LIVE);
        gate_close(&f.gate, GATE_JOB);
        (void)join_racers();
        assert_empty(&f.gate, 2);
        close_gate(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_permits),
        cmocka_unit_test(first_come_first_served),
        cmocka_unit_test(the_deadline_ends_the_wait),
        cmocka_unit_test(closed_it_lets_nobody_in),
        cmocka_unit_test(without_a_lease_nobody_comes_in),
        cmocka_unit_test(a_lease_that_is_over_lets_nobody_in),
        cmocka_unit_test(the_lowest_limit_holds),
        cmocka_unit_test(nobody_overtakes),
        cmocka_unit_test(callers_take_turns),
        cmocka_unit_test(jobs_get_one_permit_of_five),
        cmocka_unit_test(calls_that_end_at_once_are_not_nested),
        cmocka_unit_test(what_is_given_back_while_it_closes_goes_to_nobody),
        cmocka_unit_test(an_eighth_is_kept_for_who_has_little_here),
        cmocka_unit_test(a_small_queue_keeps_none),
        cmocka_unit_test(who_finds_no_place_is_told_when),
        cmocka_unit_test(who_would_wait_in_vain_is_told_so),
        cmocka_unit_test(the_pace_follows_the_calls),
        cmocka_unit_test(it_tells_what_is_wanted),
        cmocka_unit_test(leaving_against_deadlines),
        cmocka_unit_test(limits_move_and_leases_end_under_load),
        cmocka_unit_test(jobs_find_what_is_free),
        cmocka_unit_test(as_many_again_while_short_calls_end),
        cmocka_unit_test(without_a_lease_jobs_find_nothing),
        cmocka_unit_test(jobs_are_turned_out_and_live_turns_stay),
        cmocka_unit_test(closing_against_all_of_it),
    };
    return RUN(tests);
}
