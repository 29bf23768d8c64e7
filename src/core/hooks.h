/* hooks — tells those who want to know that a job has ended.
 *
 * Does:      takes messages that are due from the database, at once when told and every few seconds; sends four
 *            at a time; writes what became of each, or when to try again.
 * Does not:  decide what a message says or whose it is (the database does), or keep one in memory longer than
 *            it takes: what is not written down by the end of its lease is sent again by somebody.
 * Threads:   one of its own; hooks_wake from any; the ends of calls on a lane's.
 * Owns:      its thread, and messages while they are sent.
 */
#pragma once

#include <pthread.h>

#include "base/config.h"
#include "base/ids.h"
#include "core/keeper.h"
#include "db/db.h"
#include "llm/webhook.h"

#define HOOKS_AT_ONCE 4

struct hooks;

enum hook_state { HOOK_FREE, HOOK_SENDING, HOOK_ENDING };

/* A place for one message. The thread's own, but for what the lane writes into its call. */
struct hook {
    struct hooks *hooks;
    enum hook_state state;
    struct webhook webhook;
    struct call_item ending;
    int attempts;
    char *url, *body;
    char conversation[UUID_TEXT_BYTES], turn[12], attempt[12],
        retry_ms[24]; /* parameters as text */
    char job_id[UUID_TEXT_BYTES + 12];
    bool has_ended; /* lock: the call is over */
};

struct hooks_options {
    const struct config *config;
    struct db *db;
    struct keeper *keeper;
};

struct hooks {
    struct hooks_options o;
    struct webhooks *sender; /* NULL: webhooks are not configured, and nothing runs */
    pthread_t thread;
    struct hook places[HOOKS_AT_ONCE];
    struct call_item claim;
    char claim_worker[UUID_TEXT_BYTES], claim_most[12];
    int64_t claimed_ms; /* monotonic, when the newest claim was asked for; 0: none is on its way */
    int64_t look_ms;    /* monotonic, when to look again */

    pthread_mutex_t lock;
    bool is_stopping; /* lock */
    bool is_told;     /* lock: something may be due */
    bool has_claim;   /* lock: the claim is over */
};

/* Borrows what the options name. The keeper is not asked before hooks_start. */
MUST_USE bool hooks_init(struct hooks *h, const struct hooks_options *o, struct err *e);
void hooks_start(struct hooks *h);
/* A job has ended: its message may be due. */
void hooks_wake(struct hooks *h);
/* Breaks off what is being sent, to be sent by others; waits 3 s at most for that to be written. */
void hooks_stop(struct hooks *h);
void hooks_fini(struct hooks *h); /* stopped, and the database's room is closed; or never started */
