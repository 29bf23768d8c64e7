/* hash — SHA-256 (FIPS 180-4) by OpenSSL's libcrypto.
 *
 * Does:      one-shot hashes, also over several parts, each prefixed by its length (8 bytes, big
 *            endian).
 * Does not:  keep secrets in memory longer than the call.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include "base/defs.h"

#define HASH_BYTES 32

struct hash {
    uint8_t bytes[HASH_BYTES];
};

struct hash hash_sha256(const void *bytes, size_t len);
struct hash hash_sha256_parts(const struct span *parts, size_t count);
/* HMAC (RFC 2104) over the parts put together, without lengths between. */
struct hash hash_hmac_sha256(struct span key, const struct span *parts, size_t count);
void hash_hex(const struct hash *h, char out[2 * HASH_BYTES + 1]);
