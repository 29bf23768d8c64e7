/* seal — one value over what all conversations have come to, and whose signature it bears.
 *
 * Does:      hashes a seal's fields as sql/functions/85_seals.sql does; reads it from JSON, the function's or a log
 *            line's; signs and checks with Ed25519 (RFC 8032).
 * Does not:  make seals: the database does. Keep private keys longer than their holder.
 * Threads:   any; keys are read-only once made.
 * Owns:      struct seal_key its EVP key, until seal_key_free.
 */
#pragma once

#include "base/err.h"
#include "base/hash.h"
#include "base/ids.h"

#define SEAL_SIGNATURE_BYTES 64
#define SEAL_KEY_ID_BYTES 17 /* 16 hexadecimal digits of the public key's SHA-256, with NUL */

struct seal {
    int64_t no, sealed_us, from_us, to_us; /* µs since 1970 */
    int32_t heads;
    struct hash root, previous, hash;
    bool is_signed;
    uint8_t signature[SEAL_SIGNATURE_BYTES];
    char key_id[SEAL_KEY_ID_BYTES];
};

struct hash seal_hash(const struct seal *s); /* of the fields before hash */
/* What is a leaf's data: conversation, messages, head. */
#define SEAL_LEAF_BYTES (16 + 4 + HASH_BYTES)
void seal_leaf(const struct uuid *conversation, int32_t messages, const struct hash *head,
               uint8_t out[SEAL_LEAF_BYTES]);

/* {"seal_no", "sealed_us", "from_us", "to_us", "heads", "root", "previous", "hash"}, and when signed {"signature",
 * "key_id"}; other members are no matter. */
MUST_USE bool seal_read(const char *json, size_t len, struct seal *out, struct err *e);

struct seal_key;
/* 32 bytes as 64 hexadecimal digits or in base64. The error names the setting, never its value. */
MUST_USE struct seal_key *seal_key_private(const char *text, const char *setting, struct err *e);
MUST_USE struct seal_key *seal_key_public(const char *text, const char *setting, struct err *e);
void seal_key_free(struct seal_key *k);
const char *seal_key_id(const struct seal_key *k);
void seal_sign(const struct seal_key *k, struct seal *s); /* k: private */
bool seal_is_signed_by(const struct seal *s, const struct seal_key *k);
