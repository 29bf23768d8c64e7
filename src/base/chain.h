/* chain — the hashes of a conversation, byte by byte.
 *
 * Does:      what sql/functions/00_common.sql defines (session_key, text_hash, chain_start, chain_hash), by
 *            other code, so that each can be checked with the other.
 * Does not:  read rows, or say what is wrong.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include "base/hash.h"
#include "base/ids.h"

struct chain_message {
    int32_t turn_no;
    int16_t position;
    struct span role;
    int64_t created_us; /* since 1970 */
    struct span text_hash;
};

/* user NULL: anonymous. */
struct hash chain_session_key(const struct uuid *user, struct span session_id);
struct hash chain_text_hash(struct span salt, struct span text);
struct hash chain_start(const struct uuid *conversation, struct span session_key,
                        int64_t created_us);
/* before: the hash stored with the message before, or chain_start's. */
struct hash chain_next(struct span before, const struct uuid *conversation,
                       const struct chain_message *m);
