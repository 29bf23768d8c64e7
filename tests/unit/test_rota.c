/* Callers take turns, each one's own in the order they came; how many are ahead is never said too low. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "core/rota.h"

struct item {
    struct rota_place place;
    size_t caller;
    int number; /* among its caller's, in the order they waited */
};

static struct hash name_of(size_t caller)
{
    struct hash name = {{0}};
    memcpy(name.bytes + HASH_BYTES - sizeof caller, &caller, sizeof caller);
    return name; /* all in one bucket: only the whole name tells them apart */
}

static void hold(struct rota *r, struct item *i, size_t caller)
{
    struct hash name = name_of(caller);
    *i = (struct item){.caller = caller};
    rota_hold(r, &i->place, &name);
}

static void hold_and_wait(struct rota *r, struct item *i, size_t caller)
{
    hold(r, i, caller);
    rota_wait(r, &i->place);
}

static struct item *take(struct rota *r)
{
    struct rota_place *p = rota_take(r);
    return p ? CONTAINER_OF(p, struct item, place) : NULL;
}

static void assert_empty(struct rota *r)
{
    assert_null(rota_take(r));
    assert_int_equal(r->held + r->coming + r->waiting, 0);
    assert_int_equal(r->round.count + r->awake.count, 0);
    assert_int_equal(r->callers.count, 0);
    assert_null(table_any(&r->callers));
    rota_fini(r);
}

static void one_callers_own_in_order(void **state)
{
    (void)state;
    struct rota r;
    struct item items[5];
    rota_init(&r, 5);
    for (size_t i = 0; i < COUNT_OF(items); i++)
        hold_and_wait(&r, &items[i], 7);
    assert_int_equal(r.waiting, 5);
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        assert_ptr_equal(take(&r), &items[i]);
        rota_release(&r, &items[i].place);
    }
    assert_empty(&r);
}

static void a_thousand_of_one_delay_anothers_first_by_one(void **state)
{
    (void)state;
    struct rota r;
    static struct item many[1000];
    struct item first, second;
    rota_init(&r, 1002);
    for (size_t i = 0; i < COUNT_OF(many); i++)
        hold_and_wait(&r, &many[i], 1);
    hold(&r, &first, 2);
    assert_int_equal(rota_ahead(&r, &first.place), 1);
    rota_wait(&r, &first.place);
    hold_and_wait(&r, &second, 2);
    assert_ptr_equal(take(&r), &many[0]);
    assert_ptr_equal(take(&r), &first);
    assert_ptr_equal(take(&r), &many[1]);
    assert_ptr_equal(take(&r), &second);
    for (size_t i = 2; i < COUNT_OF(many); i++)
        assert_ptr_equal(take(&r), &many[i]);
    for (size_t i = 0; i < COUNT_OF(many); i++)
        rota_release(&r, &many[i].place);
    rota_release(&r, &first.place);
    rota_release(&r, &second.place);
    assert_empty(&r);
}

static void a_thousand_that_come_count_no_more_than_a_thousand_that_wait(void **state)
{
    (void)state;
    struct rota r;
    static struct item many[1000];
    struct item other;
    rota_init(&r, 1001);
    for (size_t i = 0; i < COUNT_OF(many); i++) {
        hold(&r, &many[i], 1);
        rota_come(&r, &many[i].place);
    }
    assert_int_equal(r.coming, 1000);
    hold(&r, &other, 2);
    assert_int_equal(rota_ahead(&r, &other.place), 1);
    rota_come(&r, &other.place);
    assert_int_equal(rota_ahead(&r, &other.place), 3); /* itself, and two rounds of the other */
    assert_int_equal(rota_ahead(&r, &many[0].place), 1000 + 1); /* all its own before the next */
    for (size_t i = 0; i < COUNT_OF(many); i++) {
        rota_go(&r, &many[i].place);
        if (i < 500)
            rota_wait(&r, &many[i].place);
    }
    assert_int_equal(rota_ahead(&r, &many[0].place), 500 + 1);
    for (size_t i = 0; i < 500; i++)
        rota_leave(&r, &many[i].place);
    assert_int_equal(rota_ahead(&r, &many[0].place), 1);
    rota_go(&r, &other.place);
    for (size_t i = 0; i < COUNT_OF(many); i++)
        rota_release(&r, &many[i].place);
    rota_release(&r, &other.place);
    assert_empty(&r);
}

