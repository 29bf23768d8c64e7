#include "core/rota.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void rota_init(struct rota *r, size_t most)
{
    *r = (struct rota){.held = 0};
    table_init(&r->callers, most);
    list_init(&r->round);
    list_init(&r->awake);
}

void rota_fini(struct rota *r)
{
    for (struct table_node *n; (n = table_any(&r->callers));) {
        table_remove(&r->callers, n);
        free(CONTAINER_OF(n, struct rota_caller, named));
    }
    table_fini(&r->callers);
}

static struct rota_caller *find(const struct rota *r, const struct hash *name)
{
    struct table_node *n = table_find(&r->callers, name);
    return n ? CONTAINER_OF(n, struct rota_caller, named) : NULL;
}

size_t rota_held(struct rota *r, const struct hash *name)
{
    const struct rota_caller *c = find(r, name);
    return c ? c->held : 0;
}

void rota_hold(struct rota *r, struct rota_place *p, const struct hash *name)
{
    struct rota_caller *c = find(r, name);
    if (!c) {
        c = mem_zero(sizeof *c);
        table_add(&r->callers, &c->named, name);
        list_init(&c->waiting);
    }
    p->caller = c;
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
    table_remove(&r->callers, &c->named);
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
