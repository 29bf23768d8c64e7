/* pack — numbers as bytes, big endian, the way PostgreSQL sends them.
 *
 * Does:      writes and reads fixed sizes.
 * Does not:  check bounds: the caller has made or measured the bytes.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include "base/defs.h"

static inline uint8_t *pack_be(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i-- > 0; value >>= 8)
        at[i] = (uint8_t)value;
    return at + bytes;
}

static inline uint64_t unpack_be(const void *from, size_t bytes)
{
    const uint8_t *at = from;
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}
