#include "core/rota.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void rota_init(struct rota *r, size_t most)
{
    *r = (struct rota){.bucket_count = 64};
    while (r->bucket_count < most && r->bucket_count < (size_t)1 << 20)
        r->bucket_count *= 2;
    r->buckets = mem_zero(r->bucket_count * sizeof(struct rota_caller *));
    list_init(&r->round);
    list_init(&r->awake);
}

void rota_fini(struct rota *r)
{
    for (size_t i = 0; i < r->bucket_count; i++) {
        for (struct rota_caller *c = r->buckets[i], *next; c; c = next) {
            next = c->next;
            free(c);
        }
    }
    free(r->buckets);
}

/* Where the caller of this name hangs, or would hang. The name is a SHA-256: any of its bits do. */
static struct rota_caller **find(struct rota *r, const struct hash *name)
{
    uint64_t bits;
    memcpy(&bits, name->bytes, sizeof bits);
    struct rota_caller **at = &r->buckets[bits & (r->bucket_count - 1)];
    while (*at && memcmp((*at)->name.bytes, name->bytes, HASH_BYTES) != 0)
        at = &(*at)->next;
    return at;
}

size_t rota_held(struct rota *r, const struct hash *name)
{
    const struct rota_caller *c = *find(r, name);
    return c ? c->held : 0;
}

void rota_hold(struct rota *r, struct rota_place *p, const struct hash *name)
{
    struct rota_caller **at = find(r, name);
    if (!*at) {
        *at = mem_zero(sizeof **at);
        (*at)->name = *name;
        list_init(&(*at)->waiting);
    }
    p->caller = *at;
    p->caller->held++;
    r->held++;
}

void rota_release(struct rota *r, struct rota_place *p)
{
    struct rota_caller *c = p->caller;
    assert(c->held > 0 && !p->is_coming && !list_is_linked(&p->node));
    p->caller = NULL;
    r->held--;
    if (--c->held > 0)
        return;
    assert(c->coming == 0 && c->waiting.count == 0);
    struct rota_caller **at = find(r, &c->name);
    assert(*at == c);
    *at = c->next;
    free(c);
}

static void note_awake(struct rota *r, struct rota_caller *c)
{
    bool is_awake = c->coming > 0 || c->waiting.count > 0;
    if (is_awake && !list_is_linked(&c->awake))
        list_append(&r->awake, &c->awake);
    else if (!is_awake && list_is_linked(&c->awake))
        list_remove(&r->awake, &c->awake);
}

void rota_come(struct rota *r, struct rota_place *p)
{
    assert(!p->is_coming);
    p->is_coming = true;
    p->caller->coming++;
    r->coming++;
    note_awake(r, p->caller);
}

void rota_go(struct rota *r, struct rota_place *p)
{
    assert(p->is_coming && p->caller->coming > 0);
    p->is_coming = false;
    p->caller->coming--;
    r->coming--;
    note_awake(r, p->caller);
}

void rota_wait(struct rota *r, struct rota_place *p)
{
    struct rota_caller *c = p->caller;
    if (c->waiting.count == 0)
        list_append(&r->round, &c->node);
    list_append(&c->waiting, &p->node);
    r->waiting++;
    note_awake(r, c);
}

void rota_leave(struct rota *r, struct rota_place *p)
{
    struct rota_caller *c = p->caller;
    list_remove(&c->waiting, &p->node);
    r->waiting--;
    if (c->waiting.count == 0)
        list_remove(&r->round, &c->node);
    note_awake(r, c);
}

struct rota_place *rota_take(struct rota *r)
{
    struct list_node *n = list_take_first(&r->round);
    if (!n)
        return NULL;
    struct rota_caller *c = CONTAINER_OF(n, struct rota_caller, node);
    struct rota_place *p = CONTAINER_OF(list_take_first(&c->waiting), struct rota_place, node);
    r->waiting--;
    if (c->waiting.count > 0)
        list_append(&r->round, &c->node);
    note_awake(r, c);
    return p;
}

size_t rota_ahead(const struct rota *r, const struct rota_place *p)
{
    const struct rota_caller *own = p->caller;
    size_t own_count = own->waiting.count + own->coming;
    size_t ahead = own_count;
    /* Of the others, as many rounds as it takes until our own are through. */
    for (struct list_node *n = list_first(&r->awake); n; n = list_next(&r->awake, n)) {
        const struct rota_caller *c = CONTAINER_OF(n, struct rota_caller, awake);
        size_t count = c->waiting.count + c->coming;
        if (c != own)
            ahead += count < own_count + 1 ? count : own_count + 1;
    }
    return ahead;
}
