/* turn_private — what a turn is made of.
 *
 * Does:      lays the struct open to turn.c and turn_ask.c, and to core.c for those left at the end.
 * Does not:  leave the room.
 * Threads:   whoever holds the turn; it moves from one to the next.
 * Owns:      the request's texts, and what database and model gave, until they are passed on.
 */
#pragma once

#include "core/core_private.h"
#include "core/turn.h"
#include "db/claim.h"

struct turn {
    struct list_node node; /* in core's list; core's lock */
    struct core *core;
    struct turn_request request;
    bool is_answered;
    bool has_place;     /* at the gate */
    bool is_claimed;    /* a job that this worker runs; else it came by a request */
    bool is_paid;       /* its quota was taken ahead, and not given back */
    bool is_uncertain;  /* an accept went out whose reply was lost, under an id that is lost too */
    struct hash name;   /* of its conversation, for line and history */
    struct hash caller; /* who is counted, for gate and callers */
    struct memory
        *memory; /* what is known of the conversation; NULL: nothing, or not yet looked up */
    struct line_place line;
    struct gate_place gate;
    struct meter_place meter;
    struct timer again;       /* the next question whether the conversation is free; or the end */
    enum err_kind refused_as; /* ... and as what, with which advice */
    int64_t retry_ms;
    int32_t again_ms;         /* grows with each */
    int64_t unknown_until_ms; /* till then the database need not know us; 0: it did when asked */
    int64_t accepted_ms;      /* monotonic */
    int failures;             /* a claimed job's: for which it was handed back before */
    struct accept_item accept;
    struct models_call model;
    struct finish_item finish;
    struct list_node running, by_ref; /* a claimed job: in core/jobs */
};

/* In the order of the values of METRIC_TURNS. */
enum metric_outcome {
    OUTCOME_COMPLETED,
    OUTCOME_REPLAYED,
    OUTCOME_REFUSED,
    OUTCOME_FAILED,
    OUTCOME_FENCED,
    OUTCOME_QUEUED,
    OUTCOME_HANDED_BACK
};

/* turn_ask.c: has the word in its line; asks until the database has opened the turn or refused it. */
void turn_ask(struct turn *t);

/* turn.c */
/* A job that was claimed: takes what the claim owns. */
void turn_run(struct core *c, struct claim_job *job);
void turn_go_on(struct turn *t); /* accepted: to the gate, the model, FINISH */
void turn_answer(struct turn *t, struct turn_reply *reply);
void turn_end(struct turn *t, struct turn_reply *reply);
void turn_refuse(struct turn *t, const struct err *why); /* nothing is stored */
int64_t turn_call_deadline_ms(const struct turn *t);
void turn_free(struct turn *t); /* takes it out of core's list */
