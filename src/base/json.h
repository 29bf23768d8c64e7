/* json — strict reading of requests, fast writing of strings.
 *
 * Does:      parses with jansson behind a screen: UTF-8, object root, no duplicate keys, no NUL,
 *            depth and the ceilings LIMIT_JSON_*.
 * Does not:  re-serialise what users sent: text is stored and forwarded as it came.
 * Threads:   any; json_setup once in main before threads start.
 * Owns:      json_read gives a new reference to its caller (json_decref).
 */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

void json_setup(void); /* seeds jansson's hash table */

/* ERR_BAD_JSON with a place ("line 1, column 7: ..") otherwise. Ceilings are checked before jansson
 * sees the text. */
MUST_USE json_t *json_read(const char *text, size_t len, struct err *e);

/* The string member `name`. Missing: out->data is NULL and true when !required. Wrong type, shorter
 * than min or longer than max bytes, or holding NUL: ERR_BAD_FIELD naming the member. Borrowed from
 * the object. */
struct json_want {
    const char *name;
    size_t min_bytes, max_bytes;
    bool required;
};
MUST_USE bool json_get_text(const json_t *object, const struct json_want *want, struct span *out,
                            struct err *e);

/* Appends the text as a JSON string with its quotes. Text must be valid UTF-8. */
bool json_add_text(struct buf *b, const char *text, size_t len);
