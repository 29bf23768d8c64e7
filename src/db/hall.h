/* hall — where items wait for a lane; what lanes need of their db.
 *
 * While one batch of a kind is on its way, what comes meanwhile gathers for the next one: that is how
 * batches grow under load. A second lane takes the kind up only when there is enough for a good batch
 * already, or when the first has been gone for long.
 *
 * Does:      three queues, oldest first; refuses what has waited too long.
 * Does not:  connect, or carry anything out.
 * Threads:   any; callbacks of items run without the lock.
 * Owns:      waiting items; the lock and its conditions.
 */
#pragma once

#include <pthread.h>

#include "base/ids.h"
#include "db/work.h"

struct hall {
    pthread_mutex_t lock;
    pthread_cond_t work;  /* something waits */
    pthread_cond_t pause; /* only ever signalled to end pauses early */
    pthread_cond_t quiet; /* nothing waits, nobody holds anything */
    /* All below under the lock. */
    struct list waiting[WORK_KINDS];
    uint64_t
        since[WORK_KINDS]; /* when the queue's first item came to be first, by the ticks below */
    uint64_t ticks;
    size_t in_hand[WORK_KINDS];   /* lanes that hold items of this kind */
    int64_t taken_ms[WORK_KINDS]; /* when one last took some */
    struct uuid worker;
    size_t busy; /* lanes and sweeps that hold items */
    int64_t next_sweep_ms;
    bool is_stopping;
};

void hall_init(struct hall *h);
void hall_fini(struct hall *h);
void hall_set_worker(struct hall *h, const struct uuid *worker);
void hall_add(struct hall *h, enum work_kind kind, struct list_node *n);
/* true: nothing waits, nobody holds anything. */
bool hall_wait_quiet(struct hall *h, int64_t until_ms);
void hall_stop(struct hall *h);

/* Waits for work. false: stopping. */
MUST_USE bool hall_wait_work(struct hall *h);
/* A lane that cannot take the work it was woken for wakes another. */
void hall_pass_on(struct hall *h);
/* Moves items of one kind into `into`; false: none are left. hall_give_back must follow. */
MUST_USE bool hall_take(struct hall *h, struct list *into, enum work_kind *kind,
                        struct uuid *worker);
void hall_give_back(struct hall *h, enum work_kind kind);
/* Ends waiting items whose time is over. false: stopping. */
bool hall_sweep(struct hall *h);
/* false: stopping. */
MUST_USE bool hall_pause(struct hall *h, int64_t until_ms);
