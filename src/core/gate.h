/* gate — how many model calls may be in flight, and who waits for one.
 *
 * Does:      counts permits with a POSIX semaphore; who gets none waits, first come first served, with
 *            a deadline.
 * Does not:  block: sem_trywait only; call the model.
 * Threads:   any. Callbacks run without the lock, on the thread that gave a permit back, or on the
 *            timers' thread.
 * Owns:      nothing; a struct gate_place lives inside its turn.
 */
#pragma once

#include <semaphore.h>

#include "base/list.h"
#include "base/timer.h"

struct gate_place {
    void (*admitted)(struct gate_place *); /* has a permit; gate_leave must follow */
    void (*expired)(struct gate_place *);  /* the deadline came first: no permit */
    struct list_node node;                 /* lock: linked while it waits */
    struct timer timer;                    /* the deadline */
    struct gate *gate;
    int64_t since_us; /* when it came */
};

struct gate {
    struct timers *timers;
    int permits;
    sem_t free;
    pthread_mutex_t lock;
    struct list waiting; /* lock; gate_place */
    int in_use;          /* lock; for the metrics: semaphores tell no value one could trust */
    int high_water;      /* lock */
    bool is_closed;      /* lock */
};

void gate_init(struct gate *g, int permits, struct timers *timers);
void gate_fini(struct gate *g); /* nobody uses it any more; who waits is forgotten */

/* true: it has a permit. false: it waits; one of its callbacks comes, once. */
MUST_USE bool gate_enter(struct gate *g, struct gate_place *p, int64_t deadline_ms);
/* Nobody is let in any more: who waits, and who still comes, has expired. */
void gate_close(struct gate *g);
/* Gives the permit back; the first in the queue gets it. Once for each permit had. */
void gate_leave(struct gate *g);
