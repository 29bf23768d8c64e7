#include <inttypes.h>
#include <stdio.h>

#include "core/core.h"
#include "core/turn.h"
#include "db/store.h"
#include "http/api.h"
#include "http/exchange.h"
#include "http/lookup.h"
#include "http/request.h"
#include "http/server_private.h"

#define PAGE_ITEMS 50 /* when the caller names no limit */

static void finish(struct exchange *x)
{
    struct call_item *item = &x->lookup->item;
    if (!lookup_is_good(x))
        return;
    struct reply_body body = {"application/json", item->text, item->text_len};
    item->text = NULL;
    exchange_reply(x, 200, &body);
}

/* As often as it takes: a long conversation is erased in steps, each committed by itself. */
static void on_step(struct call_item *item)
{
    struct lookup *l = CONTAINER_OF(item, struct lookup, item);
    bool has_more = item->err.kind == ERR_NONE && !item->text;
    if (has_more && !core_is_closing(l->exchange->loop->server->core)) {
        lookup_repeat(l);
        return;
    }
    if (has_more)
        err_set(&item->err, ERR_DRAINING, "this worker is stopping; another one goes on");
    exchange_wake(l->exchange);
}

/* NULL: the path names no session. */
static struct lookup *look_up_session(struct exchange *x)
{
    struct request_text want = {"the session id", LIMIT_SESSION_ID_BYTES};
    struct lookup *l = lookup_new(x);
    return request_decode(x->path_rest, &want, l->session_id, &x->err) ? l : NULL;
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
    lookup_run(x, finish);
}

void api_conversations_get(struct exchange *x)
{
    struct lookup *l = look_up_session(x);
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
    struct store_page page = {.key_hash_hex = lookup_key(l),
                              .session_id = l->session_id,
                              .after_turn = l->after_turn,
                              .turns = l->turns,
                              .bytes = l->bytes,
                              .conversation = l->conversation[0] ? l->conversation : NULL};
    store_read_conversation(&l->item, &page);
    lookup_run(x, finish);
}

void api_conversations_delete(struct exchange *x)
{
    struct lookup *l = look_up_session(x);
    if (!l || !request_query(x->query, NULL, 0, &x->err)) {
        exchange_fail(x);
        return;
    }
    turn_forget(x->loop->server->core, x->has_key ? &x->key_hash : NULL, l->session_id);
    store_erase_conversation(&l->item, lookup_key(l), l->session_id, x->request_id);
    l->item.done = on_step;
    lookup_run(x, finish);
}
