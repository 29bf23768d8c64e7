/* sealer — seals what was said, from time to time, and says so where the database cannot take it back.
 *
 * Does:      asks for the next seal when one may be due, signs it when there is a key, logs it as one line, keeps the
 *            signature; tells as a metric how old the newest seal is, also while the database is away.
 * Does not:  decide when a seal is due or what is in it: the database does, for all workers.
 * Threads:   one step at a time; the keeper's.
 * Owns:      the private key, until sealer_fini.
 */
#pragma once

#include "base/config.h"
#include "base/seal.h"
#include "db/item.h"

struct sealer {
    struct seal_key *key; /* NULL: seals are not signed */
    int64_t interval_ms;
    int most; /* messages a seal looks at */
    struct seal made;
    bool has_to_keep; /* made was signed, and its signature is not in the database yet */
    int keep_tries;
    bool has_age;      /* it is known when the newest seal was made: */
    int64_t sealed_ms; /* ... by the monotonic clock */

    /* Parameters as text. */
    char every[24], most_text[12], no[24];
    char hash[2 + 2 * HASH_BYTES + 1], signature[2 + 2 * SEAL_SIGNATURE_BYTES + 1];
};

void sealer_init(struct sealer *s, const struct config *c); /* config_read has seen to the key */
void sealer_fini(struct sealer *s);
/* The next call: for a seal, or to keep a signature. */
void sealer_ask(struct sealer *s, struct call_item *item);
/* Milliseconds until the next. */
int64_t sealer_ended(struct sealer *s, const struct call_item *item);
