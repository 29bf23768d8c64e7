/* metrics — counters, gauges and histograms in Prometheus' text format 0.0.4.
 *
 * Does:      adds and observes with relaxed atomics; renders one page.
 * Does not:  know what is counted: the table below does; take a lock on the way of a turn.
 * Threads:   any.
 * Owns:      process-wide numbers.
 */
#pragma once

#include "base/buf.h"

/* COUNTER/GAUGE: id, name, help, label name (NULL: none), values (comma-separated; "" none)
 * One series per value; callers give the value's index (0 when there is no label). */
#define METRIC_LIST(X)                                                                             \
    X(COUNTER, HTTP_REQUESTS, "hansard_http_requests_total", "Requests answered, by status.",      \
      "status", "200,202,400,401,404,405,408,409,413,415,422,429,431,500,502,503,504,other")       \
    X(GAUGE, HTTP_CONNECTIONS, "hansard_http_connections", "Open client connections.", NULL, "")   \
    X(COUNTER, TURNS, "hansard_turns_total", "Turns that ended here, by outcome.", "outcome",      \
      "completed,replayed,refused,failed,fenced,queued,handed_back")                               \
    X(COUNTER, REFUSALS, "hansard_refusals_total", "Turns refused before they were stored.",       \
      "reason",                                                                                    \
      "rate_limited,too_many_open_turns,token_limit_reached,queue_full,queue_too_slow,"            \
      "model_unavailable,draining,conversation_busy,unauthorized,idempotency_key_reused,"          \
      "database_unavailable,too_many_jobs,job_queue_full,other")                                   \
    X(COUNTER, REFUSALS_REMEMBERED, "hansard_refusals_remembered_total",                           \
      "Refusals answered from memory, without the database.", NULL, "")                            \
    X(GAUGE, JOBS_RUNNING, "hansard_jobs_running", "Jobs this worker has claimed.", NULL, "")      \
    X(GAUGE, JOBS_QUEUED, "hansard_jobs_queued",                                                   \
      "Jobs that are queued in all, as of the last count.", NULL, "")                              \
    X(GAUGE, TURNS_OPEN, "hansard_turns_open", "Turns this worker holds.", NULL, "")               \
    X(GAUGE, LINE_WAITING, "hansard_line_waiting", "Turns waiting for their conversation.", NULL,  \
      "")                                                                                          \
    X(GAUGE, JOBS_WATCHED, "hansard_jobs_watched", "Requests waiting for a job to end.", NULL, "") \
    X(GAUGE, HISTORY_BYTES, "hansard_history_cache_bytes", "Histories kept in memory.", NULL, "")  \
    X(GAUGE, GATE_PERMITS, "hansard_gate_permits",                                                 \
      "Model calls this worker may have in flight as things are.", NULL, "")                       \
    X(GAUGE, PERMITS_LEASED, "hansard_permits_leased",                                             \
      "Permits leased from the fleet's cap; without one, the worker's own cap.", NULL, "")         \
    X(GAUGE, GATE_IN_USE, "hansard_gate_in_use", "Permits in use.", NULL, "")                      \
    X(GAUGE, GATE_HIGH_WATER, "hansard_gate_high_water", "Most permits ever in use.", NULL, "")    \
    X(GAUGE, GATE_WAITING, "hansard_gate_waiting", "Turns waiting for a permit.", NULL, "")        \
    X(COUNTER, GATE_EXPIRED, "hansard_gate_expired_total",                                         \
      "Turns whose wait for a permit ended at their deadline.", NULL, "")                          \
    X(COUNTER, LLM_CALLS, "hansard_llm_attempts_total", "Attempts to call the model, by result.",  \
      "result", "ok,rejected,http_429,http_5xx,connect,timeout,cut,garbage,too_large,cancelled")   \
    X(COUNTER, LLM_RETRIES, "hansard_llm_retries_total", "Attempts that were repeats.", NULL, "")  \
    X(COUNTER, LLM_RETRIES_DENIED, "hansard_llm_retries_denied_total",                             \
      "Repeats the retry budget did not allow.", NULL, "")                                         \
    X(COUNTER, LLM_TOKENS, "hansard_llm_tokens_total", "Tokens the model reported.", "kind",       \
      "prompt,completion")                                                                         \
    X(GAUGE, LLM_LIMIT, "hansard_llm_limit",                                                       \
      "Model calls that should be in flight; 0: the server is down, or there is none.", "server",  \
      "primary,fallback")                                                                          \
    X(GAUGE, LLM_UP, "hansard_llm_up",                                                             \
      "1: the model server is up; 0: down, on trial, or there is none.", "server",                 \
      "primary,fallback")                                                                          \
    X(COUNTER, LLM_PROBES, "hansard_llm_probes_total",                                             \
      "Probes of a model server that is down, by result.", "result", "ok,failed")                  \
    X(COUNTER, LLM_STATE_CHANGES, "hansard_llm_state_changes_total",                               \
      "Changes of a model server's state.", "to", "up,trial,down")                                 \
    X(COUNTER, WEBHOOKS, "hansard_webhooks_total", "Webhooks sent, by what became of them.",       \
      "result", "delivered,retried,given_up")                                                      \
    X(COUNTER, LANE_CALLS, "hansard_lane_calls_total", "Database calls, by kind.", "kind",         \
      "accept,finish,single")                                                                      \
    X(COUNTER, LANE_ERRORS, "hansard_lane_errors_total", "Database calls that failed, by kind.",   \
      "kind", "accept,finish,single")                                                              \
    X(COUNTER, LANE_RECONNECTS, "hansard_lane_reconnects_total",                                   \
      "Connections to the database opened.", NULL, "")                                             \
    X(GAUGE, LANE_WAITING, "hansard_lane_waiting", "Items waiting for a lane.", NULL, "")          \
    X(GAUGE, OLDEST_MESSAGE, "hansard_oldest_message_age_seconds",                                 \
      "Age of the oldest words kept, looked up once an hour; -1: none, or not known yet.", NULL,   \
      "")                                                                                          \
    X(GAUGE, SEAL_AGE, "hansard_seal_age_seconds",                                                 \
      "Age of the newest seal, looked up every few minutes; -1: none, or not known yet.", NULL,    \
      "")                                                                                          \
    X(GAUGE, FINISH_UNWRITTEN, "hansard_finish_unwritten",                                         \
      "Answers waiting for the database to come back.", NULL, "")

