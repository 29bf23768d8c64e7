/* callers — what is known of those who asked lately.
 *
 * Does:      remembers a refusal until the moment it ends, so that a flood is answered without the
 *            database; remembers what a caller may still ask, to tell it on every answer.
 * Does not:  decide on a limit (take_quota and take_allowance do); a worker that remembers nothing is
 *            only slower.
 * Threads:   any. Time is handed in.
 * Owns:      its notes; the longest unused goes first.
 */
#pragma once

#include <pthread.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/table.h"
#include "db/item.h"

#define CALLERS_MOST 16384
/* A refusal is asked for anew after this time, so that a changed tier takes effect. */
#define CALLERS_REFUSAL_MOST_MS 10000
#define CALLERS_TOKENS_MS 1000
/* An unknown key is looked up again after this time: it may have been made since. */
#define CALLERS_UNKNOWN_MS 1000
/* A request with an Idempotency-Key may be a repeat that costs no quota. So that those come through
 * and a flood of them does not, one in this time is let through to the database, and some at once. */
#define CALLERS_REPEAT_MS 200
#define CALLERS_REPEATS 5
/* With so many turns asked for in a second a caller is hot, for a while: see core/meter. */
#define CALLERS_HOT 20
#define CALLERS_HOT_MS 10000

struct caller_note {
    struct list_node node; /* callers' */
    struct table_node named;
    struct quota quota; /* as of told_ms */
    int64_t told_ms;
    struct err refusal;       /* ERR_NONE: none is known */
    int64_t refused_until_ms; /* when it ends: retry_after is counted from it */
    int64_t known_until_ms;   /* when the database is asked anew: no later */
    int64_t repeats_ms;       /* theoretical arrival time of the next repeat (GCRA) */
    int64_t second;           /* in which asks are counted */
    unsigned asks;
    int64_t hot_until_ms;
};

struct callers {
    pthread_mutex_t lock;
    struct table table; /* lock */
    struct list notes;  /* lock; the longest unused first */
};

void callers_init(struct callers *c);
void callers_fini(struct callers *c);

/* Who is counted: by key, or by address when key_hash is NULL. */
struct hash callers_name(const struct hash *key_hash, const char *address);

struct caller_ask {
    const struct hash *name;
    bool may_be_repeat; /* came with an Idempotency-Key */
    int64_t now_ms;     /* monotonic */
};
/* true: refused, for why->retry_after_ms yet. *quota: what is known, or policy[0] is 0. */
MUST_USE bool callers_refuse(struct callers *c, const struct caller_ask *ask, struct err *why,
                             struct quota *quota);

/* Counts one turn that is asked for. true: there are so many that its quota should be taken apart;
 * *quota: what is known of it. */
MUST_USE bool callers_is_hot(struct callers *c, const struct hash *name, int64_t now_ms,
                             struct quota *quota);

/* What the database said: quota (policy[0] 0: nothing), and a refusal or ERR_NONE. */
struct caller_news {
    const struct hash *name;
    const struct quota *quota;
    const struct err *err;
    int64_t now_ms;
};
void callers_note(struct callers *c, const struct caller_news *news);
