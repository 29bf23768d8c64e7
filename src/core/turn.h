/* turn — the life of one question and its answer.
 *
 * Does:      one owned object that moves forward: line → ACCEPT → gate → model → FINISH → answer.
 * Does not:  speak HTTP; touch a socket, a libpq connection or a curl handle.
 * Threads:   turn_submit from any; each step runs on the thread that ended the step before it.
 * Owns:      itself from turn_submit on; the reply's texts go to the answer callback.
 */
#pragma once

#include "core/core.h"
#include "db/item.h"

struct turn_request {
    bool is_job; /* to be queued: the answer says how that went */
    void (*answer)(void *receiver,
                   struct turn_reply *reply); /* exactly once, any thread, must not block */
    void *receiver;
    int64_t deadline_ms; /* monotonic: answered by then, whatever happens */
    bool has_key;
    bool has_idempotency_key; /* of the caller's own: it may be a repeat */
    struct hash key_hash;
    char address[LIMIT_ADDRESS_BYTES];
    char request_id[UUID_TEXT_BYTES];
    struct hash fingerprint;
    struct quota quota; /* as turn_is_refused gave it: told where the database says nothing newer */
    char *session_id, *message, *idempotency_key,
        *traceparent; /* owned, heap; traceparent may be NULL */
    char *webhook;    /* owned; a job's; NULL: none */
};

/* Lent to answer() only; it may take text and model (setting them to NULL). */
struct turn_reply {
    struct err err; /* ERR_NONE: text is the committed answer */
    bool replayed;  /* the stored outcome of an earlier request */
    struct quota quota;
    int32_t turn_no; /* 0: nothing was stored */
    char *text;
    size_t text_len;
    char *model;
    int32_t prompt_tokens, completion_tokens;

    bool
        is_job; /* it is queued, or was: nothing of the above but err, replayed, quota and turn_no */
    struct uuid conversation;
    char status[12];
    int64_t position; /* in line, about; 0: not queued, or not known */
    int64_t wait_ms;  /* until it begins, about; -1: not known */
};

/* Before anything of the request is read but its head: is its caller, as far as is known, refused?
 * true: why is set. *quota: what is known of what he may still ask. */
struct turn_caller {
    const struct hash *key_hash; /* NULL: anonymous, counted by the address */
    const char *address;
    bool has_idempotency_key;
};
MUST_USE bool turn_is_refused(struct core *c, const struct turn_caller *caller, struct err *why,
                              struct quota *quota);

/* Takes the texts of the request. Full or draining: answered at once, nothing stored. */
void turn_submit(struct core *c, const struct turn_request *request);

/* The session is about to be erased: nothing of it is kept in memory, but by turns that run.
 * key_hash: NULL for an anonymous caller. */
void turn_forget(struct core *c, const struct hash *key_hash, const char *session_id);
