/* timer — call me at a time.
 *
 * Does:      a binary heap of due times and one thread that runs what is due.
 * Does not:  promise better than about a millisecond; run callbacks in parallel.
 * Threads:   start and stop from any, but timers_free from outside; callbacks on the timers' own
 *            thread, no lock held.
 * Owns:      nothing: a struct timer lives inside its object, which must outlive it.
 */
#pragma once

#include <pthread.h>

#include "base/defs.h"

struct timer {
    int64_t due_ms; /* monotonic */
    void (*fire)(struct timer *);
    size_t slot; /* place in the heap plus one; 0: not waiting. Guarded by the heap's lock. */
};

struct timers; /* heap and thread */

struct timers *timers_new(const char *thread_name); /* starts the thread */
/* Stops the thread; what waits, and what is started from now on, never fires. Not from a callback. */
void timers_stop(struct timers *t);
void timers_free(struct timers *t); /* stops it, if that was not done */

/* Not waiting before. due_ms in the past fires at once. */
void timer_start(struct timers *t, struct timer *timer, int64_t due_ms);
/* true: it was waiting and will not fire. false: it has fired, is firing now, or never waited. */
bool timer_stop(struct timers *t, struct timer *timer);
/* The same, and when false its callback is over (unless we are within a callback ourselves): the
 * timer's object may be freed. No lock may be held that a callback takes. */
bool timer_stop_and_wait(struct timers *t, struct timer *timer);
