/* core_private — what the files of this room share about the core.
 *
 * Does:      lays the struct open to turn.
 * Does not:  leave the room.
 * Threads:   parts lock themselves; what is marked is guarded by core's own lock.
 * Owns:      see core/core.h.
 */
#pragma once

#include <pthread.h>

#include "core/backlog.h"
#include "core/callers.h"
#include "core/core.h"
#include "core/gate.h"
#include "core/history.h"
#include "core/hooks.h"
#include "core/jobs.h"
#include "core/keeper.h"
#include "core/line.h"
#include "core/meter.h"
#include "core/models.h"
#include "core/watch.h"

struct core {
    const struct config *config;
    struct timers *timers;
    struct db *db;
    struct models models;
    struct gate gate;
    struct callers callers;
    struct meter meter;
    struct line line;
    struct history history;
    struct watch watch;
    struct timer forgetting; /* what history has kept for long */
    struct keeper keeper;
    struct jobs jobs;
    struct backlog backlog;
    struct hooks hooks;
    struct call_item leaving;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* no turn is open; the leaving call is over */
    struct list turns;      /* lock: all there are */
    bool is_draining;       /* lock: no new turns */
    bool is_closing;        /* lock: nothing goes to the model any more, nobody waits */
    bool has_left;          /* lock */
};
