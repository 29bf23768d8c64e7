/* client — calls to one model server.
 *
 * Does:      one curl multi loop on its own thread runs every call: timeouts, retries with full jitter within a budget
 *            (at most 3 attempts, repeats at most 10 % of calls), size ceiling, parsing of the answer; tells how many
 *            calls the server should get, and probes it while it is down.
 * Does not:  count permits or hold calls back (core/gate does), follow redirects, use proxies from the environment.
 * Threads:   llm_submit, llm_limit, llm_state from any; done and changed run on the loop's thread and must not block.
 * Owns:      its handles; a call only while it is submitted.
 */
#pragma once

#include <stdatomic.h>

#include "base/config.h"
#include "base/err.h"
#include "base/list.h"

struct llm;

struct llm_call {
    struct list_node node;
    void (*done)(struct llm_call *); /* once */
    int64_t deadline_ms;             /* monotonic; all attempts end by then */
    int64_t admitted_ms; /* monotonic, when its owner got the permit: all attempts also end by
                            llm_total_timeout after it, and none is sent later */

    const char *body; /* request JSON, borrowed until done */
    size_t body_len;
    const char *traceparent; /* W3C Trace Context, already checked; NULL: none */
    const char *request_id;  /* sent as X-Request-Id with the attempt's number */

    atomic_bool is_cancelled; /* its owner's, at any time while he has it: see llm_break_off */

    struct err err; /* ERR_NONE, ERR_MODEL_FAILED, ERR_MODEL_TIMEOUT, ERR_WORKER_LOST (llm_close),
                       ERR_CANCELLED */
    char *text;     /* owned by the receiver: choices[0].message.content */
    size_t text_len;
    char *model;                              /* owned by the receiver, may be NULL */
    int32_t prompt_tokens, completion_tokens; /* -1: not told */
    int32_t attempts;
    int64_t first_byte_ms; /* monotonic; 0: none came */

    struct llm_attempt *attempt; /* the loop's own */
};

struct llm_server {
    const char *name;                      /* in logs and names of threads; at most 9 characters */
    size_t index;                          /* of its metrics: of the name in METRIC_LLM_LIMIT */
    const char *url, *api_key;             /* the key may be NULL or empty: none is sent */
    const char *url_setting, *key_setting; /* names for error texts */
    int most;                              /* calls in flight, at least 1 */
};

struct llm_events {
    void (*changed)(void *arg); /* llm_limit or llm_state gives another answer; may be NULL */
    void *arg;
};

/* Borrows the texts of both until llm_close. */
MUST_USE struct llm *llm_open(const struct config *c, const struct llm_server *s,
                              const struct llm_events *events, struct err *e);
/* Aborts what runs: those calls end with ERR_WORKER_LOST. Only questions may be asked afterwards. */
void llm_stop(struct llm *l);
void llm_close(struct llm *l); /* stops it, if that was not done; NULL is fine */
void llm_submit(struct llm *l, struct llm_call *call);
/* Calls marked as cancelled end soon, as ERR_CANCELLED; those handed over later, when they come. */
void llm_break_off(struct llm *l);

/* Calls that should be in flight: 0 while the server is down, few in a trial, else 1..most. What is
 * submitted all the same is tried. */
int llm_limit(const struct llm *l);
enum llm_state { LLM_UP, LLM_TRIAL, LLM_DOWN };
enum llm_state llm_state(const struct llm *l);
