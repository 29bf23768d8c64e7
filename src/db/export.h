/* export — everything a user said and was answered, for `hansard audit export`.
 *
 * Does:      writes one JSON object a line for each turn, page by page, over a direct connection as the owner.
 * Does not:  hold more than a page in memory, or a transaction between pages; write a page that was not read whole.
 * Threads:   the caller's; blocks.
 * Owns:      its connection, inside the call.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* turns: how many were read, and written as far as there was room for them; also when it fails. */
MUST_USE bool export_user(const char *url, const char *user, FILE *out, int64_t *turns,
                          struct err *e);
