/* lane — one thread, one connection, the items in its hands.
 *
 * Does:      carries items out until each has its outcome: repeats what was lost, splits what was refused.
 * Does not:  choose which items come next (db does), or give up what may have been stored.
 * Threads:   lane_start and lane_join from db's owner; the rest is the lane's own thread.
 * Owns:      its connection and buffers; items from db_take until they are done.
 */
#pragma once

#include <pthread.h>

#include "db/batch.h"

struct db;

struct lane {
    struct db *db;
    pthread_t thread;
    struct conn conn;
    struct batch batch;
    bool was_down;     /* logged as away; until a call is answered */
    unsigned failures; /* in a row; the pause grows with them */

    enum work_kind kind;
    struct list held; /* of one kind; the first in_flight of them are with the database */
    size_t in_flight; /* 0: no call is outstanding */
    bool is_alone;    /* one item a call, since the batch was refused as a whole */
    const struct list_node *raced[LIMIT_BATCH_ITEMS]; /* of those held, met a unique violation */
    size_t raced_count;
};

void lane_start(struct lane *l, struct db *db, const char *url, const struct batch_terms *terms);
void lane_join(struct lane *l);
