/* listener — the socket clients knock on.
 *
 * Does:      reads host:port (also [::1]:8080, *:8080), binds and listens; lets nobody else in.
 * Does not:  accept.
 * Threads:   main.
 * Owns:      nothing; the socket is its caller's.
 */
#pragma once

#include "base/err.h"

#define LISTENER_HOST_BYTES 256

struct listener_place {
    char host[LISTENER_HOST_BYTES]; /* "" is every address */
    char port[6];
};

MUST_USE bool listener_read(const char *text, struct listener_place *out, struct err *e);
/* The socket, not blocking; -1: e is set. */
MUST_USE int listener_open(const char *text, struct err *e);

/* Closing a listening socket resets whoever has connected and was not accepted yet. So first the
 * kernel is told to drop new SYNs, those already on their way are accepted, and then it is closed.
 * Who sent a SYN meanwhile sends it again after a second, and is refused. Where the kernel takes no
 * filter, who connects in the moment of closing may be reset. */
void listener_bar(int fd);
unsigned listener_waiting(int fd); /* connected, and not accepted yet */
