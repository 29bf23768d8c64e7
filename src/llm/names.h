/* names — the model server's addresses, looked up beside the loop.
 *
 * Does:      asks the system's resolver now and again, and tells when the answer has changed.
 * Does not:  let curl ask for each new connection: that takes a thread each, thousands in a rush.
 * Threads:   a thread of its own; the other functions from the one that opened it, or the loop's.
 * Owns:      its thread and its last answer. A lookup that fails leaves the last answer in place.
 */
#pragma once

#include "base/buf.h"

#define NAMES_LINE_BYTES 4096

struct names;

/* Waits a moment for the first answer. NULL: an address, or "localhost", needs no lookup. */
MUST_USE struct names *names_open(const char *host, const char *port);
void names_close(struct names *n); /* may wait for a lookup under way */

/* true: there is an answer other than the one numbered `seen`, which becomes its number; the line
 * is "host:port:address,address", as CURLOPT_RESOLVE takes it. */
bool names_take(struct names *n, unsigned *seen, struct buf *line);
