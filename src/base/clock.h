/* clock — the only place that reads time.
 *
 * Does:      monotonic time for deadlines, wall time for log lines and identifiers.
 * Does not:  decide anything durable: the database's clock does.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include "base/defs.h"

int64_t clock_mono_us(void); /* CLOCK_MONOTONIC, microseconds */
int64_t clock_mono_ms(void);
int64_t clock_unix_ms(void); /* CLOCK_REALTIME, milliseconds since 1970 */

/* RFC 3339 in UTC with milliseconds, 24 characters and NUL: "2026-01-02T03:04:05.678Z". */
void clock_format(int64_t unix_ms, char out[25]);
