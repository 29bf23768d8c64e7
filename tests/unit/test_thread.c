/* Threads have names, no signals, and wait on the monotonic clock. */
#include "unit.h"

#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"

struct seen {
    char name[16];
    sigset_t blocked;
    pthread_mutex_t named;
};

static void *look(void *arg)
{
    struct seen *s = arg;
    pthread_mutex_lock(&s->named); /* the name is given after the start */
    pthread_getname_np(pthread_self(), s->name, sizeof s->name);
    pthread_mutex_unlock(&s->named);
    pthread_sigmask(SIG_BLOCK, NULL, &s->blocked);
    return arg;
}

static void named_and_without_signals(void **state)
{
    (void)state;
    struct seen s = {.named = PTHREAD_MUTEX_INITIALIZER};
    sigset_t before, after;
    void *result = NULL;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    pthread_mutex_lock(&s.named);
    pthread_t thread = thread_start("fifteen-letters", look, &s);
    pthread_mutex_unlock(&s.named);
    pthread_join(thread, &result);
    assert_ptr_equal(result, &s);
    assert_string_equal(s.name, "fifteen-letters");
    const int blocked[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGCHLD};
    for (size_t i = 0; i < COUNT_OF(blocked); i++)
        assert_int_equal(sigismember(&s.blocked, blocked[i]), 1);
    const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < COUNT_OF(open); i++)
        assert_int_equal(sigismember(&s.blocked, open[i]), 0);
    pthread_sigmask(SIG_BLOCK, NULL, &after); /* ours is as it was */
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

static void waits_until_a_monotonic_time(void **state)
{
    (void)state;
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t c;
    thread_cond_init(&c);
    pthread_mutex_lock(&m);
    int64_t due = clock_mono_ms() + 30;
    int waits = 0;
    for (; clock_mono_ms() < due; waits++)
        thread_cond_wait_until(&c, &m, due);
    assert_in_range(waits, 1, 10); /* on the wall clock the time is decades ago: it would spin */
    assert_in_range(clock_mono_ms(), due, due + 2000);
    int64_t now = clock_mono_ms();
    thread_cond_wait_until(&c, &m, now - 5);
    thread_cond_wait_until(&c, &m, -1);
    assert_in_range(clock_mono_ms(), now, now + 2000);
    pthread_mutex_unlock(&m);
    pthread_cond_destroy(&c);
}

struct bell {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool rung;
};

static void *ring(void *arg)
{
    struct bell *b = arg;
    pthread_mutex_lock(&b->lock);
    b->rung = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static void a_signal_ends_the_wait(void **state)
{
    (void)state;
    struct bell b = {.lock = PTHREAD_MUTEX_INITIALIZER};
    thread_cond_init(&b.cond);
    pthread_mutex_lock(&b.lock);
    int64_t begun = clock_mono_ms();
    pthread_t thread = thread_start("ringer", ring, &b);
    while (!b.rung)
        thread_cond_wait_until(&b.cond, &b.lock, begun + 60000);
    pthread_mutex_unlock(&b.lock);
    pthread_join(thread, NULL);
    assert_in_range(clock_mono_ms() - begun, 0, 30000);
    pthread_cond_destroy(&b.cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_and_without_signals),
        cmocka_unit_test(waits_until_a_monotonic_time),
        cmocka_unit_test(a_signal_ends_the_wait),
    };
    return RUN(tests);
}
