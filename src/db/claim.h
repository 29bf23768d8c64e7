/* claim — jobs as claim_jobs gives them.
 *
 * Does:      asks for jobs that are ready; decodes what comes.
 * Does not:  run them (core/jobs does).
 * Threads:   whoever holds the call; a lane does until done().
 * Owns:      words and histories of its jobs, until they are taken.
 */
#pragma once

#include "db/item.h"

struct claim_job {
    struct turn_ref ref;
    char *words;            /* owned */
    struct passage history; /* owned */
    struct hash caller;     /* of its limit key: who is counted at the gate */
    int failures;           /* of its calls, for which it was handed back */
    char request_id[UUID_TEXT_BYTES];
};

struct claim {
    struct call_item call; /* done and deadline_ms are the caller's */
    char worker[UUID_TEXT_BYTES];
    struct uuid worker_id;
    char most[12], messages[12], bytes[12], number[12]; /* decimal */
    const char *known; /* borrowed; conversations of the jobs that run, as text of a uuid[] */

    struct claim_job jobs[LIMIT_CLAIM_JOBS];
    size_t count;
};

/* Fills in the call; what the claim says above is set. */
void claim_ask(struct claim *c);
/* Frees what was not taken (set to NULL, emptied). */
void claim_clear(struct claim *c);
