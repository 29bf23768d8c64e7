/* list — intrusive doubly linked list.
 *
 * Does:      O(1) append, remove, take first; a node is in at most one list.
 * Does not:  allocate or lock.
 * Threads:   the caller's lock.
 * Owns:      nothing; nodes live inside their objects.
 */
#pragma once

#include "base/defs.h"

struct list_node {
    struct list_node *prev, *next; /* both NULL: in no list */
};

struct list {
    struct list_node head; /* circular */
    size_t count;
};

static inline void list_init(struct list *l)
{
    l->head.prev = l->head.next = &l->head;
    l->count = 0;
}

static inline bool list_is_linked(const struct list_node *n)
{
    return n->next != NULL;
}

static inline void list_append(struct list *l, struct list_node *n)
{
    assert(!list_is_linked(n));
    n->prev = l->head.prev;
    n->next = &l->head;
    n->prev->next = n->next->prev = n;
    l->count++;
}

static inline void list_remove(struct list *l, struct list_node *n)
{
    assert(list_is_linked(n) && l->count > 0);
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->prev = n->next = NULL;
    l->count--;
}

/* NULL when empty. */
static inline struct list_node *list_first(const struct list *l)
{
    /* The analyzer does not see that a node was unlinked before it was freed. */
    return l->head.next == &l->head ? NULL : l->head.next; /* NOLINT(clang-analyzer-unix.Malloc) */
}

/* NULL at the end. */
static inline struct list_node *list_next(const struct list *l, const struct list_node *n)
{
    return n->next == &l->head ? NULL : n->next;
}

static inline struct list_node *list_take_first(struct list *l)
{
    struct list_node *n = list_first(l);
    if (n)
        list_remove(l, n);
    return n;
}
