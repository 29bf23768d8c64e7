/* history — conversations whose history was read lately, so that it need not be read again.
 *
 * Does:      keeps what the model was last shown of a conversation, up to a ceiling of bytes in all and
 *            for ten minutes; the longest unused goes first.
 * Does not:  decide anything: the database says whether what is known here is of this conversation,
 *            whether the caller may see it, and what has been said since. History is append-only, so
 *            what was known once stays true; a worker that knows nothing is only slower.
 * Threads:   any. Who takes a memory owns it until it is put back.
 * Owns:      the memories that nobody has taken.
 */
#pragma once

#include <pthread.h>

#include "base/hash.h"
#include "base/ids.h"
#include "base/list.h"
#include "base/table.h"
#include "db/passage.h"

#define HISTORY_IDLE_MS 600000

struct memory {
    struct list_node node;   /* history's */
    struct table_node named; /* by its conversation's queue in core/line */
    int64_t put_ms;
    struct uuid conversation;
    int32_t last_turn; /* known up to here */
    struct passage passage;
};

struct history {
    size_t most_bytes;
    pthread_mutex_t lock;
    struct table table;   /* lock */
    struct list memories; /* lock; the longest unused first */
    size_t bytes;         /* lock */
};

void history_init(struct history *h, size_t most_bytes);
void history_fini(struct history *h);

/* NULL: nothing is known. The name is that of the conversation's queue in core/line. */
MUST_USE struct memory *history_take(struct history *h, const struct hash *name);
void history_put(struct history *h, struct memory *m, int64_t now_ms);
void history_forget_idle(struct history *h, int64_t now_ms);

struct memory *memory_new(const struct hash *name);
void memory_free(struct memory *m); /* NULL is fine */
