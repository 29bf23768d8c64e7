/* request — the words of a request, read strictly.
 *
 * Does:      splits targets, decodes percent escapes once, reads query numbers, media types, keys,
 *            trace contexts.
 * Does not:  touch a connection or decide what a request may do.
 * Threads:   any.
 * Owns:      nothing; spans are borrowed from the text given in.
 */
#pragma once

#include "base/err.h"

/* "/a/b?c=d" into "/a/b" and "c=d"; no question mark: query.data is NULL. */
void request_split(struct span target, struct span *path, struct span *query);

/* Decodes %XX exactly once into out (room for max bytes and NUL). ERR_BAD_FIELD: a bad escape,
 * %00, a control character, invalid UTF-8, empty, or more than max bytes. `what` names the thing
 * in the detail. */
struct request_text {
    const char *what;
    size_t max_bytes;
};
MUST_USE bool request_decode(struct span text, const struct request_text *want, char *out,
                             struct err *e);

/* Numbers by name from a query. Unknown and repeated names, and values that are not decimal or out
 * of bounds, are ERR_BAD_FIELD. Values not given keep what they hold. */
struct request_number {
    const char *name;
    int64_t least, most;
    int64_t value;
    bool given;
};
MUST_USE bool request_query(struct span query, struct request_number *numbers, size_t count,
                            struct err *e);

/* JSON, or what curl -d and friends call it: none, application/json, text/plain,
 * application/x-www-form-urlencoded; a charset must be UTF-8. */
bool request_is_json(struct span content_type);

/* "Bearer <key>": the key. ERR_UNAUTHORIZED otherwise. */
MUST_USE bool request_bearer(struct span authorization, struct span *key, struct err *e);

bool request_is_idempotency_key(
    struct span text); /* 1..LIMIT_IDEMPOTENCY_KEY_BYTES of printable ASCII */
bool request_is_token_char(char c);
bool request_is_traceparent(struct span text); /* W3C Trace Context, version 00 */
