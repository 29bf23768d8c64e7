/* Timers fire in order, once, or not at all. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ids.h"
#include "base/thread.h"
#include "base/timer.h"

/* A callback that holds the timers' thread until it is let go: what is started meanwhile waits. */
struct brake {
    struct timer timer;
    sem_t holding, release;
};

static void hold(struct timer *t)
{
    struct brake *b = CONTAINER_OF(t, struct brake, timer);
    sem_post(&b->holding);
    while (sem_wait(&b->release) != 0)
        assert_int_equal(errno, EINTR);
}

static void brake_on(struct brake *b, struct timers *t)
{
    *b = (struct brake){.timer.fire = hold};
    sem_init(&b->holding, 0, 0);
    sem_init(&b->release, 0, 0);
    timer_start(t, &b->timer, 0);
    while (sem_wait(&b->holding) != 0)
        ;
}

static void brake_off(struct brake *b)
{
    sem_post(&b->release);
}

static void brake_fini(struct brake *b)
{
    sem_destroy(&b->holding);
    sem_destroy(&b->release);
}

struct note {
    struct timer timer;
    int number;
    int64_t fired_ms;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    int numbers[5000];
    size_t count;
} fired = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void take_note(struct timer *t)
{
    struct note *n = CONTAINER_OF(t, struct note, timer);
    pthread_mutex_lock(&fired.lock);
    n->fired_ms = clock_mono_ms();
    fired.numbers[fired.count++] = n->number;
    pthread_cond_signal(&fired.more);
    pthread_mutex_unlock(&fired.lock);
}

static void wait_for(size_t count)
{
    pthread_mutex_lock(&fired.lock);
    while (fired.count < count)
        pthread_cond_wait(&fired.more, &fired.lock);
    pthread_mutex_unlock(&fired.lock);
}

static int reset(void **state)
{
    (void)state;
    fired.count = 0;
    return 0;
}

