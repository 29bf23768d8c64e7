/* rota — whose turn it is, when callers wait for the same thing.
 *
 * Does:      keeps a queue a caller; callers take turns (round robin, as in deficit round robin with
 *            one call a visit: Shreedhar and Varghese, SIGCOMM 1995), so one with a thousand waiting
 *            delays another's first by one place. Counts what each caller has here in any state.
 * Does not:  wait, lock, or know what is waited for.
 * Threads:   its owner's lock.
 * Owns:      its table of callers; a struct rota_place lives inside its object.
 */
#pragma once

#include "base/hash.h"
#include "base/list.h"
#include "base/table.h"

struct rota_caller {
    struct table_node named;
    struct list_node node;  /* in the round, while somebody waits */
    struct list_node awake; /* in the rota's list, while somebody waits or comes */
    struct list waiting;    /* rota_place, first come first */
    size_t held;            /* places in any state */
    size_t coming;          /* on their way here: they will wait, or need not */
};

struct rota_place {
    struct list_node node; /* while it waits */
    struct rota_caller *caller;
    bool is_coming;
};

struct rota {
    struct table callers; /* rota_caller */
    struct list round;    /* rota_caller with somebody waiting; the first is next */
    struct list awake;    /* rota_caller with somebody waiting or coming */
    size_t held, coming, waiting;
};

/* most: about how many places there may be at once. */
void rota_init(struct rota *r, size_t most);
void rota_fini(struct rota *r);

/* How many places the caller of this name has. */
size_t rota_held(struct rota *r, const struct hash *name);
void rota_hold(struct rota *r, struct rota_place *p, const struct hash *name);
void rota_release(struct rota *r, struct rota_place *p); /* neither coming nor waiting */

void rota_come(struct rota *r, struct rota_place *p);
void rota_go(struct rota *r, struct rota_place *p); /* does not come any more, or is there */

void rota_wait(struct rota *r, struct rota_place *p);
void rota_leave(struct rota *r, struct rota_place *p); /* waits no more */
/* Whose turn it is: no longer waiting, and its caller is last in the round. NULL: nobody waits. */
struct rota_place *rota_take(struct rota *r);

/* How many that wait or come would be served before one more of this place's caller. Looks at each
 * caller that waits or comes. */
size_t rota_ahead(const struct rota *r, const struct rota_place *p);
