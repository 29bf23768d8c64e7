/* utf8 — what may enter the record.
 *
 * Does:      checks UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
 * Does not:  repair anything.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include "base/defs.h"

bool utf8_is_valid(const char *text, size_t len);
size_t utf8_valid_prefix(const char *text, size_t len); /* bytes before the first fault */
/* A byte below 0x20, DEL, or a C1 control (U+0080..U+009F). Text must be valid UTF-8. */
bool utf8_has_control(const char *text, size_t len);
/* Longest prefix of at most max bytes that ends at a character's end. */
size_t utf8_cut(const char *text, size_t len, size_t max);
