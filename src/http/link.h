/* link — one client connection, and how long it may take for what it is doing.
 *
 * Does:      total deadlines: reading a request, waiting idle, taking an answer. Each is one queue
 *            in order of due time, because within a queue everyone gets the same time; so every
 *            step is O(1).
 * Does not:  read or write; close by itself (the loop shuts the socket down, libmicrohttpd then
 *            closes it).
 * Threads:   its loop's only.
 * Owns:      nothing; libmicrohttpd owns the socket.
 */
#pragma once

#include "base/addr.h"
#include "base/list.h"

struct exchange;

enum link_state {
    LINK_READING,   /* new, or a request has begun: read_timeout in all */
    LINK_IDLE,      /* between requests: idle_timeout */
    LINK_ANSWERING, /* the client takes its answer: idle_timeout */
    LINK_WAITING,   /* suspended: whoever answers keeps its own deadline */
    LINK_CUT        /* shut down; libmicrohttpd will notice */
};

struct link {
    struct list_node node;
    enum link_state state;
    int fd;
    int64_t due_ms; /* monotonic; not while WAITING or CUT */
    struct list_node fresh_node;
    int64_t look_ms; /* when a fresh link is looked at */
    struct addr peer;
    struct exchange *exchange; /* the request under way, or NULL */
};

struct links {
    struct list reading, idle, answering, waiting;
    struct list fresh; /* READING or IDLE, not looked at since */
    int64_t read_ms, idle_ms, answer_ms;
    size_t count;
};

void links_init(struct links *all, int64_t read_ms, int64_t idle_ms);

struct link *link_new(struct links *all, int fd, int64_t now_ms);
void link_free(struct links *all, struct link *l);
/* Once cut, a link stays cut. */
void link_move(struct links *all, struct link *l, enum link_state state, int64_t now_ms);

/* From now on, who is idle has at most idle_ms. */
void links_hurry(struct links *all, int64_t idle_ms, int64_t now_ms);

int64_t links_due_ms(const struct links *all); /* INT64_MAX: nobody has a deadline */
/* One that came to its state a second ago, until there is none; each is given once. When bytes and
 * the end of the stream came together, libmicrohttpd 0.9.75 never learns of the end: so somebody
 * has to look. */
struct link *links_look(struct links *all, int64_t now_ms);
/* One that is past due, until there is none; the caller moves it on. */
struct link *links_overdue(const struct links *all, int64_t now_ms);
