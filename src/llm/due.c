#include "llm/due.h"

#include <stdlib.h>

#include "base/mem.h"

static void put(struct due_heap *h, size_t i, struct due *d)
{
    h->items[i] = d;
    d->slot = i + 1;
}

static void sift_up(struct due_heap *h, size_t i, struct due *d)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (h->items[parent]->at_ms <= d->at_ms)
            break;
        put(h, i, h->items[parent]);
        i = parent;
    }
    put(h, i, d);
}

static void sift_down(struct due_heap *h, size_t i, struct due *d)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->items[child + 1]->at_ms < h->items[child]->at_ms)
            child++;
        if (h->items[child]->at_ms >= d->at_ms)
            break;
        put(h, i, h->items[child]);
        i = child;
    }
    put(h, i, d);
}

void due_fini(struct due_heap *h)
{
    for (size_t i = 0; i < h->count; i++)
        h->items[i]->slot = 0;
    free(h->items);
    *h = (struct due_heap){0};
}

void due_set(struct due_heap *h, struct due *d, int64_t at_ms)
{
    if (d->slot == 0) {
        if (h->count == h->cap) {
            h->cap = h->cap ? 2 * h->cap : 64;
            h->items = mem_grow(h->items, h->cap * sizeof(struct due *));
        }
        d->at_ms = at_ms;
        sift_up(h, h->count++, d);
        return;
    }
    bool sooner = at_ms < d->at_ms;
    d->at_ms = at_ms;
    if (sooner)
        sift_up(h, d->slot - 1, d);
    else
        sift_down(h, d->slot - 1, d);
}

void due_drop(struct due_heap *h, struct due *d)
{
    if (d->slot == 0)
        return;
    size_t hole = d->slot - 1;
    assert(hole < h->count && h->items[hole] == d);
    d->slot = 0;
    struct due *last = h->items[--h->count];
    if (last == d)
        return;
    if (hole > 0 && h->items[(hole - 1) / 2]->at_ms > last->at_ms)
        sift_up(h, hole, last);
    else
        sift_down(h, hole, last);
}
