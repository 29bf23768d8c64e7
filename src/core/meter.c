#include "core/meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "db/store.h"

#define ASK_MOST 1000 /* turns in one call */

struct meter_caller {
    struct list_node node;
    struct meter *meter;
    struct hash name;
    char key_hash[2 * HASH_BYTES + 3]; /* "\\x…"; "": anonymous */
    char address[LIMIT_ADDRESS_BYTES];
    char count_text[12];
    struct call_item item;
    struct list waiting, asked; /* lock; meter_place */
    int64_t deadline_ms;        /* lock: of the first that waits */
};

void meter_init(struct meter *m, struct db *db)
{
    *m = (struct meter){.db = db};
    pthread_mutex_init(&m->lock, NULL);
    list_init(&m->callers);
}

void meter_fini(struct meter *m)
{
    for (struct list_node *n; (n = list_take_first(&m->callers));) {
        struct meter_caller *c = CONTAINER_OF(n, struct meter_caller, node);
        free(c->item.text);
        free(c);
    }
    pthread_mutex_destroy(&m->lock);
}

static struct meter_caller *find_locked(struct meter *m, const struct hash *name)
{
    for (struct list_node *n = list_first(&m->callers); n; n = list_next(&m->callers, n)) {
        struct meter_caller *c = CONTAINER_OF(n, struct meter_caller, node);
        if (memcmp(c->name.bytes, name->bytes, HASH_BYTES) == 0)
            return c;
    }
    return NULL;
}

static void on_done(struct call_item *item);

static struct meter_caller *make_locked(struct meter *m, const struct meter_ask *ask)
{
    struct meter_caller *c = mem_zero(sizeof *c);
    c->meter = m;
    c->name = *ask->name;
    c->item.done = on_done;
    snprintf(c->address, sizeof c->address, "%s", ask->address);
    if (ask->key_hash) {
        memcpy(c->key_hash, "\\x", 2);
        hash_hex(ask->key_hash, c->key_hash + 2);
    }
    list_init(&c->waiting);
    list_init(&c->asked);
    list_append(&m->callers, &c->node);
    return c;
}

/* Those that wait are asked for. */
static void prepare_locked(struct meter_caller *c)
{
    while (c->waiting.count > 0 && c->asked.count < ASK_MOST)
        list_append(&c->asked, list_take_first(&c->waiting));
    snprintf(c->count_text, sizeof c->count_text, "%zu", c->asked.count);
    c->item.deadline_ms = c->deadline_ms;
    store_take_quota(&c->item, c->key_hash[0] ? c->key_hash : NULL, c->address, c->count_text);
}

/* "{granted,retry_after_ms}" for as many as were asked for; NULL: not limited. */
static void tell(struct list *asked, struct call_item *item)
{
    int granted = 0, retry_after_ms = 0;
    bool is_limited = item->text != NULL;
    struct err why = item->err;
    if (is_limited && sscanf(item->text, "{%d,%d}", &granted, &retry_after_ms) != 2)
        is_limited = false; /* another release's words; accept_turns will say */
    if (why.kind == ERR_NONE && is_limited) {
        err_set(&why, ERR_RATE_LIMITED, "%s", "");
        why.retry_after_ms = retry_after_ms > 0 ? (unsigned)retry_after_ms : 0;
    }
    for (struct list_node *n; (n = list_take_first(asked));) {
        struct meter_place *p = CONTAINER_OF(n, struct meter_place, node);
        if (why.kind == ERR_NONE || granted-- > 0)
            p->granted(p, is_limited);
        else
            p->refused(p, &why);
    }
}

static void on_done(struct call_item *item)
{
    struct meter_caller *c = CONTAINER_OF(item, struct meter_caller, item);
    struct meter *m = c->meter;
    struct call_item answer = *item;
    struct list asked;
    list_init(&asked);
    item->text = NULL;
    pthread_mutex_lock(&m->lock);
    for (struct list_node *n; (n = list_take_first(&c->asked));)
        list_append(&asked, n);
    bool goes_on = c->waiting.count > 0;
    if (goes_on)
        prepare_locked(c);
    else
        list_remove(&m->callers, &c->node);
    pthread_mutex_unlock(&m->lock);
    if (goes_on)
        db_submit_call(m->db, &c->item);
    else
        free(c);
    tell(&asked, &answer);
    free(answer.text);
}

void meter_take(struct meter *m, struct meter_place *p, const struct meter_ask *ask)
{
    pthread_mutex_lock(&m->lock);
    struct meter_caller *c = find_locked(m, ask->name);
    bool is_first = !c;
    if (is_first)
        c = make_locked(m, ask);
    if (c->waiting.count == 0)
        c->deadline_ms = ask->deadline_ms;
    list_append(&c->waiting, &p->node);
    if (is_first)
        prepare_locked(c);
    pthread_mutex_unlock(&m->lock);
    if (is_first)
        db_submit_call(m->db, &c->item);
}
