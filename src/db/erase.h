/* erase — forgetting a user or a session, for `hansard audit erase`.
 *
 * Does:      asks the database to erase, part by part, until nothing is left, over a direct connection as the owner.
 * Does not:  decide what goes: hansard_admin.erase_user and erase_session do.
 * Threads:   the caller's; blocks.
 * Owns:      its connection, inside the call.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct erase_order {
    const char *user;    /* NULL: a caller without a key; then session must be given */
    const char *session; /* NULL: all of the user's */
    bool with_account;   /* keys and name, too; only without session */
};

struct erase_counts {
    int64_t conversations, turns, messages, cancelled;
};

/* Each part is committed by itself; out tells of those that were, also when it fails. Made again, it goes on. */
MUST_USE bool erase_run(const char *url, const struct erase_order *o, struct erase_counts *out,
                        struct err *e);
