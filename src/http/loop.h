/* loop — one event thread with its own libmicrohttpd daemon.
 *
 * Does:      accepts from the shared socket, runs the daemon, cuts links that are past due, takes
 *            woken exchanges in.
 * Does not:  block in anything but poll().
 * Threads:   loop_open, loop_ask, loop_wait, loop_wait_empty and loop_close in main; loop_post
 *            from any; the rest on its own.
 * Owns:      its daemon, links and exchanges.
 *
 * The daemon runs without a thread of its own. libmicrohttpd's epoll thread fetches 128 events at
 * a time and, when it got exactly 128, waits for more before it serves them: 128 clients that wait
 * for an answer would wait for ever. Asked through MHD_run it never waits. And as each link
 * belongs to one loop, deadlines need no lock.
 */
#pragma once

#include <microhttpd.h>
#include <pthread.h>

#include "base/err.h"
#include "http/link.h"

struct exchange;
struct server;

enum loop_phase {
    LOOP_SERVING,
    LOOP_LEAVING,  /* accepts nobody; answers carry Connection: close; who is idle is cut soon */
    LOOP_DRAINING, /* the same answers; without LEAVING before it, accepts as ever */
    LOOP_REFUSING, /* nothing is handed to core any more */
    LOOP_CLOSING   /* who waits is given up; ends when all answers are taken, or soon after */
};

struct loop {
    struct server *server;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    int epoll_fd; /* the daemon's */
    int wake_fd;

    /* The loop's own, until the lock. */
    enum loop_phase phase;
    struct links links;
    size_t exchanges;
    bool accepts;      /* its daemon has the listening socket */
    bool has_room;     /* a connection was closed in this round */
    bool has_moved;    /* something happened in this round */
    unsigned restless; /* rounds in a row in which nothing did */
    int64_t now_ms;    /* monotonic, as of this round */
    int64_t give_up_ms;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list woken;       /* lock */
    bool is_kicked;          /* lock: a wake-up is on its way */
    bool is_empty;           /* lock: accepts nobody more, and the last connection has gone */
    enum loop_phase asked;   /* lock */
    enum loop_phase reached; /* lock */
};

struct loop_options {
    struct server *server;
    int listen_fd; /* duplicated */
    unsigned connections;
    const char *name;
};

MUST_USE bool loop_open(struct loop *l, const struct loop_options *o, struct err *e);
void loop_ask(struct loop *l, enum loop_phase phase);
void loop_wait(struct loop *l, enum loop_phase phase); /* until the loop has reached it */
/* Until it is empty, or the monotonic time; once it is asked to leave. */
void loop_wait_empty(struct loop *l, int64_t until_ms);
void loop_close(struct loop *l); /* asked to close before; joins */
void loop_post(struct loop *l, struct exchange *x);
