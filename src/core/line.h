/* line — who waits for a conversation, in the order in which they came.
 *
 * Does:      keeps a queue a conversation: the first has the word (it asks, and speaks), the others
 *            wait with a deadline; when the first leaves, the next has the word at once.
 * Does not:  know whether the conversation is busy elsewhere (the database does), or wait itself.
 * Threads:   any. Callbacks run without the lock, on the thread of whoever left, or on the timers'.
 * Owns:      its table; a struct line_place lives inside its turn.
 */
#pragma once

#include "base/hash.h"
#include "base/list.h"
#include "base/table.h"
#include "base/timer.h"

struct line_queue; /* one conversation's */

struct line_place {
    void (*turn_came)(struct line_place *); /* has the word now; line_leave must follow */
    void (*expired)(struct line_place *);   /* the deadline came first; it is out of the line */
    struct list_node node;                  /* lock */
    struct timer timer;                     /* the deadline; not while it has the word */
    struct line *line;
    struct line_queue *queue;
    bool has_word; /* lock */
};

struct line {
    struct timers *timers;
    pthread_mutex_t lock;
    struct table table; /* lock; line_queue */
};

/* most: about how many places there may be at once. */
void line_init(struct line *l, size_t most, struct timers *timers);
void line_fini(struct line *l); /* nobody uses it any more; who waits is forgotten */

/* The name of a conversation's queue: owner and session id, hashed. true: it has the word. false:
 * it waits; one of its callbacks comes, once. */
MUST_USE bool line_enter(struct line *l, struct line_place *p, const struct hash *name,
                         int64_t deadline_ms);
/* Only who has the word; it is passed on. */
void line_leave(struct line *l, struct line_place *p);
