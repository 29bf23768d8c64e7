/* health — how many calls one model server should get now.
 *
 * Does:      keeps an adaptive limit (AIMD) and a circuit breaker over what attempts came to; says
 *            when the server is to be probed.
 * Does not:  read a clock, send, or hold calls back: core/gate does.
 * Threads:   one at a time.
 * Owns:      nothing.
 */
#pragma once

#include "llm/attempt.h"

#define HEALTH_FAILURES 5            /* in a row: down */
#define HEALTH_PROBE_MS 500          /* from probe to probe */
#define HEALTH_TRIAL_PAUSE_MS 1000   /* after a trial that failed */
#define HEALTH_TRIAL_WIDER_MS 1000   /* without an outcome: one more call may try */
#define HEALTH_PROBE_TIMEOUT_MS 1000 /* of one probe */

/* In the order of the values of METRIC_LLM_STATE_CHANGES. */
enum health_state {
    HEALTH_UP,
    /* A probe was answered: one call may try, and one more each second, for the first may hang where
     * the server hung when it was sent. Until one succeeds or fails. */
    HEALTH_TRIAL,
    HEALTH_DOWN, /* no calls; it is probed */
};

struct health {
    enum health_state state;
    int most;
    double limit;          /* HEALTH_UP: 1..most */
    double slow_start;     /* below it the limit grows by one with each success */
    bool is_shrinking;     /* no growth since the last decrease */
    int failures;          /* in a row, since state_era */
    unsigned era;          /* goes up with each decrease and each change of state */
    unsigned state_era;    /* the era in which the state began */
    int64_t probe_at_ms;   /* HEALTH_DOWN: the next one; INT64_MAX: it is under way */
    int trial_limit;       /* HEALTH_TRIAL */
    int64_t wider_at_ms;   /* HEALTH_TRIAL */
    int64_t probe_from_ms; /* when the last one began, and in which era */
    unsigned probe_era;
};

void health_init(struct health *h, int most);

/* Calls that should be in flight: 0 while down, few in a trial, else 1..most. */
int health_limit(const struct health *h);

/* Every attempt remembers the era in which it began: by it is known what it can tell. */
static inline unsigned health_era(const struct health *h)
{
    return h->era;
}

struct health_report {
    enum attempt_result result;
    bool had_fair_time; /* ATTEMPT_TIMEOUT: false when the call itself had little time left */
    unsigned era;       /* of the attempt's begin */
    int in_flight;      /* calls, this one included */
};
/* An attempt ended. true: health_limit gives another answer, or the state is another. Attempts that
 * we broke off ourselves are not reported. */
bool health_take(struct health *h, const struct health_report *r, int64_t now_ms);

/* When the next probe is due; INT64_MAX: none is. */
int64_t health_probe_at_ms(const struct health *h);
void health_probe_begins(struct health *h, int64_t now_ms);
/* status: of the answer, whatever became of its body; 0: none came. true: as with health_take. */
bool health_probe_ends(struct health *h, long status, int64_t now_ms);
bool health_is_reachable(long status);

/* When a trial is to be widened; INT64_MAX: there is none, or it is as wide as can be. */
int64_t health_wider_at_ms(const struct health *h);
void health_widen(struct health *h, int64_t now_ms);
