/* retry — may a failed call be sent again, and when.
 *
 * Does:      full jitter, Retry-After, a budget that keeps repeats at a tenth of the calls.
 * Does not:  read a clock, sleep, or know curl's errors: time and chance are handed in.
 * Threads:   one at a time.
 * Owns:      nothing.
 */
#pragma once

#include "base/defs.h"
#include "base/limits.h"

#define RETRY_BASE_MS 100
#define RETRY_CAP_MS 5000

/* A token bucket: each first attempt puts in a tenth of a token, each repeat takes a whole one, and
 * it holds ten at most. When the model server is down, repeats stay a tenth of the calls instead of
 * tripling the load on it. After Finagle's RetryBudget
 * (twitter.github.io/finagle/guide/Clients.html#retries), gRPC's retry throttling (gRFC A6) and
 * "Site Reliability Engineering" (O'Reilly 2016), chapters 21 and 22. */
struct retry_budget {
    int32_t thousandths; /* of a token */
};
/* Full, so that the first failures after a start may be repeated. */
void retry_budget_init(struct retry_budget *b);
void retry_budget_add_call(struct retry_budget *b);
MUST_USE bool retry_budget_take(struct retry_budget *b);

/* A whole number below the bound; 0 when the bound is 0. base/ids random_below, or a test's own. */
typedef uint32_t retry_random(uint32_t bound);

/* "Full Jitter" of the AWS Architecture Blog, "Exponential Backoff And Jitter" (2015):
 * random(0, min(cap, base * 2^repeats)). */
int64_t retry_backoff_ms(int32_t repeats_before, retry_random *random);

/* The value of a Retry-After header (RFC 9110, 10.2.3: seconds or a date) as a wait from unix_ms
 * on, within 0..LIMIT_RETRY_AFTER_MS. -1: there is none, or it cannot be read. */
int64_t retry_after_ms(const char *value, int64_t unix_ms);

enum retry_verdict {
    RETRY_AT,          /* wait_ms from now */
    RETRY_NO_ATTEMPTS, /* they are used up */
    RETRY_NO_TIME,     /* the wait would end at the deadline or later */
    RETRY_NO_BUDGET,
};

struct retry_ask {
    int32_t attempts; /* made so far, at least 1 */
    int64_t now_ms, deadline_ms;
    int64_t server_wait_ms; /* what retry_after_ms gave; -1: the server asked for nothing */
};
enum retry_verdict retry_decide(struct retry_budget *b, const struct retry_ask *ask,
                                retry_random *random, int64_t *wait_ms);
