/* trail — what an auditor reads to check the chains, row by row, in the order of conversations.
 *
 * Does:      four streams (headers, turns, messages, sealed heads) out of one snapshot, each ordered by
 *            conversation; seals; over a direct connection, as the auditor, also on a hot standby.
 * Does not:  check anything, or hold more than a page of each stream.
 * Threads:   the caller's; blocks.
 * Owns:      connection and pages, not the URL; rows given out are valid until trail_step of the same stream.
 */
#pragma once

#include "base/err.h"
#include "base/ids.h"
#include "base/seal.h"

enum trail_stream { TRAIL_HEADERS, TRAIL_TURNS, TRAIL_MESSAGES, TRAIL_HEADS, TRAIL_STREAMS };

struct trail;

struct trail_header {
    struct span session_key;
    struct span user;       /* 16 bytes; data NULL: anonymous */
    struct span session_id; /* data NULL: erased */
    int64_t created_us;
    struct span session_head; /* data NULL: not the current conversation of a session */
    bool is_being_erased;     /* it has no session id any more, but words */
};
struct trail_turn {
    int32_t turn_no;
    bool is_completed;
    bool is_blanked; /* erasure or retention has taken its words */
};
struct trail_message {
    int32_t turn_no;
    int16_t position;
    struct span role;
    int64_t created_us;
    struct span text, salt; /* data NULL: erased */
    struct span text_hash, chain_hash;
};
struct trail_head {
    int64_t seal_no;
    int32_t messages;
    struct span head;
    int64_t from_us; /* the seal holds what was said later; INT64_MIN: there is no such seal */
};
/* The newest seal of the snapshot: what was said until then is in it or in one before. */
struct trail_sealed {
    int64_t seal_no; /* 0: there is none */
    int64_t until_us;
};

MUST_USE struct trail *trail_open(const char *url, struct err *e);
void trail_close(struct trail *t);
/* As direct_again: what failed may be begun anew. */
MUST_USE bool trail_again(struct trail *t, int *failures, struct err *e);

/* Which conversations. All NULL: all. */
struct trail_range {
    const struct uuid *only;
    const struct uuid *after; /* those up to it were checked before */
    const struct uuid *since; /* this is the least */
};
MUST_USE bool trail_begin(struct trail *t, const struct trail_range *range, struct err *e);
MUST_USE bool trail_end(struct trail *t, struct err *e);
/* Conversation of the stream's row; NULL: the stream is at its end. */
const struct uuid *trail_at(const struct trail *t, enum trail_stream s);
MUST_USE bool trail_step(struct trail *t, enum trail_stream s, struct err *e);
void trail_header(const struct trail *t, struct trail_header *out);
void trail_turn(const struct trail *t, struct trail_turn *out);
void trail_message(const struct trail *t, struct trail_message *out);
void trail_head(const struct trail *t, struct trail_head *out);
const struct trail_sealed *trail_sealed(const struct trail *t);
/* Has retention dropped the month of this conversation? */
bool trail_is_dropped(const struct trail *t, const struct uuid *id);

/* Conversations of the range, whatever it is after, that a session speaks of and that are not there: tell() for each. */
MUST_USE bool trail_strays(struct trail *t, const struct trail_range *range,
                           void (*tell)(void *arg, const struct uuid *), void *arg, struct err *e);
/* About how many messages there are, by PostgreSQL's statistics; 0: not known. */
MUST_USE bool trail_estimate(struct trail *t, int64_t *messages, struct err *e);
/* Least id a conversation that began at this time can have. The time is PostgreSQL's to read. */
MUST_USE bool trail_floor(struct trail *t, const char *time, struct uuid *out, struct err *e);

/* Time until which all that was committed can surely be read here, in µs: on a standby, a minute before the newest
 * that it has replayed. INT64_MAX: it is no standby. */
MUST_USE bool trail_horizon(struct trail *t, int64_t *until_us, struct err *e);

/* The next seal after a number; found: there is one. Its root is as stored. */
MUST_USE bool trail_seal(struct trail *t, int64_t after, struct seal *out, bool *found,
                         struct err *e);
/* The root over a seal's heads as they are, and how many there are: more than `most` are not read. */
struct trail_root {
    struct hash root;
    int64_t heads;
};
MUST_USE bool trail_seal_root(struct trail *t, int64_t seal_no, int32_t most,
                              struct trail_root *out, struct err *e);
/* The newest seal that is not there though heads speak of it; 0: none. */
MUST_USE bool trail_lost_seal(struct trail *t, int64_t *seal_no, struct err *e);
