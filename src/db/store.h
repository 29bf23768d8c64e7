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

/* JSON of the counts erased. */
void store_erase_conversation(struct call_item *c, const char *key_hash_hex, const char *session_id,
                              const char *request_id);

/* "{version,granted,target}". ERR_WORKER_LOST: this id was declared dead; take a new one. Numbers
 * as decimal text; before may be NULL. What they mean: lease_permits in sql/functions. */
struct store_lease {
    const char *worker, *name, *version, *beat_no, *before;
    const char *holding, *wanted, *most, *cap, *lease_ms, *call_ms;
};
void store_lease_permits(struct call_item *c, const struct store_lease *l);

void store_leave(struct call_item *c, const char *worker); /* closes what it left open */
void store_reap_workers(struct call_item *c);              /* number of dead workers buried */
void store_make_partitions(struct call_item *c);           /* number made */
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
/* The key to go on after; NULL: the end was reached. */
void store_sweep_limits(struct call_item *c, const char *after, const char *most);
