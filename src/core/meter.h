/* meter — the quota of callers who ask much.
 *
 * Does:      takes quota for all waiting turns of a caller in one short transaction of its own, ahead of
 *            the turns' own: the row of a hot caller is then not locked until the turns are on disk, and
 *            workers do not queue up behind each other for it. Takes some for turns that are about to
 *            come, as many as came in the last tenth of a second.
 * Does not:  decide; take_quota_for does. Who is not hot takes quota within accept_turns. Give back what
 *            was taken for turns that did not come: a call that does may be made twice, and then more
 *            would be admitted than the limit allows. It comes back by itself, as all quota does.
 * Threads:   any. granted and refused run without the lock, on a lane's thread or within meter_take.
 * Owns:      its table of hot callers; a struct meter_place lives inside its turn.
 */
#pragma once

#include <pthread.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/timer.h"
#include "db/db.h"

/* In which comers are counted; and for so long what was taken ahead may be used: kept longer, it would
 * come on top of a burst that has come back meanwhile. */
#define METER_SPAN_MS 100

struct meter_caller; /* one hot caller */

struct meter_place {
    struct list_node node;
    int64_t deadline_ms; /* meter's */
    /* is_paid: one turn's quota was taken; else it is not limited, or not known: accept_turns says. */
    void (*granted)(struct meter_place *, bool is_paid);
    void (*refused)(struct meter_place *, const struct err *why);
};

struct meter {
    struct db *db;
    struct timers *timers;
    pthread_mutex_t lock;
    struct list callers; /* lock: few */
};

void meter_init(struct meter *m, struct db *db, struct timers *timers);
void meter_fini(struct meter *m); /* nobody uses it any more; who waits is forgotten */

struct meter_ask {
    const struct hash *name; /* as in core/callers */
    const struct hash *key_hash;
    const char *address;
    int64_t now_ms, deadline_ms; /* monotonic; the database has not answered by then: ERR_DB_DOWN */
};
/* One of the callbacks comes, once; it may come at once. */
void meter_take(struct meter *m, struct meter_place *p, const struct meter_ask *ask);
