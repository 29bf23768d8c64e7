/* item — work for a lane, as it travels between rooms.
 *
 * Does:      describes one ACCEPT, one FINISH, one single call, with what goes in and what comes out.
 * Does not:  act; db/lane carries it out.
 * Threads:   whoever holds the item; the lane does from db_submit_* until done() is called.
 * Owns:      what is marked owned; everything given in is borrowed until done().
 */
#pragma once

#include "base/err.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/list.h"
#include "db/passage.h"

/* Which turn, and by whose right it may be written: the fence. */
struct turn_ref {
    struct uuid worker;
    struct hash session_key;
    struct uuid conversation;
    int32_t turn_no;
    int32_t attempt;
};

/* What the caller may still ask; policy[0] is 0 when that is not known. */
struct quota {
    char policy[32]; /* the tier */
    int32_t limit;   /* requests per window; 0: not limited */
    int32_t window_s;
    int32_t remaining;
    int32_t reset_ms;     /* until the quota is whole again */
    int64_t tokens_limit; /* a day; 0: not limited */
    int64_t tokens_remaining;
    int32_t tokens_reset_ms; /* until the day (UTC) is over */
};

enum accept_outcome {
    ACCEPT_REFUSED,  /* err is set; nothing is stored, no quota used */
    ACCEPT_ACCEPTED, /* stored and open under ref, with the history */
    ACCEPT_WAITING,  /* the conversation, or this very key, is running elsewhere: ask again */
    ACCEPT_REPLAYED, /* the key's turn has ended: text is its answer, or err its failure */
    ACCEPT_QUEUED    /* a job: stored; or it was before, in a request of the same key (is_known) */
};

struct accept_item {
    struct list_node node;
    void (*done)(
        struct accept_item *); /* once, on a lane's thread; the item is the callee's again */
    /* At most once, before done, on a lane's thread: the deadline passed while the outcome is unknown (the
     * call was sent, its reply was lost). The lane keeps the item and goes on until it knows. */
    void (*late)(struct accept_item *);
    int64_t deadline_ms; /* monotonic. Not sent by then: refused with ERR_DB_DOWN */

    const struct hash *key_hash; /* NULL: anonymous */
    const char *address;         /* limit key of an anonymous caller */
    const char *session_id, *message, *idempotency_key, *request_id; /* UTF-8 without NUL */
    struct hash fingerprint;                                         /* of the request's meaning */
    bool is_paid; /* its quota was taken before: given back unless it is accepted */
    const struct uuid *known_conversation; /* its history is known up to a turn; NULL: it is not */
    int32_t known_turn;
    bool is_job;
    bool has_room;       /* a job: there are not too many in all */
    const char *webhook; /* a job's; NULL: none */

    enum accept_outcome outcome;
    struct err err;
    struct turn_ref ref;
    struct quota quota;
    struct passage history; /* owned by the receiver; ACCEPTED: what the model is shown */
    int32_t history_after;  /* the history comes after this turn, which is known; 0: it is all */
    char *text;             /* owned by the receiver; REPLAYED: the answer */
    size_t text_len;
    char *model; /* owned by the receiver; REPLAYED only, may be NULL */
    int32_t prompt_tokens, completion_tokens;
    bool is_known;
    char status[12]; /* QUEUED: of the turn */

    bool sent; /* lane's own: a call with this item went out, its outcome is not known */
    bool was_late;
};

enum finish_state {
    FINISH_COMPLETED,
    FINISH_FAILED,
    FINISH_HANDED_BACK /* a job, into the queue */
};
enum finish_outcome { FINISH_DONE, FINISH_FENCED };

struct finish_item {
    struct list_node node;
    void (*done)(struct finish_item *); /* as above */
    void (*late)(
        struct finish_item *); /* the deadline passed; the lane goes on until it is written */
    int64_t deadline_ms;

    struct turn_ref ref;
    enum finish_state state;
    const char *answer;     /* COMPLETED: UTF-8 without NUL */
    const char *model;      /* NULL: not known */
    const char *error_code; /* FAILED: err_info()->code; HANDED_BACK: the same, when that counts */
    int32_t prompt_tokens, completion_tokens; /* -1: not known */
    int32_t first_byte_ms;                    /* after the accept; -1: none came */
    int32_t model_attempts;

    enum finish_outcome outcome;
    struct err
        err;       /* FENCED: CANCELLED or WORKER_LOST; else what SQL refused for good (a defect) */
    bool has_next; /* DONE: a job of its conversation may be claimed now */
    bool has_webhook; /* DONE: a message about its end is due */

    bool was_late;
};

struct pg_result; /* libpq's */

#define CALL_PARAMS 11
struct call_item {
    struct list_node node;
    void (*done)(struct call_item *);
    int64_t deadline_ms; /* repeated until then when the connection is lost: calls are idempotent */
    bool is_once; /* ... but this one is not: sent and not answered, it ends with ERR_DB_DOWN */

    const char *sql;
    size_t params;
    struct {
        const char *data; /* NULL: SQL NULL. Text format; NUL-terminated */
    } param[CALL_PARAMS];

    /* Takes the rows, in binary, instead of text. false: they are not as agreed: ERR_INTERNAL. */
    bool (*take)(struct call_item *, const struct pg_result *);

    struct err err; /* by SQLSTATE; ERR_NONE: fine */
    char *text; /* owned by the receiver: first column of the first row; NULL: no row or SQL NULL */
    size_t text_len;

    bool was_sent; /* is_once; false to begin with, then the lane's own: its outcome is not known */
};
