#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything but what a fault of the thread itself raises: blocked, that could not be reported. */
static void signals_of_others(sigset_t *set)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigfillset(set);
    for (size_t i = 0; i < COUNT_OF(own); i++)
        sigdelset(set, own[i]);
}

static void must(int error, const char *what)
{
    if (error) {
        fprintf(stderr, "hansard: %s: %s\n", what, strerror(error));
        abort();
    }
}

pthread_t thread_start(const char *name, void *(*run)(void *), void *arg)
{
    assert(strlen(name) <= 15);
    sigset_t blocked, before;
    signals_of_others(&blocked);
    must(pthread_sigmask(SIG_BLOCK, &blocked, &before), "pthread_sigmask");
    pthread_t thread;
    must(pthread_create(&thread, NULL, run, arg), "pthread_create");
    must(pthread_sigmask(SIG_SETMASK, &before, NULL), "pthread_sigmask");
    pthread_setname_np(thread, name); /* fails when the thread has already ended: no harm */
    return thread;
}

void thread_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    must(pthread_condattr_init(&attr), "pthread_condattr_init");
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "pthread_condattr_setclock");
    must(pthread_cond_init(c, &attr), "pthread_cond_init");
    pthread_condattr_destroy(&attr);
}

void thread_cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, int64_t mono_ms)
{
    if (mono_ms < 0)
        mono_ms = 0;
    struct timespec until = {.tv_sec = (time_t)(mono_ms / 1000),
                             .tv_nsec = (long)(mono_ms % 1000) * 1000000};
    int error = pthread_cond_timedwait(c, m, &until);
    assert(error == 0 || error == ETIMEDOUT);
    (void)error;
}
