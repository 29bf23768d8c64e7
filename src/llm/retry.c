#include "llm/retry.h"

#include <curl/curl.h>
#include <string.h>
#include <time.h>

#define BUDGET_CALL 100 /* what a call puts in: a tenth */
#define BUDGET_REPEAT 1000
#define BUDGET_MAX 10000

void retry_budget_init(struct retry_budget *b)
{
    b->thousandths = BUDGET_MAX;
}

void retry_budget_add_call(struct retry_budget *b)
{
    b->thousandths += BUDGET_CALL;
    if (b->thousandths > BUDGET_MAX)
        b->thousandths = BUDGET_MAX;
}

bool retry_budget_take(struct retry_budget *b)
{
    if (b->thousandths < BUDGET_REPEAT)
        return false;
    b->thousandths -= BUDGET_REPEAT;
    return true;
}

int64_t retry_backoff_ms(int32_t repeats_before, retry_random *random)
{
    assert(repeats_before >= 0);
    int64_t most = RETRY_CAP_MS;
    if (repeats_before < 16 && ((int64_t)RETRY_BASE_MS << repeats_before) < most)
        most = (int64_t)RETRY_BASE_MS << repeats_before;
    return random((uint32_t)most);
}

static int64_t clamp_wait(int64_t ms)
{
    if (ms < 0)
        return 0;
    return ms < LIMIT_RETRY_AFTER_MS ? ms : LIMIT_RETRY_AFTER_MS;
}

int64_t retry_after_ms(const char *value, int64_t unix_ms)
{
    if (!value)
        return -1;
    value += strspn(value, " \t");
    size_t digits = strspn(value, "0123456789");
    if (digits > 0) {
        if (value[digits + strspn(value + digits, " \t")] != '\0')
            return -1;
        int64_t seconds = 0;
        for (size_t i = 0; i < digits && seconds <= LIMIT_RETRY_AFTER_MS; i++)
            seconds = seconds * 10 + (value[i] - '0');
        return clamp_wait(seconds * 1000);
    }
    /* All three date forms of RFC 9110 begin with the name of a day; curl_getdate reads much more
     * than those. */
    if (!strchr("MTWFS", value[0]) || value[0] == '\0')
        return -1;
    time_t date = curl_getdate(value, NULL);
    if (date == (time_t)-1)
        return -1;
    int64_t now = unix_ms;
    return clamp_wait((int64_t)date > now / 1000 + 3600 ? LIMIT_RETRY_AFTER_MS
                                                        : (int64_t)date * 1000 - now);
}

enum retry_verdict retry_decide(struct retry_budget *b, const struct retry_ask *ask,
                                retry_random *random, int64_t *wait_ms)
{
    assert(ask->attempts >= 1);
    if (ask->attempts >= LIMIT_LLM_ATTEMPTS)
        return RETRY_NO_ATTEMPTS;
    /* The jitter comes on top of what the server asks for: or else all who were refused come back
     * together. */
    int64_t wait = retry_backoff_ms(ask->attempts - 1, random);
    if (ask->server_wait_ms > 0)
        wait += ask->server_wait_ms;
    if (ask->now_ms + wait >= ask->deadline_ms)
        return RETRY_NO_TIME;
    if (!retry_budget_take(b))
        return RETRY_NO_BUDGET;
    *wait_ms = wait;
    return RETRY_AT;
}
