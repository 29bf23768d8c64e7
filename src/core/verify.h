/* verify — is the record what was written?
 *
 * Does:      reads every conversation as an auditor, hashes it anew, and says of each that does not fit where; checks
 *            seals, against the heads they hold, a file of them kept elsewhere, and signatures.
 * Does not:  trust the database's own hash functions, write, or keep more than a page of rows and a byte a turn.
 * Threads:   the caller's; blocks.
 * Owns:      nothing beyond a call.
 */
#pragma once

#include <signal.h>

#include "db/trail.h"

/* What is wrong with a conversation: the place that tells most. */
struct verify_finding {
    struct uuid conversation;
    int32_t turn_no;     /* 0: none */
    int16_t position;    /* 0: none */
    const char *problem; /* with a seal, its first part */
    int64_t seal_no;     /* 0: none */
    const char *rest;    /* ... and what comes after the seal's number */
};

struct verify_counts {
    int64_t conversations, messages, erased, gone, broken;
    int64_t seals, unsigned_seals, unchecked_seals, broken_seals;
    int64_t newer_seals; /* kept ones that a standby need not have yet */
};

struct verify_watch {
    void (*found)(void *arg, const struct verify_finding *);
    void (*found_seal)(void *arg, int64_t seal_no, const char *problem);
    void (*passed)(void *arg, const struct uuid *conversation); /* after each one */
    void *arg;
    const volatile sig_atomic_t *is_stopped; /* looked at after each conversation, and each seal */
};

/* All conversations of the range; counts are added to. false: it could not be done, e says why. */
MUST_USE bool verify_conversations(struct trail *t, const struct trail_range *range,
                                   const struct verify_watch *watch, struct verify_counts *counts,
                                   struct err *e);

/* Seals that are known from elsewhere, and the public keys that are trusted. */
struct verify_kept {
    const struct seal *seals; /* by number */
    size_t count;
    struct seal_key *const *keys;
    size_t keys_count;
    int64_t until_us; /* what was sealed until then has to be there */
};
MUST_USE bool verify_seals(struct trail *t, const struct verify_kept *kept,
                           const struct verify_watch *watch, struct verify_counts *counts,
                           struct err *e);
