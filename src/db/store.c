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
                                  page->turns,        page->bytes,      page->conversation};
    ask(c,
        "SELECT hansard_api.read_conversation($1::bytea, $2::text, $3::int, $4::int, $5::int,"
        " $6::uuid)",
        params, COUNT_OF(params));
}

void store_list_conversations(struct call_item *c, const char *key_hash_hex, const char *after,
                              const char *most)
{
    const char *const params[] = {key_hash_hex, after, most};
    ask(c, "SELECT hansard_api.list_conversations($1::bytea, $2::uuid, $3::int)", params,
        COUNT_OF(params));
}

void store_erase_conversation(struct call_item *c, const char *key_hash_hex, const char *session_id,
                              const char *request_id)
{
    const char *const params[] = {key_hash_hex, session_id, request_id};
    ask(c, "SELECT hansard_api.erase_conversation($1::bytea, $2::text, $3::text, true)", params,
        COUNT_OF(params));
}

void store_read_job(struct call_item *c, const struct store_job *job)
{
    const char *const params[] = {job->key_hash_hex, job->conversation, job->turn_no};
    ask(c, "SELECT hansard_api.read_job($1::bytea, $2::uuid, $3::int)", params, COUNT_OF(params));
}

void store_cancel_job(struct call_item *c, const struct store_job *job)
{
    const char *const params[] = {job->key_hash_hex, job->conversation, job->turn_no};
    ask(c, "SELECT hansard_api.cancel_job($1::bytea, $2::uuid, $3::int)", params, COUNT_OF(params));
}

void store_jobs_ended(struct call_item *c, const char *conversations, const char *turn_nos)
{
    const char *const params[] = {conversations, turn_nos};
    ask(c, "SELECT hansard_api.jobs_ended($1::uuid[], $2::int[])", params, COUNT_OF(params));
}

void store_lease_permits(struct call_item *c, const struct store_lease *l)
{
    const char *const params[] = {l->worker, l->name,     l->version, l->beat_no,
                                  l->before, l->holding,  l->wanted,  l->most,
                                  l->cap,    l->lease_ms, l->call_ms};
    ask(c,
        "SELECT hansard_api.lease_permits($1::uuid, $2::text, $3::text, $4::int, $5::uuid, $6::int,"
        " $7::int, $8::int, $9::int, $10::int, $11::int, true)",
        params, COUNT_OF(params));
}

void store_leave(struct call_item *c, const char *worker)
{
    ask(c, "SELECT hansard_api.leave($1::uuid)", &worker, 1);
}

void store_reap_workers(struct call_item *c)
{
    ask(c, "SELECT hansard_api.reap_workers()", NULL, 0);
}

void store_take_quota(struct call_item *c, const struct store_quota *q)
{
    const char *const params[] = {q->key_hash_hex, q->address, q->turns, q->ahead};
    ask(c, "SELECT hansard_api.take_quota_for($1::bytea, $2::text, $3::int, $4::int)", params,
        COUNT_OF(params));
}

void store_sweep_limits(struct call_item *c, const char *after, const char *most)
{
    const char *const params[] = {after, most};
    ask(c, "SELECT hansard_api.sweep_limits($1::text, $2::int)", params, COUNT_OF(params));
}

void store_jobs_lost(struct call_item *c, const struct store_jobs *j)
{
    const char *const params[] = {j->worker, j->conversations, j->turn_nos, j->attempts};
    ask(c, "SELECT hansard_api.jobs_lost($1::uuid, $2::uuid[], $3::int[], $4::int[])", params,
        COUNT_OF(params));
}

void store_count_jobs(struct call_item *c)
{
    ask(c, "SELECT hansard_api.count_jobs()", NULL, 0);
}

void store_apply_retention(struct call_item *c, const char *keep_ms, const char *most)
{
    const char *const params[] = {keep_ms, most};
    ask(c, "SELECT hansard_api.apply_retention($1::bigint, $2::int)", params, COUNT_OF(params));
}

void store_go_on_erasing(struct call_item *c, const char *session_key)
{
    const char *const params[] = {session_key};
    ask(c, "SELECT hansard_api.go_on_erasing($1::bytea)", params, COUNT_OF(params));
}

void store_make_partitions(struct call_item *c)
{
    ask(c, "SELECT hansard_api.make_partitions()", NULL, 0);
}

void store_claim_webhooks(struct call_item *c, const char *worker, const char *most)
{
    const char *const params[] = {worker, most};
    ask(c, "SELECT hansard_api.claim_webhooks($1::uuid, $2::int)", params, COUNT_OF(params));
}

void store_end_webhook(struct call_item *c, const struct store_webhook_end *w)
{
    const char *const params[] = {w->conversation, w->turn, w->attempts, w->is_delivered,
                                  w->retry_ms};
    ask(c, "SELECT hansard_api.end_webhook($1::uuid, $2::int, $3::int, $4::boolean, $5::bigint)",
        params, COUNT_OF(params));
}

void store_give_back_webhook(struct call_item *c, const char *conversation, const char *turn,
                             const char *attempts)
{
    const char *const params[] = {conversation, turn, attempts};
    ask(c, "SELECT hansard_api.give_back_webhook($1::uuid, $2::int, $3::int)", params,
        COUNT_OF(params));
}

void store_seal(struct call_item *c, const char *every_ms, const char *settled_ms, const char *most)
{
    const char *const params[] = {every_ms, settled_ms, most};
    ask(c, "SELECT hansard_api.seal($1::bigint, $2::bigint, $3::int, true)", params,
        COUNT_OF(params));
}

void store_sign_seal(struct call_item *c, const struct store_signature *s)
{
    const char *const params[] = {s->seal_no, s->hash, s->signature, s->key_id};
    ask(c, "SELECT hansard_api.sign_seal($1::bigint, $2::bytea, $3::bytea, $4::text)", params,
        COUNT_OF(params));
}
