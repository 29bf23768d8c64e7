/* core — the worker's parts, opened and closed in order.
 *
 * Does:      holds lanes, model loop, gate, line, keeper and hooks together; tells whether the worker is ready.
 * Does not:  know HTTP.
 * Threads:   open, drain and close in main; the rest from any.
 * Owns:      all of them.
 */
#pragma once

#include "base/config.h"
#include "base/err.h"

struct core;
struct db;
struct turn_reply;
struct watch;

struct core_status {
    bool database; /* the last heartbeat came through in time */
    int schema_wanted;
    int schema_found; /* -1: not known yet */
    char worker[37];
};

MUST_USE struct core *core_open(const struct config *c, struct err *e);
void core_leave(struct core *c); /* hand back the jobs: others will run them */
void core_drain(struct core *c); /* refuse new turns from now on; nobody waits for jobs */
bool core_wait_idle(struct core *c, int64_t until_ms); /* monotonic; true: no turn is open */
void core_close(struct core *c);
bool core_is_closing(struct core *c); /* what goes on by itself ends now */

void core_status(struct core *c, struct core_status *out);
const struct config *core_config(const struct core *c);
struct watch *core_watch(struct core *c); /* who waits for jobs */
struct db *core_db(struct core *c);       /* for single calls of the reading routes */
