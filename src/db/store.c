#include "db/store.h"

#include <string.h>

static void ask(struct call_item *c, const char *sql, const char *const *params, size_t count)
{
    assert(count <= CALL_PARAMS);
    c->sql = sql;
    c->params = count;
    for (size_t i = 0; i < count; i++)
        c->param[i].data = params[i];
}

void store_read_conversation(struct call_item *c, const struct store_page *page)
{
    const char *const params[] = {page->key_hash_hex, page->session_id, page->after_turn,
                                  page->turns, page->bytes};
    ask(c, "SELECT hansard_api.read_conversation($1::bytea, $2::text, $3::int, $4::int, $5::int)",
        params, COUNT_OF(params));
}

void store_erase_conversation(struct call_item *c, const char *key_hash_hex, const char *session_id,
                              const char *request_id)
{
    const char *const params[] = {key_hash_hex, session_id, request_id};
    ask(c, "SELECT hansard_api.erase_conversation($1::bytea, $2::text, $3::text)", params,
        COUNT_OF(params));
}

void store_heartbeat(struct call_item *c, const struct store_heartbeat *h)
{
    const char *const params[] = {h->worker, h->name, h->version, h->permits};
    ask(c, "SELECT hansard_api.heartbeat($1::uuid, $2::text, $3::text, $4::int)", params,
        COUNT_OF(params));
}

void store_leave(struct call_item *c, const char *worker)
{
    ask(c, "SELECT hansard_api.leave($1::uuid)", &worker, 1);
}

void store_reap_workers(struct call_item *c)
{
    ask(c, "SELECT hansard_api.reap_workers()", NULL, 0);
}

void store_make_partitions(struct call_item *c)
{
    ask(c, "SELECT hansard_api.make_partitions()", NULL, 0);
}
