#include "db/claim.h"

#include <stdlib.h>
#include <string.h>

#include "db/pgarray.h"
#include "db/row.h"

static const char claim_sql[] =
    "SELECT session_key, conversation_id, turn_no, attempt, words, history, limit_key, request_id,"
    " failures"
    " FROM hansard_api.claim_jobs($1::uuid, $2::int, $3::int, $4::int, $5::uuid[], $6::int)";

enum claim_column {
    COLUMN_SESSION_KEY,
    COLUMN_CONVERSATION,
    COLUMN_TURN_NO,
    COLUMN_ATTEMPT,
    COLUMN_WORDS,
    COLUMN_HISTORY,
    COLUMN_LIMIT_KEY,
    COLUMN_REQUEST,
    COLUMN_FAILURES,
    CLAIM_COLUMNS
};
static const Oid claim_types[CLAIM_COLUMNS] = {PGTYPE_BYTEA, PGTYPE_UUID, PGTYPE_INT4,
                                               PGTYPE_INT4,  PGTYPE_TEXT, PGTYPE_TEXT_ARRAY,
                                               PGTYPE_TEXT,  PGTYPE_UUID, PGTYPE_INT4};

static bool take_job(const struct claim *c, const struct row *r, struct claim_job *job)
{
    struct turn_ref *ref = &job->ref;
    struct uuid request;
    struct span caller = row_get(r, COLUMN_LIMIT_KEY);
    *job = (struct claim_job){.words = row_copy(r, COLUMN_WORDS, NULL)};
    ref->worker = c->worker_id;
    ref->turn_no = row_int4(r, COLUMN_TURN_NO, 0);
    ref->attempt = row_int4(r, COLUMN_ATTEMPT, 0);
    job->failures = row_int4(r, COLUMN_FAILURES, 0);
    bool is_fine =
        job->words && ref->turn_no > 0 && ref->attempt > 0 &&
        row_fixed(r, COLUMN_SESSION_KEY, ref->session_key.bytes, HASH_BYTES) &&
        row_fixed(r, COLUMN_CONVERSATION, ref->conversation.bytes, sizeof ref->conversation) &&
        row_fixed(r, COLUMN_REQUEST, request.bytes, sizeof request) &&
        row_passage(r, COLUMN_HISTORY, &job->history);
    if (!is_fine)
        return false;
    job->caller = hash_sha256(caller.data, caller.len);
    uuid_format(&request, job->request_id);
    return true;
}

static bool take(struct call_item *call, const PGresult *rows)
{
    struct claim *c = CONTAINER_OF(call, struct claim, call);
    if (!rows_have_types(rows, claim_types, CLAIM_COLUMNS) ||
        (size_t)PQntuples(rows) > LIMIT_CLAIM_JOBS)
        return false;
    for (struct row r = {.rows = rows}; r.at < PQntuples(rows); r.at++)
        if (!take_job(c, &r, &c->jobs[c->count++]))
            return false;
    return true;
}

void claim_ask(struct claim *c)
{
    const char *const params[] = {c->worker, c->most, c->messages, c->bytes, c->known, c->number};
    c->count = 0;
    c->call.sql = claim_sql;
    c->call.params = COUNT_OF(params);
    c->call.take = take;
    c->call.is_once = true;
    c->call.was_sent = false;
    for (size_t i = 0; i < COUNT_OF(params); i++)
        c->call.param[i].data = params[i];
}

void claim_clear(struct claim *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->jobs[i].words);
        passage_fini(&c->jobs[i].history);
    }
    c->count = 0;
}
