/* ids — names for things: UUIDv7 (RFC 9562) and API keys.
 *
 * Does:      makes, prints and reads them; randomness from getrandom().
 * Does not:  make secrets of UUIDs: a version 7 UUID tells its time of birth.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include "base/defs.h"

#define UUID_TEXT_BYTES 37 /* with NUL */

struct uuid {
    uint8_t bytes[16];
};

struct uuid uuid_v7(int64_t unix_ms);
void uuid_format(const struct uuid *u, char out[UUID_TEXT_BYTES]);
/* 36 characters exactly. */
MUST_USE bool uuid_parse(const char *text, size_t len, struct uuid *out);

void random_bytes(void *out, size_t len); /* getrandom; aborts when the kernel refuses */
/* Uniform, for jitter; 0 when bound is 0; cheap (thread-local PRNG). */
uint32_t random_below(uint32_t bound);

/* "hsk_" and 43 characters of base64url: 256 bits from getrandom. */
#define API_KEY_TEXT_BYTES 48 /* with NUL */
void api_key_make(char out[API_KEY_TEXT_BYTES]);
