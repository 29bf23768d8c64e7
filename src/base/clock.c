#include "base/clock.h"

#include <stdio.h>
#include <time.h>

/* The years RFC 3339 can write: 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z. */
#define FIRST_MS INT64_C(-62167219200000)
#define LAST_MS INT64_C(253402300799999)

static struct timespec read_clock(clockid_t id)
{
    struct timespec t;
    int failed = clock_gettime(id, &t);
    assert(!failed);
    (void)failed;
    return t;
}

int64_t clock_mono_us(void)
{
    struct timespec t = read_clock(CLOCK_MONOTONIC);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_unix_ms(void)
{
    struct timespec t = read_clock(CLOCK_REALTIME);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void clock_format(int64_t unix_ms, char out[25])
{
    if (unix_ms < FIRST_MS)
        unix_ms = FIRST_MS;
    if (unix_ms > LAST_MS)
        unix_ms = LAST_MS;
    int64_t ms = unix_ms % 1000;
    if (ms < 0)
        ms += 1000;
    time_t seconds = (time_t)((unix_ms - ms) / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    /* The remainders tell the compiler that everything fits. */
    snprintf(out, 25, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100,
             (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100,
             (unsigned)ms % 1000);
}
