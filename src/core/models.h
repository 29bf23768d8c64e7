/* models — which model server a call goes to.
 *
 * Does:      holds the server and its fallback; picks one for a call, by their health; says how many
 *            calls they bear, and when nobody need be asked at all.
 * Does not:  count permits (core/gate does), or know turns.
 * Threads:   any, between open and close; changed runs on a server's own thread.
 * Owns:      both clients and the openings of their requests.
 */
#pragma once

#include <stdatomic.h>

#include "core/prompt.h"
#include "llm/client.h"

enum { MODELS_PRIMARY, MODELS_FALLBACK, MODELS_MOST };

struct models {
    struct llm *servers[MODELS_MOST]; /* the second may be NULL: there is no fallback */
    struct prompt prompts[MODELS_MOST];
    int64_t call_ms;   /* all attempts at both together */
    atomic_int trials; /* calls at the primary that began while it was not up */
};

MUST_USE bool models_open(struct models *m, const struct config *c, const struct llm_events *events,
                          struct err *e);
/* Aborts what runs: those calls end as ERR_WORKER_LOST. Nothing may be submitted any more. */
void models_stop(struct models *m);
void models_fini(struct models *m);

/* Calls that should be in flight; 0: none for now. */
int models_bear(const struct models *m);
/* No server is up. */
bool models_are_in_trouble(const struct models *m);

struct models_call {
    struct llm_call
        call;   /* deadline_ms, admitted_ms, traceparent, request_id, done: the caller's */
    char *body; /* owned; built with models_prompt */
    size_t body_len;
    size_t server;
    int32_t attempts; /* at the server before */
    bool is_trial;
};

/* What bodies are built with: they are made to fit when the other server is called. */
const struct prompt *models_prompt(const struct models *m);
/* Begins with the server that is best just now. */
void models_submit(struct models *m, struct models_call *c);
/* The call has ended. Is there a server left that would be asked? models_submit_other follows. */
MUST_USE bool models_has_other(struct models *m, struct models_call *c, int64_t now_ms);
void models_submit_other(struct models *m, struct models_call *c);
/* Calls that were marked as cancelled end soon, as ERR_CANCELLED. */
void models_break_off(struct models *m);