static void who_comes_back_is_last_in_the_round(void **state)
{
    (void)state;
    struct rota r;
    struct item a[2], b[2], c;
    rota_init(&r, 5);
    hold_and_wait(&r, &a[0], 1);
    hold_and_wait(&r, &b[0], 2);
    hold_and_wait(&r, &b[1], 2);
    hold_and_wait(&r, &c, 3);
    assert_ptr_equal(take(&r), &a[0]);
    hold_and_wait(&r, &a[1], 1);
    assert_ptr_equal(take(&r), &b[0]);
    assert_ptr_equal(take(&r), &c);
    assert_ptr_equal(take(&r), &a[1]);
    assert_ptr_equal(take(&r), &b[1]);
    struct item *all[] = {&a[0], &a[1], &b[0], &b[1], &c};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        rota_release(&r, &all[i]->place);
    assert_empty(&r);
}

static void who_leaves_is_out_of_the_round(void **state)
{
    (void)state;
    struct rota r;
    struct item a[3], b;
    rota_init(&r, 4);
    for (size_t i = 0; i < COUNT_OF(a); i++)
        hold_and_wait(&r, &a[i], 1);
    hold_and_wait(&r, &b, 2);
    rota_leave(&r, &a[1].place); /* from the middle */
    assert_int_equal(r.waiting, 3);
    assert_ptr_equal(take(&r), &a[0]);
    rota_leave(&r, &b.place); /* its caller's only one */
    assert_int_equal(r.round.count, 1);
    assert_ptr_equal(take(&r), &a[2]);
    for (size_t i = 0; i < COUNT_OF(a); i++)
        rota_release(&r, &a[i].place);
    rota_release(&r, &b.place);
    assert_empty(&r);
}

static void held_counts_each_callers_own(void **state)
{
    (void)state;
    struct rota r;
    struct item a[2], b;
    const struct hash one = name_of(1), two = name_of(2), nobody = name_of(3);
    rota_init(&r, 3);
    hold(&r, &a[0], 1);
    hold_and_wait(&r, &a[1], 1);
    hold(&r, &b, 2);
    assert_int_equal(rota_held(&r, &one), 2);
    assert_int_equal(rota_held(&r, &two), 1);
    assert_int_equal(rota_held(&r, &nobody), 0);
    assert_ptr_equal(take(&r), &a[1]);
    assert_int_equal(rota_held(&r, &one), 2); /* whatever its state */
    rota_release(&r, &a[0].place);
    rota_release(&r, &b.place);
    assert_int_equal(rota_held(&r, &one), 1);
    assert_int_equal(rota_held(&r, &two), 0);
    rota_release(&r, &a[1].place);
    assert_empty(&r);
}

/* Against a model as simple as can be: each caller's numbers, and since when it was last served. */
#define CALLERS 6
#define ITEMS 40

struct model {
    struct item items[ITEMS];
    bool is_held[ITEMS], waits[ITEMS];
    int next_number[CALLERS];
    int served[CALLERS]; /* when its place in the round was given out: the smallest is next */
    int clock;
};

static size_t waiting_of(const struct model *m, size_t caller)
{
    size_t count = 0;
    for (size_t i = 0; i < ITEMS; i++)
        count += m->waits[i] && m->items[i].caller == caller;
    return count;
}

static size_t next_in(const struct model *m)
{
    size_t best = ITEMS;
    for (size_t i = 0; i < ITEMS; i++) {
        if (!m->waits[i])
            continue;
        const struct item *a = &m->items[i], *b = best < ITEMS ? &m->items[best] : NULL;
        if (!b || m->served[a->caller] < m->served[b->caller] ||
            (a->caller == b->caller && a->number < b->number))
            best = i;
    }
    return best;
}

