/* keeper — what a worker does beside its turns.
 *
 * Does:      tells the database every two seconds that this worker is alive, and leases permits from the
 *            fleet's cap with it; takes a new id when it was declared dead; buries dead workers; makes
 *            partitions ahead; sweeps idle limits; walks through the record for what is past its
 *            retention; has what was
 *            said sealed.
 * Does not:  wait: every step is a call item, and its end starts the timer of the next.
 * Threads:   keeper_* from any; steps on the timers' thread, their ends on a lane's.
 * Owns:      this worker's id.
 */
#pragma once

#include "base/config.h"
#include "base/ids.h"
#include "base/timer.h"
#include "core/gate.h"
#include "core/sealer.h"
#include "db/db.h"

struct keeper;

struct keeper_duty { /* one thing done again and again */
    struct keeper *keeper;
    struct timer timer;
    struct call_item item;
    bool is_asked; /* lock: a call is on its way */
    void (*ask)(struct call_item *, struct keeper *);
    int64_t (*ended)(struct keeper *, struct call_item *); /* ms until the next time */
};

/* One heartbeat as it went out, and what the ones before it came to. */
struct keeper_beat {
    int32_t number;
    int64_t sent_ms;              /* monotonic */
    char worker[UUID_TEXT_BYTES]; /* the id it goes out under */
    char before[UUID_TEXT_BYTES]; /* the id it had before; "": none */
    int leased;                   /* what the gate was last told, while that holds */
    int64_t leased_until_ms;
    int cancels;         /* of this worker's jobs, as it was told */
    char numbers[7][12]; /* parameters as text */
};

/* One step of the walk. */
struct keeper_walk {
    int most; /* conversations in it; fewer after a step that failed, for it may have been too long */
    char keep_ms[24], most_text[12]; /* parameters as text */
};

struct keeper {
    struct db *db;
    struct timers *timers;
    const struct config *config;
    struct gate *gate;
    void (*cancelled)(void *arg);
    void *arg;
    struct keeper_duty heartbeat, reaping, partitions, sweep, sealing, retention, erasing;
    struct keeper_beat beat; /* heartbeat's own */
    struct sealer sealer;    /* sealing's own */
    char *swept_to;          /* sweep's own: the key to go on after; NULL: from the first */
    struct keeper_walk walk; /* retention's own */
    char *erased_on; /* erasing's own: the session to go on with; NULL: whichever was left */

    pthread_mutex_t lock;
    pthread_cond_t quiet;
    bool is_stopping;             /* lock */
    char worker[UUID_TEXT_BYTES]; /* lock */
    int64_t heard_ms;             /* lock: when the last heartbeat came through; 0: none */
    int64_t unbroken_ms;          /* lock: since when they have, one soon after another */
    int schema_found;             /* lock: -1: not known yet */
};

struct keeper_options {
    const struct config *config;
    struct db *db;
    struct timers *timers;
    struct gate *gate;
    /* Jobs of this worker were cancelled, or are its own no more. Without a lock, on a lane's thread. */
    void (*cancelled)(void *arg);
    void *arg;
};
void keeper_init(struct keeper *k, const struct keeper_options *o);
/* Ends its duties; waits, until the monotonic time at most, for those under way. */
void keeper_stop(struct keeper *k, int64_t until_ms);
void keeper_fini(struct keeper *k);

struct keeper_report {
    bool is_heard;
    int schema_found;
    char worker[UUID_TEXT_BYTES];
};
void keeper_tell(struct keeper *k, struct keeper_report *out);
