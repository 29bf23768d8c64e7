/* lookup — one single call to the database, for the routes that read or erase.
 *
 * Does:      keeps the call's parameters alive while it runs.
 * Does not:  know SQL (db/store does).
 * Threads:   the exchange's loop; the call's done comes on a lane's thread.
 * Owns:      the call's text.
 */
#pragma once

#include "base/hash.h"
#include "base/ids.h"
#include "base/limits.h"
#include "db/item.h"

struct exchange;

struct lookup {
    struct call_item item;
    struct exchange *exchange;
    char key_hash_hex[2 + 2 * HASH_BYTES + 1]; /* "\x…" */
    char session_id[LIMIT_SESSION_ID_BYTES + 1];
    char after_turn[24], turns[24], bytes[24];
    char conversation[UUID_TEXT_BYTES]; /* "": none was named */
};

void lookup_free(struct lookup *l); /* NULL is fine */
