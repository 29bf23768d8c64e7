/* store — one C function per SQL function.
 *
 * Does:      fills call items; encodes batches as binary arrays and decodes their rows (for db/lane).
 * Does not:  decide; the SQL functions do.
 * Threads:   any.
 * Owns:      nothing; parameters are borrowed until the item is done.
 */
#pragma once

#include "db/item.h"

/* JSON of one page. ERR_NOT_FOUND, ERR_UNAUTHORIZED. Numbers as decimal text. */
struct store_page {
    const char *key_hash_hex; /* "\\x…" bytea text, NULL: anonymous */
    const char *session_id;
    const char *after_turn, *turns, *bytes;
    const char *conversation; /* NULL: the current one */
};
void store_read_conversation(struct call_item *c, const struct store_page *page);

/* JSON of one page: the conversations after this id. ERR_UNAUTHORIZED. */
void store_list_conversations(struct call_item *c, const char *key_hash_hex, const char *after,
                              const char *most);

/* JSON of the counts erased; NULL: there is more, ask again. */
void store_erase_conversation(struct call_item *c, const char *key_hash_hex, const char *session_id,
                              const char *request_id);

/* JSON of a turn; its first member is "ended", its last "error", a code or null. ERR_NOT_FOUND,
 * ERR_UNAUTHORIZED. */
struct store_job {
    const char *key_hash_hex;           /* as above */
    const char *conversation, *turn_no; /* UUID, decimal */
};
void store_read_job(struct call_item *c, const struct store_job *job);
/* The same, of a job that was cancelled by this. ERR_JOB_ENDED. */
void store_cancel_job(struct call_item *c, const struct store_job *job);
/* "{1,5,7}": the places of those turns that have ended or are not there. Text of a uuid[] and an
 * int[]. */
void store_jobs_ended(struct call_item *c, const char *conversations, const char *turn_nos);

/* "{version,granted,target,cancels}". ERR_WORKER_LOST: this id was declared dead; take a new one. Numbers
 * as decimal text; before may be NULL. What they mean: lease_permits in sql/functions. */
struct store_lease {
    const char *worker, *name, *version, *beat_no, *before;
    const char *holding, *wanted, *most, *cap, *lease_ms, *call_ms;
};
void store_lease_permits(struct call_item *c, const struct store_lease *l);

void store_leave(struct call_item *c, const char *worker); /* closes what it left open */
void store_reap_workers(struct call_item *c);              /* number of dead workers buried */
/* {"claims": […]}, each with conversation, turn, url, attempts, payload. ERR_WORKER_LOST: this id is not
 * registered. */
void store_claim_webhooks(struct call_item *c, const char *worker, const char *most);
/* "delivered", "retried" or "given_up"; NULL: it is not this attempt's any more. Numbers as decimal text. */
struct store_webhook_end {
    const char *conversation, *turn, *attempts;
    const char *is_delivered; /* "true" or "false" */
    const char *retry_ms;     /* NULL: not delivered, and never to be sent again */
};
void store_end_webhook(struct call_item *c, const struct store_webhook_end *w);
/* Broken off: somebody else may send it. */
void store_give_back_webhook(struct call_item *c, const char *conversation, const char *turn,
                             const char *attempts);
void store_make_partitions(struct call_item *c); /* number made */
/* A step of an erasure that was left half-way: the session to go on with; NULL: none. session_key: what
 * the last call gave, or NULL. */
void store_go_on_erasing(struct call_item *c, const char *session_key);
/* "{state,age}"; NULL: somebody else is at it. What they mean: apply_retention in sql/functions. Numbers
 * as decimal text. */
void store_apply_retention(struct call_item *c, const char *keep_ms, const char *most);
/* "{granted,retry_after_ms,ahead}" of so many turns of one caller, and of so many expected; NULL: he is
 * not limited, or not known. Numbers as decimal text. */
struct store_quota {
    const char *key_hash_hex, *address; /* as above */
    const char *turns, *ahead;
};
void store_take_quota(struct call_item *c, const struct store_quota *q);
/* "{1,3}": which of these are the worker's own no more. Arrays as text, one element a job. */
struct store_jobs {
    const char *worker, *conversations, *turn_nos, *attempts;
};
void store_jobs_lost(struct call_item *c, const struct store_jobs *j);
void store_count_jobs(struct call_item *c); /* "{queued,ready,calls}" */
/* The key to go on after; NULL: the end was reached. */
void store_sweep_limits(struct call_item *c, const char *after, const char *most);
/* JSON of the seal that was made (base/seal reads it); NULL: none was due. Numbers as decimal text. */
void store_seal(struct call_item *c, const char *every_ms, const char *settled_ms,
                const char *most);
struct store_signature {
    const char *seal_no, *hash, *signature, *key_id; /* bytes as "\\x…" */
};
void store_sign_seal(struct call_item *c, const struct store_signature *s); /* "t": it is kept */
