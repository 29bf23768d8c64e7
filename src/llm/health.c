#include "llm/health.h"

/* The limit follows TCP's congestion control, which solves the same problem: to share a server of
 * unknown and changing capacity by nothing but the outcomes of what one sends.
 *
 * - Additive increase, multiplicative decrease, slow start: V. Jacobson, "Congestion Avoidance and
 *   Control" (SIGCOMM 1988); RFC 5681. As a limit on calls: Netflix concurrency-limits (AIMDLimit),
 *   "Site Reliability Engineering" (O'Reilly 2016), chapters 21 and 22.
 * - DECREASE is CUBIC's (RFC 9438, 4.6), between TCP's 0.5 and Netflix's 0.9: a round trip to a
 *   model takes seconds to minutes, so what was given away comes back slowly, and what is too much
 *   has to go in a few of them.
 * - Once a round trip (RFC 6582): everything sent before a decrease met the same overload.
 * - No growth while the limit is not used (RFC 7661): successes of an idle server say nothing about
 *   what it would bear.
 *
 * The breaker counts failures in a row, as Envoy's outlier detection does (consecutive_5xx, 5). */
#define DECREASE 0.7

enum meaning {
    SUCCEEDED,
    OVERLOADED, /* it works, and wants less */
    FAILED,     /* it may be overloaded, or away */
    TELLS_NOTHING,
};

/* Only a success shows that the model works, and only what never comes from a working server counts
 * as a failure. What lies between tells nothing in either direction: a refusal or nonsense may come
 * from a proxy before a dead model, or be about one request alone; to let it end a row of failures
 * would hide the one, to count it the other way would close the server to everybody for what one
 * caller asked. A call with little time left, or none, ends by our clock. */
static enum meaning get_meaning(const struct health_report *r)
{
    switch (r->result) {
    case ATTEMPT_OK:
        return SUCCEEDED;
    case ATTEMPT_HTTP_429:
        return OVERLOADED;
    case ATTEMPT_TIMEOUT:
        return r->had_fair_time ? FAILED : TELLS_NOTHING;
    case ATTEMPT_HTTP_5XX:
    case ATTEMPT_CONNECT:
    case ATTEMPT_CUT:
        return FAILED;
    case ATTEMPT_REJECTED:
    case ATTEMPT_GARBAGE:
    case ATTEMPT_TOO_LARGE:
    case ATTEMPT_CANCELLED:
        break;
    }
    return TELLS_NOTHING;
}

void health_init(struct health *h, int most)
{
    assert(most >= 1);
    *h = (struct health){.state = HEALTH_UP,
                         .most = most,
                         .limit = most,
                         .slow_start = most / 2.0,
                         .probe_at_ms = INT64_MAX};
}

int health_limit(const struct health *h)
{
    switch (h->state) {
    case HEALTH_DOWN:
        return 0;
    case HEALTH_TRIAL:
        return h->trial_limit;
    case HEALTH_UP:
        break;
    }
    return (int)h->limit;
}

static void enter(struct health *h, enum health_state state)
{
    h->state = state;
    h->state_era = ++h->era;
    h->failures = 0;
}

static void fall(struct health *h, int64_t probe_at_ms)
{
    enter(h, HEALTH_DOWN);
    h->probe_at_ms = probe_at_ms;
}

/* An outage does not tell how much the server bears, and what was known before may be void: slow
 * start goes to half of what is allowed, as TCP begins a connection with a threshold out of reach. */
static void rise(struct health *h)
{
    enter(h, HEALTH_UP);
    h->limit = 1;
    h->slow_start = h->most / 2.0;
}

static void grow(struct health *h, int in_flight)
{
    if (in_flight < (int)h->limit)
        return;
    h->is_shrinking = false;
    h->limit += h->limit < h->slow_start ? 1 : 1 / h->limit;
    if (h->limit > h->most)
        h->limit = h->most;
}

/* Slow start is for after several decreases in a row: one alone stays above half. Any growth in
 * between makes the next decrease a trouble of its own, with a threshold of its own; or else the
 * limit would leap again and again to where it was too much. */
static void shrink(struct health *h)
{
    if (!h->is_shrinking)
        h->slow_start = h->limit / 2;
    h->is_shrinking = true;
    h->limit *= DECREASE;
    if (h->limit < 1)
        h->limit = 1;
    h->era++;
}

/* What began before the last decrease, or before the state, tells of the time before. */
static bool is_of_state(const struct health *h, const struct health_report *r)
{
    return (int)(r->era - h->state_era) >= 0; /* also when the numbers have wrapped */
}

static void take_success(struct health *h, const struct health_report *r)
{
    bool is_new = r->era == h->era;
    h->failures = 0;
    if (h->state != HEALTH_UP)
        rise(h);
    else if (!is_new)
        return;
    grow(h, r->in_flight);
}

static void take_failure(struct health *h, const struct health_report *r, int64_t now_ms)
{
    if (h->state == HEALTH_DOWN || !is_of_state(h, r))
        return;
    if (h->state == HEALTH_TRIAL)
        fall(h, now_ms + HEALTH_TRIAL_PAUSE_MS);
    else if (++h->failures >= HEALTH_FAILURES)
        fall(h, now_ms + HEALTH_PROBE_MS);
    else if (r->era == h->era)
        shrink(h);
}

struct answer {
    enum health_state state;
    int limit;
};

static struct answer get_answer(const struct health *h)
{
    return (struct answer){h->state, health_limit(h)};
}

static bool is_other_answer(const struct health *h, struct answer before)
{
    return h->state != before.state || health_limit(h) != before.limit;
}

bool health_take(struct health *h, const struct health_report *r, int64_t now_ms)
{
    struct answer before = get_answer(h);
    switch (get_meaning(r)) {
    case SUCCEEDED:
        take_success(h, r);
        break;
    case OVERLOADED:
        if (h->state == HEALTH_UP && r->era == h->era)
            shrink(h);
        break;
    case FAILED:
        take_failure(h, r, now_ms);
        break;
    case TELLS_NOTHING:
        break; /* in a trial, too: the next call decides */
    }
    return is_other_answer(h, before);
}

/* ---- probes ---- */

bool health_is_reachable(long status)
{
    return status >= 200 && status < 500 && status != 429;
}

int64_t health_probe_at_ms(const struct health *h)
{
    return h->state == HEALTH_DOWN ? h->probe_at_ms : INT64_MAX;
}

void health_probe_begins(struct health *h, int64_t now_ms)
{
    h->probe_at_ms = INT64_MAX;
    h->probe_from_ms = now_ms;
    h->probe_era = h->era;
}

/* One that took longer than the time between two is followed by the next at once. */
bool health_probe_ends(struct health *h, long status, int64_t now_ms)
{
    if (h->probe_era != h->era)
        return false; /* a call was quicker, and what has come since is not what was probed */
    if (health_is_reachable(status)) {
        enter(h, HEALTH_TRIAL);
        h->trial_limit = 1;
        h->wider_at_ms = now_ms + HEALTH_TRIAL_WIDER_MS;
        return true;
    }
    int64_t next_ms = h->probe_from_ms + HEALTH_PROBE_MS;
    h->probe_at_ms = next_ms > now_ms ? next_ms : now_ms;
    return false;
}

/* ---- trials ---- */

int64_t health_wider_at_ms(const struct health *h)
{
    return h->state == HEALTH_TRIAL && h->trial_limit < h->most ? h->wider_at_ms : INT64_MAX;
}

void health_widen(struct health *h, int64_t now_ms)
{
    h->trial_limit++;
    h->wider_at_ms = now_ms + HEALTH_TRIAL_WIDER_MS;
}
