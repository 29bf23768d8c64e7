/* thread — start and join with a name, signals blocked.
 *
 * Does:      pthread_create with every signal blocked, so that main alone gets them.
 * Does not:  detach.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include <pthread.h>

#include "base/defs.h"

/* Aborts when no thread can be had: only called at start. name: at most 15 characters. */
pthread_t thread_start(const char *name, void *(*run)(void *), void *arg);
void thread_cond_init(pthread_cond_t *c); /* on CLOCK_MONOTONIC */
/* Waits until signalled or until the monotonic time; the caller tests its predicate again. */
void thread_cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, int64_t mono_ms);
