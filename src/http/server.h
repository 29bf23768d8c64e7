/* server — the counter: listens, reads requests within their deadlines, hands them to routes.
 *
 * Does:      event loops on libmicrohttpd; screens headers; counts body bytes while they come;
 *            total deadlines.
 * Does not:  decide anything about turns; block in an event thread.
 * Threads:   open, leave, drain, refuse and close in main.
 * Owns:      the listening socket, the daemons and their exchanges.
 */
#pragma once

#include "base/config.h"
#include "core/core.h"

struct server;

MUST_USE struct server *server_open(const struct config *c, struct core *core, struct err *e);
/* New connections are refused. Open ones are served, each until its next answer; returns when none
 * is left, or at the monotonic time. */
void server_leave(struct server *s, int64_t until_ms);
void server_drain(struct server *s); /* answers carry Connection: close from now on */
/* When it returns, nothing is handed to core any more: new requests get 503, core may be closed. */
void server_refuse(struct server *s);
/* Core is closed, so nobody answers any more: what still waits gets 503. Waits (a few seconds at
 * most) until answers are taken, then stops. NULL is fine. */
void server_close(struct server *s);
