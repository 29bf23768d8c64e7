/* gate — how many model calls may be in flight, and who waits for one.
 *
 * Does:      counts permits with a POSIX semaphore that grows and shrinks with what is allowed: the
 *            worker's setting, the fleet's lease, what the model bears. Who gets none waits, callers
 *            in turn, with a deadline; who would wait in vain is told so before he is stored.
 * Does not:  block: sem_trywait only; call the model; know why a limit is what it is.
 * Threads:   any. Callbacks run without the lock, on the thread that gave a permit back or moved a
 *            limit, or on the timers' thread.
 * Owns:      nothing; a struct gate_place lives inside its turn.
 */
#pragma once

#include <semaphore.h>

#include "base/timer.h"
#include "core/rota.h"

/* Live turns come first; of five permits one goes to a job, when any waits. */
enum gate_class { GATE_LIVE, GATE_JOB, GATE_CLASSES };
#define GATE_JOB_SHARE 5
#define GATE_SHORT_US 20000 /* about what a claim takes on a busy machine */
#define GATE_LULL_US 100000 /* when none has ended for so long, they are not short just now */

struct gate_place {
    void (*admitted)(struct gate_place *); /* has a permit; gate_leave must follow */
    void (*expired)(struct gate_place *);  /* the deadline came first: no permit */
    enum gate_class class;
    struct rota_place rota;
    struct timer timer; /* the deadline */
    struct gate *gate;
    int64_t since_us;    /* when it began to wait */
    int64_t admitted_ms; /* monotonic; when it got its permit */
};

struct gate_options {
    int permits;     /* the worker's own cap */
    size_t most;     /* places, those with a permit included */
    bool has_leases; /* none yet: gate_lease must come first */
    struct timers *timers;
};

struct gate {
    struct gate_options options;
    sem_t free; /* posted is its value: semaphores tell none one could trust */
    pthread_mutex_t lock;
    struct rota rotas[GATE_CLASSES]; /* lock */
    int posted;                      /* lock */
    int in_use;                      /* lock */
    int high_water;                  /* lock */
    int leased, bearable;            /* lock: limits beside the worker's own */
    int64_t leased_until_ms;         /* lock; monotonic */
    unsigned since_job;              /* lock: live turns let in since the last job */
    int64_t call_us;                 /* lock: what a call takes, smoothed; 0: not known */
    int64_t left_us;                 /* lock; monotonic: when the last one ended */
    bool is_closed[GATE_CLASSES];    /* lock */
};

void gate_init(struct gate *g, const struct gate_options *o);
void gate_fini(struct gate *g); /* nobody uses it any more; who waits is forgotten */

/* A place for one of this caller's, from the first moment on. false: there is none; *wait_ms: in
 * about what time all who are here will have had a permit, a minute at most. An eighth of the queue
 * is kept for callers who have little here. */
MUST_USE bool gate_arrive(struct gate *g, struct gate_place *p, const struct hash *caller,
                          int64_t *wait_ms);
void gate_depart(struct gate *g, struct gate_place *p);

/* It will want a permit soon. false: by the pace of the calls, its own would not be over until the
 * monotonic time; *wait_ms: in about what time it would be worth asking again. gate_enter or
 * gate_quit must follow. */
MUST_USE bool gate_come(struct gate *g, struct gate_place *p, int64_t deadline_ms,
                        int64_t *wait_ms);
void gate_quit(struct gate *g, struct gate_place *p);

/* true: it has a permit. false: it waits; one of its callbacks comes, once. */
MUST_USE bool gate_enter(struct gate *g, struct gate_place *p, int64_t deadline_ms);
/* How many jobs more would find something to do here: as many as permits are free, and while one short
 * call ends after another, so that claiming takes longer, as many again; one, when live turns wait, for
 * its share. */
size_t gate_room(struct gate *g);
/* Nobody of this class is let in any more: who waits, and who still comes, has expired. */
void gate_close(struct gate *g, enum gate_class class);
/* Gives the permit back; the next gets it. Once for each permit had. */
void gate_leave(struct gate *g, struct gate_place *p);

/* What the model bears. */
void gate_bear(struct gate *g, int permits);
/* What this worker may use of the fleet's permits, until the monotonic time. */
void gate_lease(struct gate *g, int permits, int64_t until_ms);

struct gate_report {
    int in_use;
    int wanted;      /* in use, waiting or coming: as far as the model bears */
    int64_t call_us; /* what a call takes, smoothed; 0: not known */
};
void gate_tell(struct gate *g, struct gate_report *out);
