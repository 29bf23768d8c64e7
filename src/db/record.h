/* record — what a database says was applied to it, against what this binary carries.
 *
 * Does:      makes and reads the two bookkeeping tables; compares checksums and versions.
 * Does not:  apply anything, begin or end transactions.
 * Threads:   the caller's; blocks.
 * Owns:      the rows it read, until record_free.
 */
#pragma once

#include <libpq-fe.h>

#include "base/err.h"
#include "base/hash.h"
#include "db/embedded.h"

#define CHECKSUM_TEXT_BYTES (2 * HASH_BYTES + 1)

struct record {
    PGresult *migrations; /* version, name, checksum; by version. NULL: there are no tables yet */
    PGresult *functions;  /* name, checksum */
};

enum record_state { RECORD_PENDING, RECORD_CURRENT, RECORD_CHANGED };

MUST_USE bool record_make_tables(PGconn *pg, struct err *e); /* where they are missing */
MUST_USE bool record_read(PGconn *pg, struct record *r, struct err *e);
void record_free(struct record *r);

int record_version(const struct embedded_sql *migration);
void record_checksum(const struct embedded_sql *sql, char out[CHECKSUM_TEXT_BYTES]);
enum record_state record_of_migration(const struct record *r, const struct embedded_sql *migration);
enum record_state record_of_function(const struct record *r, const struct embedded_sql *function);
int record_newest(const struct record *r); /* version applied; 0: none */
/* The row of a version that this binary does not carry, -1: there is none. */
int record_unknown_row(const struct record *r);
/* A changed file, a newer database, a hole in the order: ERR_INTERNAL that names it. */
MUST_USE bool record_check(const struct record *r, struct err *e);
