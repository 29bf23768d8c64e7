/* prefer — the header Prefer (RFC 7240, section 2).
 *
 * Does:      finds the preferences that are known here; of one that is said twice, the first counts.
 * Does not:  refuse anything: a field that breaks the grammar says nothing, and neither does a
 *            preference that is not known.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include "base/defs.h"

struct prefer {
    bool respond_async;
    bool has_respond_async; /* was said; with a value, which it does not take, it means nothing */
};

/* One field of the header; there may be several, in their order. */
void prefer_read(struct prefer *p, struct span field);