/* The sets of upper bounds, in metrics.c: 0.5 ms to 2 minutes; 1 to 64 items. */
enum metric_bounds { METRIC_SECONDS, METRIC_ITEMS, METRIC_BOUNDS_COUNT };

/* HISTOGRAM: id, name, help, label name, values, bounds */
#define METRIC_HISTOGRAM_LIST(X)                                                                   \
    X(HTTP_SECONDS, "hansard_http_request_duration_seconds",                                       \
      "From a request's first line to its answer handed over.", "route",                           \
      "chat,conversations,jobs,livez,readyz,metrics,other", METRIC_SECONDS)                        \
    X(LANE_SECONDS, "hansard_lane_duration_seconds", "One database call.", "kind",                 \
      "accept,finish,single", METRIC_SECONDS)                                                      \
    X(LANE_BATCH, "hansard_lane_batch_items", "Items in one database call.", "kind",               \
      "accept,finish", METRIC_ITEMS)                                                               \
    X(LLM_SECONDS, "hansard_llm_duration_seconds", "One attempt to call the model.", NULL, "",     \
      METRIC_SECONDS)                                                                              \
    X(LLM_FIRST_BYTE_SECONDS, "hansard_llm_first_byte_seconds", "Attempt begun to first byte.",    \
      NULL, "", METRIC_SECONDS)                                                                    \
    X(GATE_SECONDS, "hansard_gate_wait_seconds", "Wait for a permit.", NULL, "", METRIC_SECONDS)

enum metric_id {
#define METRIC_ENUM(kind, id, name, help, label, values) METRIC_##id,
    METRIC_LIST(METRIC_ENUM)
#undef METRIC_ENUM
        METRIC_COUNT
};

enum metric_histogram_id {
#define METRIC_ENUM(id, name, help, label, values, bounds) METRIC_##id,
    METRIC_HISTOGRAM_LIST(METRIC_ENUM)
#undef METRIC_ENUM
        METRIC_HISTOGRAM_COUNT
};

void metrics_add(enum metric_id id, size_t value_index, int64_t n); /* gauges may go down */
void metrics_set(enum metric_id id, size_t value_index, int64_t n); /* gauges */
int64_t metrics_get(enum metric_id id, size_t value_index);
void metrics_observe(enum metric_histogram_id id, size_t value_index, double value);
/* Index of a label's value in its list; the last one ("other") when it is not there. */
size_t metrics_value_index(enum metric_id id, const char *value);
/* With # HELP and # TYPE; also process_* basics and hansard_build_info. false: out is full. */
bool metrics_render(struct buf *out);
