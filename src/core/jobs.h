/* jobs — background turns that this worker runs.
 *
 * Does:      claims what is ready while calls to the model are free, in batches: at once when this worker
 *            queued something or ended what others wait behind, else now and then; breaks off what was
 *            cancelled or is another's by now; hands everything back when the worker stops.
 * Does not:  queue jobs (accept_turns does), know how a turn is answered (core/turn does), or fence: the
 *            database does.
 * Threads:   any. Claims come on a lane's thread.
 * Owns:      the list of jobs that run here; not the turns.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/timer.h"
#include "core/job_list.h"
#include "db/claim.h"

#define JOBS_BUCKETS 256 /* a power of two */

struct core;
struct turn;

struct jobs {
    struct core *core;
    struct claim claim;     /* whoever has set is_claiming */
    size_t asked;           /* ... for so many */
    struct job_list known;  /* ... and knew of these */
    int number;             /* ... of the claim: rises when the reply to one was lost */
    bool is_lost;           /* ... that to the last one */
    int64_t doubtful_until; /* ... monotonic ms: it may still come to be done */
    struct timer poll;      /* waits, or fires just now, unless is_claiming or is_stopping */
    atomic_bool is_hungry;  /* would claim more, were there room */

    pthread_mutex_t lock;
    struct list running;              /* lock: struct turn */
    struct list by_ref[JOBS_BUCKETS]; /* lock: the same */
    bool is_claiming;                 /* lock */
    bool is_woken;                    /* lock: while it was claiming */
    bool is_stopping;                 /* lock */
    int64_t pause_ms;                 /* lock: until the next poll */

    struct call_item look; /* whoever has set is_looking */
    struct turn_ref *looked_at;
    struct job_list looked; /* the same */
    char look_worker[UUID_TEXT_BYTES];
    bool is_looking;    /* lock */
    bool is_look_asked; /* lock: while it was looking */
};

void jobs_init(struct jobs *j, struct core *core);
void jobs_start(struct jobs *j); /* begins to claim: the keeper is there */
/* Claims no more; what runs is broken off and goes back into the queue. More than once is fine. */
void jobs_stop(struct jobs *j);
void jobs_fini(struct jobs *j);

/* There may be something to claim. */
void jobs_wake(struct jobs *j);
/* A call to the model has become free. */
void jobs_note_room(struct jobs *j);
/* Something of what runs was cancelled, or this worker was declared lost. */
void jobs_look(struct jobs *j);

/* For core/turn: a claimed turn runs, until it is written. */
void jobs_begin(struct jobs *j, struct turn *t);
void jobs_end(struct jobs *j, struct turn *t);

bool jobs_is_here(struct jobs *j, const struct job_ref *ref); /* claimed, and not yet written */

/* The call came to nothing: is that no fault of the job's, so that it goes back into the queue? */
bool jobs_is_handed_back(struct jobs *j, const struct turn *t);
