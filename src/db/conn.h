/* conn — one connection to PostgreSQL on which nothing lasts for ever.
 *
 * Does:      connects and calls without blocking, until a deadline; tells a refused call from a lost
 *            connection.
 * Does not:  cancel, pipeline, prepare, retry; give libpq's texts away (they may name host, user).
 * Threads:   one at a time; only name lookup may block for longer than CONN_TICK_MS.
 * Owns:      its PGconn; the URL is borrowed.
 */
#pragma once

#include <libpq-fe.h>

#include "base/defs.h"
#include "base/err.h"

#define CONN_TICK_MS 50
#define CONN_CLOSING "closing" /* the reason when tick ended it */

struct conn {
    PGconn *pg; /* NULL: not connected */
    const char *url;
    /* Called at least every CONN_TICK_MS while the connection waits; false: give up at once. */
    bool (*tick)(void *);
    void *tick_arg;
    const char *reason; /* why the last connect failed or the connection was lost; static text */
};

struct conn_call {
    const char *sql;
    int count;
    const Oid *types;
    const char *const *values;
    const int *lengths;
    const int *formats;
    int result_format; /* 1: binary */
};

enum conn_outcome {
    CONN_FINE,    /* result holds the rows */
    CONN_REFUSED, /* an SQL error: the transaction was rolled back */
    CONN_LOST     /* unknown whether it was done; the connection is closed */
};

struct conn_answer {
    enum conn_outcome outcome;
    bool was_sent;    /* CONN_LOST: false when the call cannot have reached the database */
    char sqlstate[6]; /* "" when there is none */
    PGresult *result; /* CONN_FINE only; the caller's: PQclear */
};

/* Is this a URL or connection string that libpq understands? Never says what is wrong with it. */
MUST_USE bool conn_url_is_valid(const char *url);
MUST_USE bool conn_open(struct conn *c, int64_t deadline_ms); /* false: reason says why */
void conn_close(struct conn *c);
/* Looks, without waiting, whether the server has closed it in the meantime; then closes it too. */
MUST_USE bool conn_is_alive(struct conn *c);
void conn_run(struct conn *c, const struct conn_call *call, int64_t deadline_ms,
              struct conn_answer *out);

/* libpq's reason in a word of ours: "refused", "authentication", "timeout" … */
const char *conn_reason(const PGconn *pg);
/* Worth doing again as it is: deadlock, lock timeout, no room, the server is stopping. */
bool conn_is_transient(const char *sqlstate);
