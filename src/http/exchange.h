/* exchange — one request and its answer.
 *
 * Does:      takes the head through the screen, counts the body while it comes, finds the route,
 *            runs it, waits suspended for whoever answers, hands the answer over, logs it once.
 * Does not:  know what a route does; keep a deadline (link does while reading, core does while
 *            waiting).
 * Threads:   its loop's; exchange_wake alone may be called from any.
 * Owns:      its texts and its answer until that is handed over. While it waits, libmicrohttpd
 *            cannot end it: so whoever holds it for an answer holds something that lives.
 *            exchange_wake gives it back; touch it no more.
 */
#pragma once

#include <microhttpd.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/ids.h"
#include "core/turn.h"
#include "http/link.h"
#include "http/reply.h"

struct loop;
struct lookup;
struct route;

enum exchange_state {
    EXCHANGE_LINE,      /* the request line is read */
    EXCHANGE_BODY,      /* the head is good; the body comes */
    EXCHANGE_WAITING,   /* suspended */
    EXCHANGE_READY,     /* the answer is built */
    EXCHANGE_DONE,      /* handed over and logged */
    EXCHANGE_DISCARDING /* the same; what the client still sends is read past */
};

struct exchange {
    struct list_node node; /* in the loop's list of those woken */
    enum exchange_state state;
    struct loop *loop;
    struct link *link;
    struct MHD_Connection *connection;
    int64_t began_us;
    char request_id[UUID_TEXT_BYTES];

    const struct route *route;
    const char *method;             /* static text */
    void (*run)(struct exchange *); /* the route's, for this method */
    struct span path_rest, query;   /* behind the route's prefix; inside target */
    bool must_close, was_suspended;
    bool is_chunked;
    bool is_body_coming; /* though its head was refused */
    uint64_t
        consumed;   /* when chunked: bytes of the connection taken in at its last piece of body */
    struct err err; /* a refusal found before the body was read; later, what went wrong */
    struct buf body;
    uint64_t body_seen;

    bool has_key, has_idempotency_key;
    bool prefers_async; /* Prefer: respond-async */
    struct hash key_hash;
    char address[LIMIT_ADDRESS_BYTES];
    char *idempotency_key, *traceparent, *session_id; /* owned, may be NULL */

    void (*finish)(struct exchange *); /* builds the answer, after exchange_wake */
    struct turn_reply turn;            /* POST /chat and /jobs; texts owned */
    struct lookup *lookup;             /* the routes that read, cancel or erase; owned */

    int status;
    struct MHD_Response *response; /* owned while READY */

    const char *target_at; /* where it lies in libmicrohttpd's buffer; only compared, never read */
    size_t target_len;
    char target[]; /* as it came */
};

/* What libmicrohttpd's access handler is called with. */
struct exchange_call {
    const char *method, *version;
    const char *upload;
    size_t *upload_len;
};

struct exchange *exchange_new(struct loop *loop, struct link *link,
                              struct MHD_Connection *connection, const char *target);
enum MHD_Result exchange_step(struct exchange *x, const struct exchange_call *call);
void exchange_free(struct exchange *x); /* its request has ended, answered or not */

/* For routes: one of these three, once. */
void exchange_reply(struct exchange *x, int status, const struct reply_body *body);
void exchange_fail(struct exchange *x); /* with x->err */
void exchange_wait(struct exchange *x, void (*finish)(struct exchange *));

/* Any thread, once after exchange_wait. */
void exchange_wake(struct exchange *x);

/* For its loop. */
void exchange_resume(struct exchange *x);   /* builds the answer, lets the connection go on */
void exchange_give_up(struct exchange *x);  /* nobody will answer any more: 503 */
void exchange_time_out(struct exchange *x); /* 408, as last words on the socket */
/* True when it hangs in a chunk's size line that does not end; last words are said. */
bool exchange_is_stuck(struct exchange *x);
