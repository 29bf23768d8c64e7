/* scan — what demo-llm needs to know of a request, in one pass over its bytes.
 *
 * Does:      checks that the body is JSON, counts messages, finds what the answer hangs on.
 * Does not:  build a tree, copy, or unescape (except scan_unescape).
 * Threads:   any.
 * Owns:      nothing; spans point into the body.
 */
#pragma once

#include "base/defs.h"

#define SCAN_ROLES 512
#define SCAN_DEPTH 64

struct scan {
    struct span model;        /* raw JSON text between the quotes; so are the next two */
    struct span last_content; /* of the last message */
    struct span last_user;    /* of the last message whose role is user */
    struct span messages;     /* the whole array, brackets included */
    unsigned message_count;
    char roles[SCAN_ROLES]; /* first letter of each role, for the first SCAN_ROLES messages */
    bool stream;
    bool include_usage;
};

/* false: *why says what is wrong with the body. */
MUST_USE bool scan_body(const char *body, size_t len, struct scan *out, const char **why);

/* Writes the text that a raw span stands for; out has room for raw.len. Returns the length. */
size_t scan_unescape(struct span raw, char *out);
