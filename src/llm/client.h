/* client — calls to the model server.
 *
 * Does:      one curl multi loop on its own thread runs every call: timeouts, retries with full jitter within a budget
 *            (at most 3 attempts, repeats at most 10 % of calls), size ceiling, parsing of the answer.
 * Does not:  count permits (core/gate does), follow redirects, use proxies from the environment.
 * Threads:   llm_submit from any; done runs on the loop's thread and must not block.
 * Owns:      its handles; a call only while it is submitted.
 */
#pragma once

#include "base/config.h"
#include "base/err.h"
#include "base/list.h"

struct llm;

struct llm_call {
    struct list_node node;
    void (*done)(struct llm_call *); /* once */
    int64_t deadline_ms;             /* monotonic; all attempts end by then */

    const char *body; /* request JSON, borrowed until done */
    size_t body_len;
    const char *traceparent; /* W3C Trace Context, already checked; NULL: none */
    const char *request_id;  /* sent as X-Request-Id with the attempt's number */

    struct err err; /* ERR_NONE, ERR_MODEL_FAILED, ERR_MODEL_TIMEOUT, ERR_WORKER_LOST (llm_close) */
    char *text;     /* owned by the receiver: choices[0].message.content */
    size_t text_len;
    char *model;                              /* owned by the receiver, may be NULL */
    int32_t prompt_tokens, completion_tokens; /* -1: not told */
    int32_t attempts;
    int64_t first_byte_ms; /* monotonic; 0: none came */

    struct llm_attempt *attempt; /* the loop's own */
};

MUST_USE struct llm *llm_open(const struct config *c, struct err *e);
void llm_close(struct llm *l); /* aborts what runs; those calls end with ERR_WORKER_LOST */
void llm_submit(struct llm *l, struct llm_call *call);
