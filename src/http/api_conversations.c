#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/core.h"
#include "db/db.h"
#include "db/store.h"
#include "http/api.h"
#include "http/exchange.h"
#include "http/lookup.h"
#include "http/request.h"
#include "http/server_private.h"

#define PAGE_ITEMS 50 /* when the caller names no limit */

void lookup_free(struct lookup *l)
{
    if (!l)
        return;
    free(l->item.text);
    free(l);
}

static void on_done(struct call_item *item)
{
    exchange_wake(CONTAINER_OF(item, struct lookup, item)->exchange);
}

static void finish(struct exchange *x)
{
    struct call_item *item = &x->lookup->item;
    x->err = item->err;
    if (x->err.kind == ERR_NONE && !item->text)
        err_set(&x->err, ERR_INTERNAL, "the database gave no answer");
    if (x->err.kind != ERR_NONE) {
        exchange_fail(x);
        return;
    }
    struct reply_body body = {"application/json", item->text, item->text_len};
    item->text = NULL;
    exchange_reply(x, 200, &body);
}

static struct lookup *lookup_new(struct exchange *x)
{
    struct lookup *l = mem_zero(sizeof(*l));
    x->lookup = l;
    if (x->has_key) {
        memcpy(l->key_hash_hex, "\\x", 2);
        hash_hex(&x->key_hash, l->key_hash_hex + 2);
    }
    l->exchange = x;
    l->item.done = on_done;
    l->item.deadline_ms = clock_mono_ms() + x->loop->server->config->database_timeout;
    return l;
}

/* With the session that the path names. */
static struct lookup *lookup_session(struct exchange *x)
{
    struct request_text want = {"the session id", LIMIT_SESSION_ID_BYTES};
    struct lookup *l = lookup_new(x);
    return request_decode(x->path_rest, &want, l->session_id, &x->err) ? l : NULL;
}

static void submit(struct exchange *x)
{
    exchange_wait(x, finish);
    db_submit_call(core_db(x->loop->server->core), &x->lookup->item);
}

void api_conversations_list(struct exchange *x)
{
    struct lookup *l = lookup_new(x);
    struct request_number numbers[] = {
        {.name = "after", .uuid = l->conversation},
        {.name = "limit", .least = 1, .most = LIMIT_PAGE_CONVERSATIONS, .value = PAGE_ITEMS}};
    snprintf(l->conversation, sizeof(l->conversation), "%s",
             "00000000-0000-0000-0000-000000000000");
    if (!x->has_key)
        err_set(&x->err, ERR_UNAUTHORIZED, "a list of conversations needs an API key");
    if (!x->has_key || !request_query(x->query, numbers, COUNT_OF(numbers), &x->err)) {
        exchange_fail(x);
        return;
    }
    snprintf(l->turns, sizeof(l->turns), "%" PRId64, numbers[1].value);
    store_list_conversations(&l->item, l->key_hash_hex, l->conversation, l->turns);
    submit(x);
}

void api_conversations_get(struct exchange *x)
{
    struct lookup *l = lookup_session(x);
    struct request_number numbers[] = {
        {.name = "after", .least = 0, .most = INT32_MAX, .value = 0},
        {.name = "limit", .least = 1, .most = LIMIT_PAGE_TURNS, .value = PAGE_ITEMS},
        {.name = "conversation", .uuid = l ? l->conversation : NULL}};
    if (!l || !request_query(x->query, numbers, COUNT_OF(numbers), &x->err)) {
        exchange_fail(x);
        return;
    }
    snprintf(l->after_turn, sizeof(l->after_turn), "%" PRId64, numbers[0].value);
    snprintf(l->turns, sizeof(l->turns), "%" PRId64, numbers[1].value);
    snprintf(l->bytes, sizeof(l->bytes), "%d", LIMIT_PAGE_BYTES);
    struct store_page page = {.key_hash_hex = x->has_key ? l->key_hash_hex : NULL,
                              .session_id = l->session_id,
                              .after_turn = l->after_turn,
                              .turns = l->turns,
                              .bytes = l->bytes,
                              .conversation = l->conversation[0] ? l->conversation : NULL};
    store_read_conversation(&l->item, &page);
    submit(x);
}

void api_conversations_delete(struct exchange *x)
{
    struct lookup *l = lookup_session(x);
    if (!l || !request_query(x->query, NULL, 0, &x->err)) {
        exchange_fail(x);
        return;
    }
    turn_forget(x->loop->server->core, x->has_key ? &x->key_hash : NULL, l->session_id);
    store_erase_conversation(&l->item, x->has_key ? l->key_hash_hex : NULL, l->session_id,
                             x->request_id);
    submit(x);
}
