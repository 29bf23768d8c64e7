/* err — one table of everything that can go wrong.
 *
 * Does:      gives each error its stable code, HTTP status, blame, retry advice and SQLSTATE.
 * Does not:  log or print; an error is logged once, at the edge.
 * Threads:   any; a struct err belongs to its holder.
 * Owns:      its text, inside the struct.
 */
#pragma once

#include "base/defs.h"
#include "base/limits.h"

enum err_fault { FAULT_NONE, FAULT_CLIENT, FAULT_US, FAULT_MODEL, FAULT_DATABASE };

/* name, stable code, HTTP status, fault, may the same request be sent again, SQLSTATE, title */
#define ERR_LIST(X)                                                                                \
    X(NONE, "none", 200, NONE, false, "00000", "no error")                                         \
    X(BAD_JSON, "invalid_json", 400, CLIENT, false, NULL, "The body is not valid JSON")            \
    X(BAD_FIELD, "invalid_request", 400, CLIENT, false, "HS400", "The request is not valid")       \
    X(MALFORMED, "malformed_request", 400, CLIENT, false, NULL, "The HTTP request is malformed")   \
    X(UNAUTHORIZED, "unauthorized", 401, CLIENT, false, "HS401", "The API key is not valid")       \
    X(NOT_FOUND, "not_found", 404, CLIENT, false, "HS404", "There is no such thing here")          \
    X(METHOD, "method_not_allowed", 405, CLIENT, false, NULL, "This method is not allowed here")   \
    X(READ_TIMEOUT, "request_timeout", 408, CLIENT, true, NULL, "The request came too slowly")     \
    X(BUSY, "conversation_busy", 409, CLIENT, true, "HS409", "The conversation is busy")           \
    X(CANCELLED, "turn_cancelled", 409, CLIENT, false, "HS499", "The turn was cancelled")          \
    X(JOB_ENDED, "job_ended", 409, CLIENT, false, "HS410", "The job has ended")                    \
    X(TOO_LARGE, "request_too_large", 413, CLIENT, false, NULL, "The request is too large")        \
    X(MEDIA_TYPE, "unsupported_media_type", 415, CLIENT, false, NULL, "The body must be JSON")     \
    X(KEY_REUSED, "idempotency_key_reused", 422, CLIENT, false, "HS422",                           \
      "The idempotency key was used with another request")                                         \
    X(RATE_LIMITED, "rate_limited", 429, CLIENT, true, "HS429", "The rate limit is reached")       \
    X(OPEN_TURNS, "too_many_open_turns", 429, CLIENT, true, "HS430", "Too many turns are open")    \
    X(TOKENS, "token_limit_reached", 429, CLIENT, true, "HS431", "The day's tokens are used up")   \
    X(TOO_MANY_JOBS, "too_many_jobs", 429, CLIENT, true, "HS432", "Too many jobs are waiting")     \
    X(HEADERS_TOO_LARGE, "headers_too_large", 431, CLIENT, false, NULL,                            \
      "The headers are too large")                                                                 \
    X(INTERNAL, "internal_error", 500, US, false, NULL, "Something went wrong here")               \
    X(MODEL_FAILED, "model_failed", 502, MODEL, false, "HS502", "The model failed to answer")      \
    X(WORKER_LOST, "worker_lost", 502, US, false, "HS503", "The worker of this turn was lost")     \
    X(QUEUE_FULL, "queue_full", 503, US, true, NULL, "Too many turns are waiting")                 \
    X(QUEUE_SLOW, "queue_too_slow", 503, US, true, NULL,                                           \
      "The wait would outlast the request's time")                                                 \
    X(JOB_QUEUE_FULL, "job_queue_full", 503, US, true, "HS433", "The queue of jobs is full")       \
    X(MODEL_DOWN, "model_unavailable", 503, MODEL, true, NULL, "The model is not available")       \
    X(DRAINING, "draining", 503, US, true, NULL, "This worker is stopping")                        \
    X(DB_DOWN, "database_unavailable", 503, DATABASE, true, NULL, "The database is not available") \
    X(MODEL_TIMEOUT, "model_timeout", 504, MODEL, false, "HS504", "The model was too slow")

enum err_kind {
#define ERR_ENUM(name, code, status, fault, again, sqlstate, title) ERR_##name,
    ERR_LIST(ERR_ENUM)
#undef ERR_ENUM
        ERR_KINDS
};

struct err {
    enum err_kind kind;
    unsigned retry_after_ms; /* 0: no advice */
    char detail[LIMIT_ERR_DETAIL_BYTES];
};

/* One row of the table. */
struct err_info {
    const char *name; /* "BUSY" */
    const char *code; /* "conversation_busy" */
    int http_status;
    enum err_fault fault;
    bool may_repeat;
    const char *sqlstate; /* NULL: never comes from SQL */
    const char *title;
};

const struct err_info *err_info(enum err_kind kind);

/* ERR_INTERNAL when no row has this SQLSTATE (a text of five characters). */
enum err_kind err_from_sqlstate(const char *sqlstate);

/* ERR_INTERNAL when no row has this code. */
enum err_kind err_from_code(const char *code);

/* Sets e unless it is already set: the first error is the cause. Always returns false, so that
 * `return err_set(e, …)` reads well. The text must not hold secrets: it goes to the client. */
bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
void err_clear(struct err *e);
