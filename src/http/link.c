#include "http/link.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static struct link *link_of(struct list_node *n)
{
    return n ? CONTAINER_OF(n, struct link, node) : NULL;
}

#define LOOK_MS 1000

static struct list *list_of(struct links *all, enum link_state state)
{
    switch (state) {
    case LINK_READING:
        return &all->reading;
    case LINK_IDLE:
        return &all->idle;
    case LINK_ANSWERING:
        return &all->answering;
    case LINK_WAITING:
        return &all->waiting;
    case LINK_CUT:
        break;
    }
    return NULL;
}

void links_init(struct links *all, int64_t read_ms, int64_t idle_ms)
{
    memset(all, 0, sizeof(*all));
    list_init(&all->reading);
    list_init(&all->idle);
    list_init(&all->answering);
    list_init(&all->waiting);
    list_init(&all->fresh);
    all->read_ms = read_ms;
    all->idle_ms = all->answer_ms = idle_ms;
}

static int64_t time_for(const struct links *all, enum link_state state)
{
    return state == LINK_READING     ? all->read_ms
           : state == LINK_ANSWERING ? all->answer_ms
                                     : all->idle_ms;
}

/* In no list. */
static void place(struct links *all, struct link *l, enum link_state state, int64_t now_ms)
{
    struct list *to = list_of(all, state);
    l->state = state;
    l->due_ms = now_ms + time_for(all, state);
    l->look_ms = now_ms + LOOK_MS;
    if (to)
        list_append(to, &l->node);
    if (state == LINK_READING || state == LINK_IDLE)
        list_append(&all->fresh, &l->fresh_node);
}

struct link *link_new(struct links *all, int fd, int64_t now_ms)
{
    struct link *l = mem_zero(sizeof(*l));
    l->fd = fd;
    all->count++;
    place(all, l, LINK_READING, now_ms);
    return l;
}

void link_free(struct links *all, struct link *l)
{
    link_move(all, l, LINK_CUT, 0);
    assert(all->count > 0 && !l->exchange);
    all->count--;
    free(l);
}

void link_move(struct links *all, struct link *l, enum link_state state, int64_t now_ms)
{
    if (l->state == LINK_CUT)
        return;
    list_remove(list_of(all, l->state), &l->node);
    if (list_is_linked(&l->fresh_node))
        list_remove(&all->fresh, &l->fresh_node);
    place(all, l, state, now_ms);
}

void links_hurry(struct links *all, int64_t idle_ms, int64_t now_ms)
{
    all->idle_ms = idle_ms;
    for (struct list_node *n = list_first(&all->idle); n; n = list_next(&all->idle, n)) {
        struct link *l = link_of(n);
        if (l->due_ms > now_ms + idle_ms)
            l->due_ms = now_ms + idle_ms;
    }
}

static const struct link *first_fresh(const struct links *all)
{
    struct list_node *n = list_first(&all->fresh);
    return n ? CONTAINER_OF(n, struct link, fresh_node) : NULL;
}

/* Whoever of the three queues is due first. */
static struct link *first_due(const struct links *all)
{
    const struct list *const queues[] = {&all->reading, &all->idle, &all->answering};
    struct link *first = NULL;
    for (size_t i = 0; i < COUNT_OF(queues); i++) {
        struct link *l = link_of(list_first(queues[i]));
        if (l && (!first || l->due_ms < first->due_ms))
            first = l;
    }
    return first;
}

int64_t links_due_ms(const struct links *all)
{
    const struct link *first = first_due(all);
    const struct link *fresh = first_fresh(all);
    int64_t due = first ? first->due_ms : INT64_MAX;
    return fresh && fresh->look_ms < due ? fresh->look_ms : due;
}

struct link *links_look(struct links *all, int64_t now_ms)
{
    const struct link *fresh = first_fresh(all);
    if (!fresh || fresh->look_ms > now_ms)
        return NULL;
    return CONTAINER_OF(list_take_first(&all->fresh), struct link, fresh_node);
}

struct link *links_overdue(const struct links *all, int64_t now_ms)
{
    struct link *first = first_due(all);
    return first && first->due_ms <= now_ms ? first : NULL;
}
