/* mem — allocation that aborts instead of failing, for sizes that passed a ceiling.
 *
 * Does:      malloc family that never returns NULL.
 * Does not:  take sizes from outside unchecked.
 * Threads:   any.
 * Owns:      nothing; free() what is returned.
 */
#pragma once

#include "base/defs.h"

MUST_USE void *mem_zero(size_t bytes);                 /* calloc(1, bytes) */
MUST_USE void *mem_grow(void *old, size_t bytes);      /* realloc */
MUST_USE char *mem_copy(const char *text, size_t len); /* NUL-terminated copy */
MUST_USE char *mem_text(const char *text);             /* strdup; NULL gives NULL */
