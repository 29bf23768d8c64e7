/* watch — who waits for a job to end.
 *
 * Does:      tells each of them once: when the job has ended, or at the deadline. Of jobs that run
 *            on this worker it hears; about the others it asks the database, once a second for all.
 * Does not:  know how a job ended, or hold a thread or a connection while somebody waits.
 * Threads:   any. `told` runs without the lock, on the thread of whoever told, on a lane's or on
 *            the timers'. `is_here` runs with the lock: it must not come back here, and watch_*
 *            must not be called with a lock that it takes.
 * Owns:      its table; a struct watcher lives inside whoever waits.
 */
#pragma once

#include "base/list.h"
#include "base/timer.h"
#include "core/job_list.h"
#include "db/db.h"

#define WATCH_BUCKETS 1024 /* a power of two */

struct watch;

struct watcher {
    /* Once. The job has ended or may have, or the deadline has come: look. */
    void (*told)(struct watcher *);
    struct list_node node; /* lock */
    struct timer timer;    /* the deadline */
    struct watch *watch;
    struct job_ref ref;
    bool is_waiting; /* lock: nobody is about to tell it */
};

struct watch_options {
    struct db *db;
    struct timers *timers;
    bool (*is_here)(void *arg, const struct job_ref *ref); /* runs on this worker */
    void *arg;
};

/* What the database is asked. */
struct watch_question {
    struct call_item item;
    struct job_ref jobs[LIMIT_WATCH_JOBS];
    size_t count;
    struct job_list list; /* the same */
};

struct watch {
    struct watch_options options;
    struct timer timer;             /* the next question */
    struct watch_question question; /* lock, while none is on its way */

    pthread_mutex_t lock;
    struct list buckets[WATCH_BUCKETS]; /* lock; watcher */
    size_t count;                       /* lock: watchers */
    size_t next_bucket;                 /* lock: the first to be asked about */
    bool is_timed;                      /* lock: the timer is set */
    bool is_asked;                      /* lock: a question is on its way */
    bool has_to_look;                   /* lock: and was too early */
    bool is_stopping;                   /* lock */
};

void watch_init(struct watch *w, const struct watch_options *o);
/* Tells all, and from now on whoever comes at once. */
void watch_stop(struct watch *w);
void watch_fini(struct watch *w); /* stopped, and no question is on its way */

/* told is set. It may come before this returns. */
void watch_enter(struct watch *w, struct watcher *p, const struct job_ref *ref,
                 int64_t deadline_ms);
void watch_tell(struct watch *w, const struct job_ref *ref); /* has ended */
/* Some job that runs here may have ended without it: asks about all at once. */
void watch_look(struct watch *w);
