/* reply — an answer, built whole.
 *
 * Does:      bodies of errors (RFC 9457, with OpenAI's error object inside), headers that tell
 *            quota and retries.
 * Does not:  queue or send anything; decide which error it is.
 * Threads:   any.
 * Owns:      nothing; a response is its caller's.
 */
#pragma once

#include <microhttpd.h>

#include "base/buf.h"
#include "db/item.h"

struct reply_facts {
    const char *request_id;
    const struct quota *quota; /* NULL: not known */
    const char *allow;         /* with 405 */
    int32_t turn_no;           /* 0: none */
    bool replayed;
};

/* Takes the bytes, which were malloc'ed. Never NULL. */
struct reply_body {
    const char *content_type;
    char *bytes;
    size_t len;
};
struct MHD_Response *reply_new(const struct reply_facts *f, const struct reply_body *body);
struct MHD_Response *reply_problem(const struct reply_facts *f, const struct err *e);

/* The whole message as bytes, for a connection that can no longer be answered in order: it is
 * closed behind it. */
void reply_last_words(struct buf *out, const struct reply_facts *f, const struct err *e);

void reply_header(struct MHD_Response *r, const char *name, const char *value);

/* "250ms", "6s", "6.5s", "1m0s", "2h0m5s", as OpenAI writes them. */
#define REPLY_DURATION_BYTES 32
void reply_duration(int64_t ms, char out[REPLY_DURATION_BYTES]);

/* Seconds, rounded up, at least 1. */
int64_t reply_seconds(int64_t ms);

/* Structured fields of draft-ietf-httpapi-ratelimit-headers-10: `"free";q=20;w=60` and
 * `"free";r=19;t=3`; with a cap on tokens, `, "free-tokens";q=100000;w=86400` and the like besides.
 * Empty when nothing is limited. */
#define REPLY_QUOTA_BYTES 320
void reply_quota_policy(const struct quota *q, char out[REPLY_QUOTA_BYTES]);
void reply_quota_state(const struct quota *q, char out[REPLY_QUOTA_BYTES]);
