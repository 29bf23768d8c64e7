/* buf — growable bytes, born with a ceiling.
 *
 * Does:      appends; refuses past its ceiling and remembers that it did.
 * Does not:  shrink, share, or abort on the ceiling (only on out of memory).
 * Threads:   one at a time.
 * Owns:      its bytes, until buf_take gives them away.
 */
#pragma once

#include "base/defs.h"

struct buf {
    char *data; /* NUL-terminated once anything was added */
    size_t len;
    size_t cap;
    size_t max;      /* ceiling of len in bytes */
    bool overflowed; /* an append was refused; the content is what fitted before it */
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_fini(struct buf *b);
void buf_reset(struct buf *b); /* empties, keeps the memory and the ceiling */

/* All appends: false when the ceiling would be passed; nothing of that append is kept. */
bool buf_add(struct buf *b, const void *bytes, size_t len);
bool buf_puts(struct buf *b, const char *text);
bool buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room for len more bytes at data + len; NULL past the ceiling. The caller writes, then adds to
 * len. */
MUST_USE char *buf_reserve(struct buf *b, size_t len);

/* Gives the NUL-terminated bytes to the caller (free() them); b is empty afterwards. Never NULL. */
MUST_USE char *buf_take(struct buf *b, size_t *len);
