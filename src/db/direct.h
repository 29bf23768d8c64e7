/* direct — a blocking connection to PostgreSQL itself, for the operator's commands.
 *
 * Does:      connects, runs statements, turns failures into errors an operator can read; connects anew after one that
 *            passes, for those who only read.
 * Does not:  go through a pooler, or put the URL's words into an error.
 * Threads:   the caller's; blocks.
 * Owns:      nothing; results and connection are the caller's.
 */
#pragma once

#include <libpq-fe.h>

#include "base/err.h"

MUST_USE PGconn *direct_open(const char *url, struct err *e); /* PQfinish */
/* One statement, or several without parameters. NULL: e says what the server said. ERR_BUSY: a lock
 * was not to be had within lock_timeout. */
MUST_USE PGresult *direct_ask(PGconn *pg, const char *sql, struct err *e);
/* One statement with text parameters. */
MUST_USE PGresult *direct_ask_with(PGconn *pg, const char *sql, const char *const *params,
                                   size_t count, struct err *e);
MUST_USE bool direct_do(PGconn *pg, const char *sql, struct err *e);
/* After a failure: may the same be asked again? Then the connection is a new one, and e is clear. false: it is no failure
 * that passes, or it did not pass; e says which. failures: begins at 0, and back to 0 whenever something was read. */
MUST_USE bool direct_again(PGconn **pg, const char *url, int *failures, struct err *e);
