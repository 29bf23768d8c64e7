/* migrate — brings a database to this binary's schema.
 *
 * Does:      applies embedded migrations in order, each in one transaction under one advisory lock; records checksums;
 *            re-applies functions whose text changed.
 * Does not:  go back, or go through the pooler.
 * Threads:   the caller's; blocks.
 * Owns:      its connection, inside the call.
 */
#pragma once

#include <stdio.h>

#include "base/err.h"

enum migrate_mode { MIGRATE_APPLY, MIGRATE_STATUS, MIGRATE_DRY_RUN };

struct migrate_options {
    const char *url;
    enum migrate_mode mode;
    int to_version; /* 0: the newest */
    FILE *out;      /* what was done, a line each */
};

/* A migration that was applied with other text: ERR_INTERNAL, detail names the file; nothing is changed. */
MUST_USE bool migrate_run(const struct migrate_options *o, struct err *e);

int migrate_wanted_version(void); /* newest migration in this binary */
