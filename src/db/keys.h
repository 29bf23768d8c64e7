/* keys — callers and their API keys, for `hansard keys`.
 *
 * Does:      adds, lists, revokes, moves between tiers, over a direct connection as the owner.
 * Does not:  keep or log a key: the database gets its SHA-256.
 * Threads:   the caller's; blocks.
 * Owns:      its connection, inside the call.
 */
#pragma once

#include <stdio.h>

#include "base/err.h"

/* Prints the key once: the only time it can be seen. The user is made when new; tier NULL: "free" for a new user,
 * unchanged for an old one. */
MUST_USE bool keys_add(const char *url, const char *user, const char *tier, FILE *out,
                       struct err *e);
MUST_USE bool keys_list(const char *url, FILE *out,
                        struct err *e); /* user, tier, key id, created, revoked */
/* key_id: the first 16 hexadecimal digits of its hash, as `list` and `add` print it. */
MUST_USE bool keys_revoke(const char *url, const char *key_id, FILE *out, struct err *e);
MUST_USE bool keys_tier(const char *url, const char *user, const char *tier, FILE *out,
                        struct err *e);
