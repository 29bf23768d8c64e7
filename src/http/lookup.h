/* lookup — calls to the database, for the routes that read, cancel or erase.
 *
 * Does:      keeps the calls' parameters alive while they run, and while somebody waits for a job
 *            between two of them.
 * Does not:  know SQL (db/store does).
 * Threads:   the exchange's loop; the call's done comes on a lane's thread.
 * Owns:      the call's text.
 */
#pragma once

#include "base/hash.h"
#include "base/ids.h"
#include "base/limits.h"
#include "core/watch.h"
#include "db/item.h"

struct exchange;

struct lookup {
    struct call_item item;
    struct exchange *exchange;
    char key_hash_hex[2 + 2 * HASH_BYTES + 1]; /* "\x…" */

    /* The conversation routes. */
    char session_id[LIMIT_SESSION_ID_BYTES + 1];
    char after_turn[24], turns[24], bytes[24];
    char conversation[UUID_TEXT_BYTES]; /* "": none was named. The job routes', too */

    /* The job routes. */
    struct job_ref job;
    char turn_no[12];
    int64_t wait_until_ms; /* monotonic; 0: waits for nothing */
    struct watcher watcher;
};

/* The exchange's, with its caller; done wakes it. */
struct lookup *lookup_new(struct exchange *x);
void lookup_free(struct lookup *l); /* NULL is fine */

/* NULL: the caller is anonymous. */
const char *lookup_key(const struct lookup *l);

/* Submits the call and waits; finish builds the answer. */
void lookup_run(struct exchange *x, void (*finish)(struct exchange *));
/* The same call, once more, from any thread while the exchange waits. Its done wakes the exchange … */
void lookup_again(struct lookup *l);
/* … or is what it was. */
void lookup_repeat(struct lookup *l);

/* For finish: what went wrong is answered, else the text is here. */
MUST_USE bool lookup_is_good(struct exchange *x);
