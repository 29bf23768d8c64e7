/* turn_private — what a turn is made of.
 *
 * Does:      lays the struct open to turn.c, and to core.c for those left at the end.
 * Does not:  leave the room.
 * Threads:   whoever holds the turn; it moves from one to the next.
 * Owns:      the request's texts, and what database and model gave, until they are passed on.
 */
#pragma once

#include "core/core_private.h"
#include "core/turn.h"

struct turn {
    struct list_node node; /* in core's list; core's lock */
    struct core *core;
    struct turn_request request;
    bool is_answered;
    bool is_uncertain;  /* an accept went out whose reply was lost, under an id that is lost too */
    struct hash name;   /* of its conversation, for line and history */
    struct hash caller; /* who is counted, for gate and callers */
    struct memory
        *memory; /* what is known of the conversation; NULL: nothing, or not yet looked up */
    struct line_place line;
    struct gate_place gate;
    struct meter_place meter;
    struct timer again; /* the next question whether the conversation is free; or the end, by: */
    enum err_kind refusal;
    int64_t refusal_ms;  /* in what time it would be worth another try */
    int32_t again_ms;    /* grows with each */
    int64_t accepted_ms; /* monotonic */
    struct accept_item accept;
    struct models_call model;
    struct finish_item finish;
};

void turn_free(struct turn *t); /* takes it out of core's list */