static void fires_in_order_of_time(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static struct note notes[MANY];
    struct timers *t = timers_new("timers");
    struct brake b;
    brake_on(&b, t);
    for (int i = 0; i < MANY; i++) {
        int number = (i * 377) % MANY; /* every number once, out of order */
        notes[i] = (struct note){.timer.fire = take_note, .number = number};
        timer_start(t, &notes[i].timer, 1 + number);
    }
    brake_off(&b);
    wait_for(MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(fired.numbers[i], i);
    timers_free(t);
    brake_fini(&b);
}

static void the_stopped_do_not_fire_and_the_rest_keep_their_order(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static struct note notes[MANY];
    struct timers *t = timers_new("timers");
    struct brake b;
    brake_on(&b, t);
    for (int i = 0; i < MANY; i++) {
        notes[i] = (struct note){.timer.fire = take_note, .number = (i * 377) % MANY};
        timer_start(t, &notes[i].timer, 1 + notes[i].number);
    }
    for (int i = 0; i < MANY; i++) {
        if (notes[i].number % 3 == 0)
            continue;
        assert_true(timer_stop(t, &notes[i].timer));
        assert_false(timer_stop(t, &notes[i].timer));
    }
    brake_off(&b);
    wait_for((MANY + 2) / 3);
    timers_free(t);
    assert_int_equal(fired.count, (MANY + 2) / 3);
    for (size_t i = 0; i < fired.count; i++)
        assert_int_equal(fired.numbers[i], 3 * i);
    brake_fini(&b);
}

static void stopping_says_what_happened(void **state)
{
    (void)state;
    struct timers *t = timers_new("timers");
    struct brake b;
    struct note never = {.timer.fire = take_note}, later = never, past = never;
    assert_false(timer_stop(t, &never.timer));
    brake_on(&b, t);
    assert_false(timer_stop(t, &b.timer)); /* firing now */
    timer_start(t, &later.timer, INT64_MAX);
    assert_true(timer_stop(t, &later.timer));
    timer_start(t, &later.timer, INT64_MAX); /* may be started again */
    timer_start(t, &past.timer, -5);
    brake_off(&b);
    wait_for(1);
    assert_false(timer_stop(t, &past.timer)); /* has fired */
    timers_free(t);                           /* `later` never fires */
    assert_int_equal(fired.count, 1);
    brake_fini(&b);
}

static void a_nearer_time_wakes_the_thread(void **state)
{
    (void)state;
    struct timers *t = timers_new("timers");
    struct note far = {.timer.fire = take_note, .number = 1};
    struct note near = {.timer.fire = take_note, .number = 2};
    int64_t now = clock_mono_ms();
    timer_start(t, &far.timer, now + 600000);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* it waits for `far` by now */
    timer_start(t, &near.timer, now + 60);
    wait_for(1);
    assert_int_equal(fired.numbers[0], 2);
    assert_in_range(near.fired_ms, now + 60, now + 5000); /* not early; bound of a busy machine */
    assert_true(timer_stop(t, &far.timer));
    timers_free(t);
}

struct again {
    struct timer timer;
    struct timers *timers;
    int left;
    sem_t done;
};

static void fire_again(struct timer *t)
{
    struct again *a = CONTAINER_OF(t, struct again, timer);
    if (--a->left > 0)
        timer_start(a->timers, t, clock_mono_ms());
    else
        sem_post(&a->done);
}

static void a_callback_may_start_its_timer_again(void **state)
{
    (void)state;
    struct again a = {.timer.fire = fire_again, .timers = timers_new("timers"), .left = 100};
    sem_init(&a.done, 0, 0);
    timer_start(a.timers, &a.timer, 0);
    while (sem_wait(&a.done) != 0)
        ;
    assert_int_equal(a.left, 0);
    timers_free(a.timers);
    sem_destroy(&a.done);
}

struct own {
    struct timer timer;
    sem_t *done;
};

static void free_own(struct timer *t)
{
    struct own *o = CONTAINER_OF(t, struct own, timer);
    sem_t *done = o->done;
    free(o);
    sem_post(done);
}

static void a_callback_may_free_its_object(void **state)
{
    (void)state;
    struct timers *t = timers_new("timers");
    sem_t done;
    sem_init(&done, 0, 0);
    for (int i = 0; i < 50; i++) {
        struct own *o = malloc(sizeof *o);
        *o = (struct own){.timer.fire = free_own, .done = &done};
        timer_start(t, &o->timer, i % 2 ? 0 : clock_mono_ms() + 1);
    }
    for (int i = 0; i < 50; i++)
        while (sem_wait(&done) != 0)
            ;
    timers_free(t);
    sem_destroy(&done);
}

/* From many threads: each start ends as stopped or as fired, never as both or neither. */
struct racer {
    struct timer timer;
    atomic_int fires;
};

struct race {
    struct timers *timers;
    struct racer racers[200];
    int rounds, stopped[200], started[200];
};

static void count_fire(struct timer *t)
{
    atomic_fetch_add(&CONTAINER_OF(t, struct racer, timer)->fires, 1);
}

static void *run_race(void *arg)
{
    struct race *r = arg;
    for (int round = 0; round < r->rounds; round++) {
        for (size_t i = 0; i < COUNT_OF(r->racers); i++) {
            r->started[i]++;
            timer_start(r->timers, &r->racers[i].timer, clock_mono_ms() + random_below(3));
        }
        if (round % 2) /* on a busy machine none would fire otherwise */
            nanosleep(&(struct timespec){.tv_nsec = 1500000}, NULL);
        for (size_t i = 0; i < COUNT_OF(r->racers); i++) {
            if (timer_stop(r->timers, &r->racers[i].timer))
                r->stopped[i]++;
            else
                while (atomic_load(&r->racers[i].fires) + r->stopped[i] < r->started[i])
                    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL); /* firing now */
        }
    }
    return NULL;
}

