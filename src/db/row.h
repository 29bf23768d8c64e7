/* row — fields of a binary answer.
 *
 * Does:      reads numbers, fixed bytes, texts and histories out of one row; checks an answer's types.
 * Does not:  know which function answered.
 * Threads:   its lane's.
 * Owns:      nothing; the rows are their holder's.
 */
#pragma once

#include <libpq-fe.h>

#include "base/defs.h"
#include "db/passage.h"

struct row {
    const PGresult *rows;
    int at;
};

bool row_has(const struct row *r, int column); /* false: NULL */
struct span row_get(const struct row *r, int column);
int32_t row_int4(const struct row *r, int column, int32_t when_null);
int64_t row_int8(const struct row *r, int column, int64_t when_null);
MUST_USE bool row_fixed(const struct row *r, int column, void *out, size_t len);
char *row_copy(const struct row *r, int column,
               size_t *len); /* owned; NULL for NULL. len may be NULL */

/* Words of the user and answers in turn, as text[]. This is the one copy on the way from PostgreSQL
 * to the model, escapes and all. NULL: an empty one. false: it is something else. */
MUST_USE bool row_passage(const struct row *r, int column, struct passage *p);

/* Are these the columns, and binary? */
MUST_USE bool rows_have_types(const PGresult *rows, const Oid *types, size_t count);
