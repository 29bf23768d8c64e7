/* In each line one has the word; it is passed on in the order in which they came. */
#include "unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "core/line.h"

#define FAR_MS 60000

struct speaker {
    struct line_place place;
    atomic_int came, expired;
};

static void on_turn_came(struct line_place *p)
{
    atomic_fetch_add(&CONTAINER_OF(p, struct speaker, place)->came, 1);
}

static void on_expired(struct line_place *p)
{
    atomic_fetch_add(&CONTAINER_OF(p, struct speaker, place)->expired, 1);
}

static bool enter(struct line *l, struct speaker *s, const char *name, int64_t wait_ms)
{
    struct hash hash = hash_sha256(name, strlen(name));
    s->place.turn_came = on_turn_came;
    s->place.expired = on_expired;
    return line_enter(l, &s->place, &hash, clock_mono_ms() + wait_ms);
}

struct fixture {
    struct timers *timers;
    struct line line;
};

static void open_line(struct fixture *f)
{
    f->timers = timers_new("line-test");
    line_init(&f->line, 100, f->timers);
}

static void close_line(struct fixture *f)
{
    timers_free(f->timers);
    line_fini(&f->line);
}

static void one_speaks_the_next_follows(void **state)
{
    (void)state;
    struct fixture f;
    struct speaker s[4] = {0};
    open_line(&f);
    assert_true(enter(&f.line, &s[0], "a", FAR_MS));
    for (size_t i = 1; i < COUNT_OF(s); i++)
        assert_false(enter(&f.line, &s[i], "a", FAR_MS));
    for (size_t i = 1; i < COUNT_OF(s); i++) {
        assert_int_equal(s[i].came, 0);
        line_leave(&f.line, &s[i - 1].place);
        assert_int_equal(s[i].came, 1);
    }
    line_leave(&f.line, &s[3].place);
    struct speaker anew = {0};
    assert_true(enter(&f.line, &anew, "a", FAR_MS));
    line_leave(&f.line, &anew.place);
    close_line(&f);
}

static void lines_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct fixture f;
    static struct speaker s[500];
    char name[16];
    memset(s, 0, sizeof s);
    open_line(&f); /* with fewer buckets than lines */
    for (size_t i = 0; i < COUNT_OF(s); i++) {
        snprintf(name, sizeof name, "line %zu", i);
        assert_true(enter(&f.line, &s[i], name, FAR_MS));
    }
    for (size_t i = 0; i < COUNT_OF(s); i++)
        line_leave(&f.line, &s[i].place);
    assert_null(table_any(&f.line.table));
    close_line(&f);
}

static void who_waited_too_long_is_out(void **state)
{
    (void)state;
    struct fixture f;
    struct speaker first = {0}, late = {0}, last = {0};
    open_line(&f);
    assert_true(enter(&f.line, &first, "a", FAR_MS));
    assert_false(enter(&f.line, &late, "a", 10));
    assert_false(enter(&f.line, &last, "a", FAR_MS));
    int64_t until = clock_mono_ms() + 5000;
    while (!atomic_load(&late.expired) && clock_mono_ms() < until)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(late.expired, 1);
    line_leave(&f.line, &first.place);
    assert_int_equal(late.came, 0);
    assert_int_equal(last.came, 1);
    line_leave(&f.line, &last.place);
    close_line(&f);
}

#define RACERS 8
#define ROUNDS 2000

struct racer {
    pthread_t thread;
    struct speaker speaker;
    struct line *line;
    char name[8];
};

static atomic_int speaking[2];

static void *race(void *arg)
{
    struct racer *r = arg;
    atomic_int *mine = &speaking[r->name[0] - 'a'];
    for (int i = 0; i < ROUNDS; i++) {
        r->speaker = (struct speaker){.came = 0};
        bool has_word = enter(r->line, &r->speaker, r->name, i % 3);
        while (!has_word && !atomic_load(&r->speaker.came) && !atomic_load(&r->speaker.expired))
            sched_yield();
        assert_int_equal(
            has_word + atomic_load(&r->speaker.came) + atomic_load(&r->speaker.expired), 1);
        if (atomic_load(&r->speaker.expired))
            continue;
        assert_int_equal(atomic_fetch_add(mine, 1), 0); /* alone */
        atomic_fetch_sub(mine, 1);
        line_leave(r->line, &r->speaker.place);
    }
    return NULL;
}

static void leaving_against_deadlines(void **state)
{
    (void)state;
    struct fixture f;
    static struct racer racers[RACERS];
    open_line(&f);
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.line = &f.line, .name = {(char)('a' + i % 2)}};
        racers[i].thread = thread_start("racer", race, &racers[i]);
    }
    for (size_t i = 0; i < RACERS; i++)
        pthread_join(racers[i].thread, NULL);
    assert_null(table_any(&f.line.table));
    close_line(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_speaks_the_next_follows),
        cmocka_unit_test(lines_do_not_wait_for_each_other),
        cmocka_unit_test(who_waited_too_long_is_out),
        cmocka_unit_test(leaving_against_deadlines),
    };
    return RUN(tests);
}