static void stop_against_fire(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    static struct race races[THREADS];
    struct timers *t = timers_new("timers");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        races[i].timers = t;
        races[i].rounds = 50;
        for (size_t n = 0; n < COUNT_OF(races[i].racers); n++)
            races[i].racers[n].timer.fire = count_fire;
        threads[i] = thread_start("racer", run_race, &races[i]);
    }
    int stopped = 0, fires = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        for (size_t n = 0; n < COUNT_OF(races[i].racers); n++) {
            int here = atomic_load(&races[i].racers[n].fires);
            assert_int_equal(here + races[i].stopped[n], 50);
            stopped += races[i].stopped[n];
            fires += here;
        }
    }
    timers_free(t);
    assert_true(stopped > 0 && fires > 0); /* or it was no race */
}

/* Times a thread of ours gave up the processor of its own will; -1: no such thread. */
static long sleeps_of(const char *thread_name)
{
    char path[300], line[200];
    long sleeps = -1;
    DIR *d = opendir("/proc/self/task");
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));) {
        long here = -1;
        bool is_it = false;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *f = fopen(path, "r");
        while (f && fgets(line, sizeof line, f)) {
            if (strncmp(line, "Name:\t", 6) == 0)
                is_it = strncmp(line + 6, thread_name, strlen(thread_name)) == 0;
            sscanf(line, "voluntary_ctxt_switches: %ld", &here);
        }
        if (f)
            fclose(f);
        if (is_it)
            sleeps = here;
    }
    closedir(d);
    return sleeps;
}

static void waiting_does_not_poll(void **state)
{
    (void)state;
    struct timers *t = timers_new("poll-watch");
    struct note far = {.timer.fire = take_note};
    timer_start(t, &far.timer, clock_mono_ms() + 600000);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    long before = sleeps_of("poll-watch");
    assert_true(before >= 0);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    assert_in_range(sleeps_of("poll-watch"), before, before + 2);
    timers_free(t);
}

/* A callback that takes its time, and says when it is over. */
struct slow {
    struct timer timer;
    atomic_int stage;
};

static void take_time(struct timer *t)
{
    struct slow *s = CONTAINER_OF(t, struct slow, timer);
    atomic_store(&s->stage, 1);
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    atomic_store(&s->stage, 2);
}

static void stop_and_wait_outlasts_the_callback(void **state)
{
    (void)state;
    struct timers *t = timers_new("timers");
    struct slow *s = calloc(1, sizeof *s);
    s->timer.fire = take_time;
    timer_start(t, &s->timer, 0);
    while (atomic_load(&s->stage) == 0)
        ;
    assert_false(timer_stop_and_wait(t, &s->timer));
    assert_int_equal(atomic_load(&s->stage), 2);
    timer_start(t, &s->timer, clock_mono_ms() + 60000);
    assert_true(timer_stop_and_wait(t, &s->timer));
    free(s);
    timers_free(t);
}

static void what_is_started_after_the_end_never_fires(void **state)
{
    (void)state;
    struct timers *t = timers_new("timers");
    struct slow s = {.timer.fire = take_time};
    timers_stop(t);
    timer_start(t, &s.timer, 0);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    assert_int_equal(atomic_load(&s.stage), 0);
    timers_free(t);
}

static void nothing_to_free(void **state)
{
    (void)state;
    timers_free(NULL);
    timers_free(timers_new("timers"));
}

#define TEST(f) cmocka_unit_test_setup(f, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fires_in_order_of_time),
        TEST(the_stopped_do_not_fire_and_the_rest_keep_their_order),
        TEST(stopping_says_what_happened),
        TEST(a_nearer_time_wakes_the_thread),
        TEST(a_callback_may_start_its_timer_again),
        TEST(a_callback_may_free_its_object),
        TEST(stop_against_fire),
        TEST(waiting_does_not_poll),
        TEST(stop_and_wait_outlasts_the_callback),
        TEST(what_is_started_after_the_end_never_fires),
        TEST(nothing_to_free),
    };
    return RUN(tests);
}
