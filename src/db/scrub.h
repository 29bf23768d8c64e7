/* scrub — clears erased words out of the data files, for `hansard audit scrub`.
 *
 * Does:      rewrites the tables from which something was erased since the last time (VACUUM FULL), over a direct
 *            connection as the owner.
 * Does not:  reach the log of changes, backups or replicas' logs.
 * Threads:   the caller's; blocks, and while a table is rewritten, whoever uses that table.
 * Owns:      its connection, inside the call.
 */
#pragma once

#include <stdio.h>

#include "base/err.h"

/* Names each month when it is done. Months done before a failure are not done again. */
MUST_USE bool scrub_run(const char *url, FILE *out, struct err *e);
