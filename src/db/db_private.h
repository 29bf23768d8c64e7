/* db_private — what lanes see of their db.
 *
 * Does:      ties the hall and the lanes together.
 * Does not:  leave this room.
 * Threads:   frozen after db_open, but for the hall, which locks itself.
 * Owns:      hall, lanes, the URL.
 */
#pragma once

#include "db/db.h"
#include "db/hall.h"
#include "db/lane.h"

struct db {
    struct hall hall;
    int64_t timeout_ms; /* of one call */
    char *url;
    size_t lane_count;
    struct lane lanes[];
};
