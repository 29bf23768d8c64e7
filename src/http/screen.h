/* screen — what a request's head must look like before anything believes it.
 *
 * Does:      checks target, version and every header; refuses the shapes that two parsers could
 *            read differently; keeps the few headers the counter uses.
 * Does not:  know libmicrohttpd, routes, or what a header's value means (http/prefer does).
 * Threads:   one at a time.
 * Owns:      the joined X-Forwarded-For; all else is borrowed from the request.
 *
 * libmicrohttpd 0.9.75 takes folded headers (and glues them to the NAME), bare line feeds and
 * NULs. It splits the head in place: each CR, LF and first colon becomes NUL. So a clean head is
 * headers that lie seam to seam in that block, and screen_header checks the seams: name, NUL,
 * spaces, value, NUL NUL, next name. One thing stays unseen: a NUL that stands where a bare line
 * feed lacks its CR.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "http/prefer.h"

#define SCREEN_TARGET_BYTES 2048

struct screen {
    bool is_http_1_0, has_host, has_length, is_chunked, expects_continue, wants_seams;
    unsigned count;
    uint64_t length;                                                       /* Content-Length */
    struct span authorization, idempotency_key, content_type, traceparent; /* data NULL: not sent */
    struct prefer prefer;
    const char *forwarded_for; /* NULL: not sent; several are joined in order */
    struct buf joined;
    const char *seam, *end; /* where the next header must begin; end of the block */
};

struct screen_line {
    const char *method, *version; /* NUL-terminated */
    struct span target;           /* as it came, not decoded */
};

void screen_init(struct screen *s);
void screen_fini(struct screen *s);

/* ERR_MALFORMED with a reason. */
MUST_USE bool screen_begin(struct screen *s, const struct screen_line *line, struct err *e);
/* Optional, after screen_begin: the block of headers as libmicrohttpd left it, from the end of the
 * version to the end of the empty line. Header spans given afterwards must point into it. */
MUST_USE bool screen_seams(struct screen *s, struct span block, struct err *e);
/* The value must be NUL-terminated. */
MUST_USE bool screen_header(struct screen *s, struct span name, struct span value, struct err *e);
MUST_USE bool screen_end(struct screen *s, struct err *e);
