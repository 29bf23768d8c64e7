/* work — the three kinds of item as lanes see them.
 *
 * Does:      says when an item's patience ends and what that means; ends items.
 * Does not:  hold items in lists, or know how they are carried out.
 * Threads:   the item's holder; calls done and late, so no lock may be held.
 * Owns:      nothing.
 */
#pragma once

#include "db/item.h"

enum work_kind {
    WORK_ACCEPT,
    WORK_FINISH,
    WORK_CALL,
    WORK_KINDS
}; /* also a metric's value index */

/* What the deadline means for an item now. */
enum work_fate {
    WORK_WAITS,   /* nothing */
    WORK_EXPIRES, /* nothing of it is stored: it ends as refused */
    WORK_IS_LATE  /* its outcome is not known or must come: tell, go on */
};

struct accept_item *work_accept(struct list_node *n);
struct finish_item *work_finish(struct list_node *n);
struct call_item *work_call(struct list_node *n);

enum work_fate work_fate(enum work_kind kind, struct list_node *n, bool in_flight, int64_t now_ms);
void work_mark_sent(enum work_kind kind, struct list_node *n);
void work_tell_late(enum work_kind kind, struct list_node *n); /* once */
/* Out of its list before. DB_DOWN comes with advice when to return. */
void work_refuse(enum work_kind kind, struct list_node *n, enum err_kind why);
/* Its outcome is filled in. */
void work_done(enum work_kind kind, struct list_node *n);
