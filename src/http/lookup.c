#include "http/lookup.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "db/db.h"
#include "http/exchange.h"
#include "http/server_private.h"

static void on_done(struct call_item *item)
{
    exchange_wake(CONTAINER_OF(item, struct lookup, item)->exchange);
}

struct lookup *lookup_new(struct exchange *x)
{
    struct lookup *l = mem_zero(sizeof(*l));
    x->lookup = l;
    if (x->has_key) {
        memcpy(l->key_hash_hex, "\\x", 2);
        hash_hex(&x->key_hash, l->key_hash_hex + 2);
    }
    l->exchange = x;
    l->item.done = on_done;
    return l;
}

void lookup_free(struct lookup *l)
{
    if (!l)
        return;
    free(l->item.text);
    free(l);
}

const char *lookup_key(const struct lookup *l)
{
    return l->key_hash_hex[0] ? l->key_hash_hex : NULL;
}

static void submit(struct lookup *l)
{
    const struct server *server = l->exchange->loop->server;
    l->item.deadline_ms = clock_mono_ms() + server->config->database_timeout;
    db_submit_call(core_db(server->core), &l->item);
}

void lookup_run(struct exchange *x, void (*finish)(struct exchange *))
{
    exchange_wait(x, finish);
    submit(x->lookup);
}

void lookup_repeat(struct lookup *l)
{
    free(l->item.text);
    submit(l);
}

void lookup_again(struct lookup *l)
{
    l->item.done = on_done;
    lookup_repeat(l);
}

bool lookup_is_good(struct exchange *x)
{
    const struct call_item *item = &x->lookup->item;
    x->err = item->err;
    if (x->err.kind == ERR_NONE && !item->text)
        err_set(&x->err, ERR_INTERNAL, "the database gave no answer");
    if (x->err.kind == ERR_NONE)
        return true;
    exchange_fail(x);
    return false;
}
