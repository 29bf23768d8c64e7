#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define BUCKETS_LEAST 64
#define BUCKETS_MOST ((size_t)1 << 20)

void table_init(struct table *t, size_t most)
{
    *t = (struct table){.bucket_count = BUCKETS_LEAST};
    while (t->bucket_count < most && t->bucket_count < BUCKETS_MOST)
        t->bucket_count *= 2;
    t->buckets = mem_zero(t->bucket_count * sizeof(struct table_node *));
}

void table_fini(struct table *t)
{
    free(t->buckets);
}

/* Where an object of this name hangs, or would hang. */
static struct table_node **find(const struct table *t, const struct hash *name)
{
    uint64_t bits;
    memcpy(&bits, name->bytes, sizeof bits);
    struct table_node **at = &t->buckets[bits & (t->bucket_count - 1)];
    while (*at && memcmp((*at)->name.bytes, name->bytes, HASH_BYTES) != 0)
        at = &(*at)->next;
    return at;
}

struct table_node *table_find(const struct table *t, const struct hash *name)
{
    return *find(t, name);
}

void table_add(struct table *t, struct table_node *n, const struct hash *name)
{
    struct table_node **at = find(t, name);
    assert(!*at);
    *n = (struct table_node){.name = *name};
    *at = n;
    t->count++;
}

void table_remove(struct table *t, struct table_node *n)
{
    struct table_node **at = find(t, &n->name);
    assert(*at == n && t->count > 0);
    *at = n->next;
    n->next = NULL;
    t->count--;
}

struct table_node *table_any(const struct table *t)
{
    for (size_t i = 0; i < t->bucket_count; i++)
        if (t->buckets[i])
            return t->buckets[i];
    return NULL;
}
