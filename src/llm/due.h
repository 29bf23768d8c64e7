/* due — what has to happen at a time, the soonest first.
 *
 * Does:      keeps due times in a binary heap; set, move and drop in O(log n).
 * Does not:  read a clock, wait, or call anybody.
 * Threads:   one at a time.
 * Owns:      its array; a struct due lives inside its object.
 */
#pragma once

#include "base/defs.h"

struct due {
    int64_t at_ms; /* monotonic */
    size_t slot;   /* place in the heap plus one; 0: not in it */
};

struct due_heap {
    struct due **items;
    size_t count, cap;
};

void due_fini(struct due_heap *h); /* what is still in it is forgotten */
void due_set(struct due_heap *h, struct due *d, int64_t at_ms); /* also moves what is in it */
void due_drop(struct due_heap *h, struct due *d);               /* not in it: nothing happens */

/* NULL when empty. */
static inline struct due *due_first(const struct due_heap *h)
{
    return h->count > 0 ? h->items[0] : NULL;
}
