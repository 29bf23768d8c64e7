/* db — the lanes to PostgreSQL.
 *
 * Does:      takes items, forms batches (one function call = one transaction = one round trip), answers each.
 * Does not:  use anything a transaction pooler cannot carry: unnamed parameters only, one query outstanding,
 *            no cancel requests, no pipelining (PgBouncer before 1.21 hands its replies to the wrong client).
 * Threads:   submit from any thread; done and late run on a lane's thread and must not block.
 * Owns:      its connections and threads; items only while they are submitted.
 *
 * A lane takes FINISH and ACCEPT items that are waiting, up to LIMIT_BATCH_ITEMS of one kind, oldest first; alone, an
 * item waits for nobody. A batch that fails as a whole is done again item by item, so that one bad item fails alone.
 * A lost connection means unknown, not undone: the same call is repeated and finds out.
 */
#pragma once

#include "base/config.h"
#include "db/item.h"

struct db;

MUST_USE struct db *db_open(const struct config *c,
                            struct err *e); /* no connection is needed to open */
/* Until all items are done, or the monotonic time has come: false. */
bool db_wait_quiet(struct db *d, int64_t until_ms);
void db_close(struct db *d); /* items left are not called back */

/* The worker id that ACCEPTs are made under; may change while running. */
void db_set_worker(struct db *d, const struct uuid *worker);

void db_submit_accept(struct db *d, struct accept_item *item);
void db_submit_finish(struct db *d, struct finish_item *item);
void db_submit_call(struct db *d, struct call_item *item);