static void begin_wait(struct model *m, struct rota *r, size_t i)
{
    struct item *it = &m->items[i];
    if (waiting_of(m, it->caller) == 0)
        m->served[it->caller] = ++m->clock;
    it->number = m->next_number[it->caller]++;
    rota_wait(r, &it->place);
    m->waits[i] = true;
}

static void take_next(struct model *m, struct rota *r)
{
    size_t expected = next_in(m);
    struct item *it = take(r);
    if (expected == ITEMS) {
        assert_null(it);
        return;
    }
    assert_ptr_equal(it, &m->items[expected]);
    m->waits[expected] = false;
    m->served[it->caller] = ++m->clock;
}

static void step(struct model *m, struct rota *r)
{
    size_t i = (size_t)rand() % ITEMS;
    struct item *it = &m->items[i];
    if (!m->is_held[i]) {
        hold(r, it, (size_t)rand() % CALLERS);
        m->is_held[i] = true;
    } else if (m->waits[i]) {
        if (rand() % 3 == 0) {
            rota_leave(r, &it->place);
            m->waits[i] = false;
        } else {
            take_next(m, r);
        }
    } else if (it->place.is_coming) {
        rota_go(r, &it->place);
        if (rand() % 4)
            begin_wait(m, r, i);
    } else if (rand() % 3) {
        rota_come(r, &it->place);
    } else {
        rota_release(r, &it->place);
        m->is_held[i] = false;
    }
}

static void as_a_simple_model_does(void **state)
{
    (void)state;
    static struct model m;
    struct rota r;
    rota_init(&r, ITEMS);
    srand(20261125);
    for (int i = 0; i < 20000; i++) {
        step(&m, &r);
        size_t waiting = 0, held = 0, coming = 0;
        for (size_t k = 0; k < ITEMS; k++) {
            waiting += m.waits[k];
            held += m.is_held[k];
            coming += m.is_held[k] && m.items[k].place.is_coming;
        }
        assert_int_equal(r.waiting, waiting);
        assert_int_equal(r.held, held);
        assert_int_equal(r.coming, coming);
    }
    for (size_t i = 0; i < ITEMS; i++) {
        if (m.is_held[i] && m.items[i].place.is_coming)
            rota_go(&r, &m.items[i].place);
    }
    while (r.waiting > 0)
        take_next(&m, &r);
    for (size_t i = 0; i < ITEMS; i++) {
        if (m.is_held[i])
            rota_release(&r, &m.items[i].place);
    }
    assert_empty(&r);
}

/* With nobody on the way: at least as many as are really served before, at most one a caller more. */
static void what_is_ahead_is_what_comes_before(void **state)
{
    (void)state;
    static struct item items[300];
    srand(7);
    for (int round = 0; round < 100; round++) {
        struct rota r;
        rota_init(&r, COUNT_OF(items));
        size_t count = (size_t)rand() % (COUNT_OF(items) - 1), before = 0;
        for (size_t i = 0; i < count; i++)
            hold_and_wait(&r, &items[i], (size_t)rand() % (size_t)(rand() % 9 + 1));
        for (size_t i = 0; i < count / 3; i++)
            rota_release(&r, &take(&r)->place);
        struct item *last = &items[count];
        hold(&r, last, (size_t)rand() % 9);
        size_t ahead = rota_ahead(&r, &last->place);
        rota_wait(&r, &last->place);
        for (struct item *it; (it = take(&r)) != last; before++)
            rota_release(&r, &it->place);
        assert_in_range(ahead, before, before + 8);
        rota_release(&r, &last->place);
        for (struct item *it; (it = take(&r));)
            rota_release(&r, &it->place);
        assert_empty(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_callers_own_in_order),
        cmocka_unit_test(a_thousand_of_one_delay_anothers_first_by_one),
        cmocka_unit_test(a_thousand_that_come_count_no_more_than_a_thousand_that_wait),
        cmocka_unit_test(who_comes_back_is_last_in_the_round),
        cmocka_unit_test(who_leaves_is_out_of_the_round),
        cmocka_unit_test(held_counts_each_callers_own),
        cmocka_unit_test(as_a_simple_model_does),
        cmocka_unit_test(what_is_ahead_is_what_comes_before),
    };
    return RUN(tests);
}
