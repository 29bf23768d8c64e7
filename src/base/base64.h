/* base64 — bytes as text (RFC 4648, 4), with padding.
 *
 * Does:      writes it; reads it back strictly: only what it would write itself.
 * Does not:  take line breaks, blanks, or the URL alphabet.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include "base/defs.h"

#define BASE64_TEXT_BYTES(bytes) (((bytes) + 2) / 3 * 4 + 1) /* with NUL */

void base64_encode(const void *bytes, size_t len, char *out); /* out: BASE64_TEXT_BYTES(len) */
/* false: malformed, empty, or more than `most` bytes, of which there are at most 64. */
#define BASE64_BYTES_MOST 64
MUST_USE bool base64_decode(const char *text, size_t most, uint8_t *out, size_t *len);
