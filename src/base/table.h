/* table — objects found by a hash that names them.
 *
 * Does:      an intrusive hash table with chains; find, add, remove in O(1) on average.
 * Does not:  grow: it is made for about as many as there will be. Allocate or free objects, or lock.
 * Threads:   the caller's lock.
 * Owns:      its buckets; a struct table_node lives inside its object.
 */
#pragma once

#include "base/hash.h"

struct table_node {
    struct table_node *next; /* in its bucket */
    struct hash name;        /* a SHA-256: any of its bits do for the bucket */
};

struct table {
    struct table_node **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
};

/* most: about how many objects there may be at once. */
void table_init(struct table *t, size_t most);
void table_fini(struct table *t); /* what is still in it is forgotten */

struct table_node *table_find(const struct table *t, const struct hash *name); /* NULL: not there */
void table_add(struct table *t, struct table_node *n, const struct hash *name); /* not there yet */
void table_remove(struct table *t, struct table_node *n);
struct table_node *table_any(const struct table *t); /* NULL: it is empty. Slow; for an end */
