/* defs — the few words every room uses.
 *
 * Does:      compiler attributes and a borrowed span of bytes.
 * Does not:  hold any logic.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Borrowed bytes; not NUL-terminated unless its giver says so. */
struct span {
    const char *data;
    size_t len;
};
