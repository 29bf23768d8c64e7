/* The gate never lets in more than it has permits, lets in who came first, and forgets who waited too long. */
#include "unit.h"

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "core/gate.h"

#define FAR_MS 60000

struct guest {
    struct gate_place place;
    atomic_int admitted, expired;
    int order; /* in which it was let in */
};

static atomic_int admissions;

static void on_admitted(struct gate_place *p)
{
    struct guest *g = CONTAINER_OF(p, struct guest, place);
    g->order = atomic_fetch_add(&admissions, 1);
    atomic_fetch_add(&g->admitted, 1);
}

static void on_expired(struct gate_place *p)
{
    atomic_fetch_add(&CONTAINER_OF(p, struct guest, place)->expired, 1);
}

static bool enter(struct gate *g, struct guest *guest, int64_t wait_ms)
{
    const struct hash caller = {{1}};
    int64_t unused;
    guest->place.admitted = on_admitted;
    guest->place.expired = on_expired;
    if (!guest->place.rota.caller) {
        assert_true(gate_arrive(g, &guest->place, &caller, &unused));
    }
    assert_true(gate_come(g, &guest->place, clock_mono_ms() + FAR_MS, &unused));
    return gate_enter(g, &guest->place, clock_mono_ms() + wait_ms);
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

static void open_gate(struct fixture *f, int permits)
{
    atomic_store(&admissions, 0);
    f->timers = timers_new("gate-test");
    const struct gate_options options = {.permits = permits, .most = 100, .timers = f->timers};
    gate_init(&f->gate, &options);
}

static void close_gate(struct fixture *f)
{
    timers_free(f->timers);
    gate_fini(&f->gate);
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
    gate_close(&f.gate);
    for (size_t i = 0; i < COUNT_OF(waiting); i++)
        assert_int_equal(waiting[i].expired, 1);
    assert_false(enter(&f.gate, &late, FAR_MS));
    assert_int_equal(late.expired, 1);
    gate_leave(&f.gate, &inside.place);
    assert_int_equal(waiting[0].admitted + late.admitted, 0);
    assert_int_equal(f.gate.in_use, 0);
    close_gate(&f);
}

/* Each comes, stays for a moment or is turned away by its deadline, and comes again. */
#define RACERS 8
#define ROUNDS 2000

struct racer {
    pthread_t thread;
    struct guest guest;
    struct gate *gate;
    int let_in, turned_away;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    for (int i = 0; i < ROUNDS; i++) {
        r->guest = (struct guest){.order = 0};
        bool is_in = enter(r->gate, &r->guest, i % 3);
        while (!is_in && !atomic_load(&r->guest.admitted) && !atomic_load(&r->guest.expired))
            sched_yield();
        if (is_in || atomic_load(&r->guest.admitted)) {
            r->let_in++;
            gate_leave(r->gate, &r->guest.place);
        } else {
            r->turned_away++;
        }
        assert_int_equal(atomic_load(&r->guest.admitted) + atomic_load(&r->guest.expired) + is_in,
                         1);
        gate_depart(r->gate, &r->guest.place);
    }
    return NULL;
}

static void leaving_against_deadlines(void **state)
{
    (void)state;
    struct fixture f;
    static struct racer racers[RACERS];
    int total = 0;
    open_gate(&f, 3);
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.gate = &f.gate};
        racers[i].thread = thread_start("racer", race, &racers[i]);
    }
    for (size_t i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        total += racers[i].let_in + racers[i].turned_away;
    }
    assert_int_equal(total, RACERS * ROUNDS);
    assert_int_equal(f.gate.in_use, 0);
    assert_int_equal(f.gate.rotas[GATE_LIVE].waiting, 0);
    assert_true(f.gate.high_water <= 3);
    int value;
    assert_int_equal(sem_getvalue(&f.gate.free, &value), 0);
    assert_int_equal(value, 3);
    close_gate(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_permits),         cmocka_unit_test(first_come_first_served),
        cmocka_unit_test(the_deadline_ends_the_wait), cmocka_unit_test(closed_it_lets_nobody_in),
        cmocka_unit_test(leaving_against_deadlines),
    };
    return RUN(tests);
}
