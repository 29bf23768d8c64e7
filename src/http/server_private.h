/* server_private — what the files of this room share about the server.
 *
 * Does:      lay the struct open to loop, exchange and the routes.
 * Does not:  leave the room.
 * Threads:   read-only after server_open.
 * Owns:      see http/server.h.
 */
#pragma once

#include "http/loop.h"
#include "http/server.h"

struct server {
    const struct config *config;
    struct core *core;
    size_t body_bytes; /* ceiling of a request's body */
    bool auth_required;
    bool checks_seams; /* this libmicrohttpd leaves heads as http/screen expects them */
    int listen_fd;
    size_t loop_count;
    struct loop *loops;
};
