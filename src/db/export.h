/* export — everything a user said and was answered, for `hansard audit export`.
 *
 * Does:      writes one JSON object a line for each turn, page by page, over a direct connection as the owner.
 * Does not:  hold more than a page in memory, or a transaction between pages.
 * Threads:   the caller's; blocks.
 * Owns:      its connection, inside the call.
 */
#pragma once

#include <stdio.h>

#include "base/err.h"

MUST_USE bool export_user(const char *url, const char *user, FILE *out, struct err *e);
