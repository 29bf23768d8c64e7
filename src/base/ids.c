#include "base/ids.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hex.h"

/* Random bytes fetched ahead, so that a UUID is no system call. */
#define POOL_BYTES 1024
static _Thread_local struct {
    uint8_t bytes[POOL_BYTES];
    size_t left;
} pool;

/* PCG32 (O'Neill, XSH RR): its state is of the thread. */
static _Thread_local struct {
    uint64_t state;
    uint64_t step; /* odd; 0: not seeded */
} pcg;

void random_bytes(void *out, size_t len)
{
    uint8_t *to = out;
    while (len > 0) {
        ssize_t n = getrandom(to, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort();
        to += n;
        len -= (size_t)n;
    }
}

static void pooled_bytes(uint8_t *out, size_t len)
{
    if (pool.left < len) {
        random_bytes(pool.bytes, sizeof pool.bytes);
        pool.left = sizeof pool.bytes;
    }
    pool.left -= len;
    memcpy(out, pool.bytes + pool.left, len);
}

static uint32_t pcg_next(void)
{
    if (pcg.step == 0) {
        random_bytes(&pcg, sizeof pcg);
        pcg.step |= 1;
    }
    uint64_t old = pcg.state;
    pcg.state = old * UINT64_C(6364136223846793005) + pcg.step;
    uint32_t word = (uint32_t)(((old >> 18) ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    return (word >> turn) | (word << (-turn & 31));
}

/* Lemire's method: a multiplication, and a new draw for the few that would favour some numbers. */
uint32_t random_below(uint32_t bound)
{
    if (bound == 0)
        return 0;
    uint32_t unfair = -bound % bound;
    uint64_t product;
    do {
        product = (uint64_t)pcg_next() * bound;
    } while ((uint32_t)product < unfair);
    return (uint32_t)(product >> 32);
}

struct uuid uuid_v7(int64_t unix_ms)
{
    struct uuid u;
    uint64_t ms = (uint64_t)unix_ms;
    for (int i = 0; i < 6; i++)
        u.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    pooled_bytes(u.bytes + 6, 10);
    u.bytes[6] = (uint8_t)(0x70 | (u.bytes[6] & 0x0F));
    u.bytes[8] = (uint8_t)(0x80 | (u.bytes[8] & 0x3F));
    return u;
}

static bool is_dash_place(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

void uuid_format(const struct uuid *u, char out[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < sizeof u->bytes; i++) {
        if (is_dash_place(at))
            out[at++] = '-';
        out[at++] = digits[u->bytes[i] >> 4];
        out[at++] = digits[u->bytes[i] & 15];
    }
    out[at] = '\0';
}

bool uuid_parse(const char *text, size_t len, struct uuid *out)
{
    if (len != UUID_TEXT_BYTES - 1)
        return false;
    struct uuid u = {0};
    size_t digit = 0;
    for (size_t i = 0; i < len; i++) {
        if (is_dash_place(i)) {
            if (text[i] != '-')
                return false;
            continue;
        }
        int value = hex_digit(text[i]);
        if (value < 0)
            return false;
        u.bytes[digit / 2] |= (uint8_t)(digit % 2 ? value : value << 4);
        digit++;
    }
    *out = u;
    return true;
}

void api_key_make(char out[API_KEY_TEXT_BYTES])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t secret[33] = {0}; /* 32 random bytes; the last makes whole groups of three */
    random_bytes(secret, 32);
    memcpy(out, "hsk_", 4);
    char text[44];
    for (size_t i = 0; i < 11; i++) {
        uint32_t group =
            (uint32_t)secret[3 * i] << 16 | (uint32_t)secret[3 * i + 1] << 8 | secret[3 * i + 2];
        for (size_t n = 0; n < 4; n++)
            text[4 * i + n] = alphabet[group >> (18 - 6 * n) & 63];
    }
    memcpy(out + 4, text, 43);
    out[API_KEY_TEXT_BYTES - 1] = '\0';
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(text, sizeof text);
}
