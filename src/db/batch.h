/* batch — items as one function call, and its rows as their outcomes.
 *
 * Does:      encodes accepts or finishes as binary arrays; decodes binary rows; single calls as text.
 * Does not:  talk to the database, end items, keep lists.
 * Threads:   its lane's.
 * Owns:      the buffers of parameters, kept from call to call.
 */
#pragma once

#include "base/limits.h"
#include "db/conn.h"
#include "db/pgarray.h"
#include "db/work.h"

#define BATCH_PARAMS 18

/* What every accept of this process is asked with. */
struct batch_terms {
    int32_t history_messages;
    int32_t history_bytes;
    int64_t session_ttl_ms;
    int32_t most_jobs; /* of one caller */
};

struct batch {
    struct batch_terms terms;
    struct uuid worker; /* accepts are made under it; set when items are taken */
    enum work_kind kind;
    size_t count;
    struct list_node *items[LIMIT_BATCH_ITEMS]; /* their places are the function's item numbers */

    struct pgarray arrays[BATCH_PARAMS];
    uint8_t scalars[BATCH_PARAMS][16];
    Oid types[BATCH_PARAMS];
    const char *values[BATCH_PARAMS];
    int lengths[BATCH_PARAMS], formats[BATCH_PARAMS];
};

void batch_init(struct batch *b, const struct batch_terms *terms);
void batch_fini(struct batch *b);

/* Takes items from the list's beginning, without removing them: at most `most`, and no more than
 * LIMIT_BATCH_BYTES of text beyond the first item. out points into b until the next call.
 * false: what one item holds cannot travel; b has that one item. */
MUST_USE bool batch_encode(struct batch *b, enum work_kind kind, const struct list *from,
                           size_t most, struct conn_call *out);

/* Fills in the outcomes of b's items. An item that the answer does not mention, or that it does in
 * a way not agreed, becomes ERR_INTERNAL. false: there was such an item. */
MUST_USE bool batch_decode(struct batch *b, const PGresult *rows);
