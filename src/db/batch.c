#include "db/batch.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "db/row.h"

/* One parameter may hold what one PostgreSQL field can. */
#define PARAM_BYTES ((size_t)1 << 30)
/* A lane keeps buffers up to this size for its next call. */
#define KEEP_BYTES ((size_t)1 << 20)

static const char accept_sql[] =
    "SELECT item, outcome, session_key, conversation_id, turn_no, attempt, history, history_after,"
    " reply, model,"
    " prompt_tokens, completion_tokens, error_code, policy, quota_limit, quota_window_s,"
    " quota_remaining, quota_reset_ms, retry_after_ms, tokens_limit, tokens_remaining,"
    " tokens_reset_ms, status"
    " FROM hansard_api.accept_turns($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
    " $12, $13, $14, $15, $16, $17, $18)";
#define FINISH_PARAMS 13
static const char finish_sql[] =
    "SELECT item, outcome, has_next, has_webhook"
    " FROM hansard_api.finish_turns($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/* Columns of accept_sql, in its order. */
enum accept_column {
    COLUMN_ITEM,
    COLUMN_OUTCOME,
    COLUMN_SESSION_KEY,
    COLUMN_CONVERSATION,
    COLUMN_TURN_NO,
    COLUMN_ATTEMPT,
    COLUMN_HISTORY,
    COLUMN_HISTORY_AFTER,
    COLUMN_REPLY,
    COLUMN_MODEL,
    COLUMN_PROMPT_TOKENS,
    COLUMN_COMPLETION_TOKENS,
    COLUMN_ERROR_CODE,
    COLUMN_POLICY,
    COLUMN_LIMIT,
    COLUMN_WINDOW,
    COLUMN_REMAINING,
    COLUMN_RESET,
    COLUMN_RETRY_AFTER,
    COLUMN_TOKENS_LIMIT,
    COLUMN_TOKENS_REMAINING,
    COLUMN_TOKENS_RESET,
    COLUMN_STATUS,
    ACCEPT_COLUMNS
};
static const Oid accept_types[ACCEPT_COLUMNS] = {
    PGTYPE_INT4,       PGTYPE_TEXT, PGTYPE_BYTEA, PGTYPE_UUID, PGTYPE_INT4, PGTYPE_INT4,
    PGTYPE_TEXT_ARRAY, PGTYPE_INT4, PGTYPE_TEXT,  PGTYPE_TEXT, PGTYPE_INT4, PGTYPE_INT4,
    PGTYPE_TEXT,       PGTYPE_TEXT, PGTYPE_INT4,  PGTYPE_INT4, PGTYPE_INT4, PGTYPE_INT4,
    PGTYPE_INT4,       PGTYPE_INT8, PGTYPE_INT8,  PGTYPE_INT4, PGTYPE_TEXT,
};
static const Oid finish_types[] = {PGTYPE_INT4, PGTYPE_TEXT, PGTYPE_BOOL, PGTYPE_BOOL};
#define COLUMN_HAS_NEXT 2
#define COLUMN_HAS_WEBHOOK 3

/* ---- parameters ------------------------------------------------------------------------------ */

void batch_init(struct batch *b, const struct batch_terms *terms)
{
    *b = (struct batch){.terms = *terms};
    for (size_t i = 0; i < BATCH_PARAMS; i++) {
        pgarray_init(&b->arrays[i], PARAM_BYTES);
        b->formats[i] = 1;
    }
}

void batch_fini(struct batch *b)
{
    for (size_t i = 0; i < BATCH_PARAMS; i++)
        pgarray_fini(&b->arrays[i]);
}

static void set_scalar(struct batch *b, size_t i, enum pgtype type, const void *bytes, size_t len)
{
    assert(len <= sizeof b->scalars[i]);
    memcpy(b->scalars[i], bytes, len);
    b->types[i] = type;
    b->values[i] = (const char *)b->scalars[i];
    b->lengths[i] = (int)len;
}

static void set_int4(struct batch *b, size_t i, int32_t value)
{
    uint32_t wire = htonl((uint32_t)value);
    set_scalar(b, i, PGTYPE_INT4, &wire, sizeof wire);
}

static void begin_arrays(struct batch *b, size_t first, const enum pgtype *elements, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct pgarray *a = &b->arrays[first + i];
        if (a->bytes.cap > KEEP_BYTES)
            buf_fini(&a->bytes);
        pgarray_begin(a, elements[i]);
        b->types[first + i] = elements[i] == PGTYPE_BYTEA  ? PGTYPE_BYTEA_ARRAY
                              : elements[i] == PGTYPE_INT4 ? PGTYPE_INT4_ARRAY
                              : elements[i] == PGTYPE_UUID ? PGTYPE_UUID_ARRAY
                              : elements[i] == PGTYPE_BOOL ? PGTYPE_BOOL_ARRAY
                                                           : PGTYPE_TEXT_ARRAY;
    }
}

static bool end_arrays(struct batch *b, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        if (!pgarray_end(&b->arrays[i]))
            return false;
        b->values[i] = b->arrays[i].bytes.data;
        b->lengths[i] = (int)b->arrays[i].bytes.len;
    }
    return true;
}

/* ---- accepts out ----------------------------------------------------------------------------- */

static size_t accept_bytes(const struct list_node *n)
{
    return strlen(CONTAINER_OF(n, struct accept_item, node)->message);
}

static void add_known(struct pgarray *a, int32_t value)
{
    if (value < 0)
        pgarray_add(a, NULL, 0);
    else
        pgarray_add_int4(a, value);
}

static void encode_accept(struct pgarray *a, const struct accept_item *item)
{
    pgarray_add(&a[0], item->key_hash ? item->key_hash->bytes : NULL, HASH_BYTES);
    pgarray_add_text(&a[1], item->address);
    pgarray_add_text(&a[2], item->session_id);
    pgarray_add_text(&a[3], item->message);
    pgarray_add_text(&a[4], item->idempotency_key);
    pgarray_add(&a[5], item->fingerprint.bytes, HASH_BYTES);
    pgarray_add_text(&a[6], item->request_id);
    const struct uuid *known = item->known_conversation;
    pgarray_add(&a[7], known ? known->bytes : NULL, sizeof known->bytes);
    add_known(&a[8], known ? item->known_turn : -1);
    pgarray_add(&a[9], item->is_paid ? "\1" : "\0", 1);
    pgarray_add(&a[10], item->is_job ? "\1" : "\0", 1);
    pgarray_add_text(&a[11], item->webhook);
}

static bool encode_accepts(struct batch *b)
{
    static const enum pgtype elements[] = {PGTYPE_BYTEA, PGTYPE_TEXT,  PGTYPE_TEXT, PGTYPE_TEXT,
                                           PGTYPE_TEXT,  PGTYPE_BYTEA, PGTYPE_TEXT, PGTYPE_UUID,
                                           PGTYPE_INT4,  PGTYPE_BOOL,  PGTYPE_BOOL, PGTYPE_TEXT};
    bool has_room = true;
    uint64_t ttl_ms = htobe64((uint64_t)b->terms.session_ttl_ms);
    set_scalar(b, 0, PGTYPE_UUID, b->worker.bytes, sizeof b->worker.bytes);
    set_int4(b, 1, b->terms.history_messages);
    set_int4(b, 2, b->terms.history_bytes);
    set_scalar(b, 3, PGTYPE_INT8, &ttl_ms, sizeof ttl_ms);
    begin_arrays(b, 4, elements, COUNT_OF(elements));
    for (size_t i = 0; i < b->count; i++) {
        encode_accept(&b->arrays[4], work_accept(b->items[i]));
        has_room = has_room && work_accept(b->items[i])->has_room;
    }
    set_int4(b, 16, b->terms.most_jobs);
    set_scalar(b, 17, PGTYPE_BOOL, has_room ? "\1" : "\0", 1);
    return end_arrays(b, 4, COUNT_OF(elements));
}

/* ---- finishes out ---------------------------------------------------------------------------- */

static size_t finish_bytes(const struct list_node *n)
{
    const struct finish_item *item = CONTAINER_OF(n, struct finish_item, node);
    return item->state == FINISH_COMPLETED ? strlen(item->answer) : 0;
}

static void encode_finish(struct pgarray *a, const struct finish_item *item)
{
    static const char *const states[] = {[FINISH_COMPLETED] = "completed",
                                         [FINISH_FAILED] = "failed",
                                         [FINISH_HANDED_BACK] = "queued"};
    const struct turn_ref *ref = &item->ref;
    bool is_completed = item->state == FINISH_COMPLETED;
    pgarray_add(&a[0], ref->worker.bytes, sizeof ref->worker.bytes);
    pgarray_add(&a[1], ref->session_key.bytes, HASH_BYTES);
    pgarray_add(&a[2], ref->conversation.bytes, sizeof ref->conversation.bytes);
    pgarray_add_int4(&a[3], ref->turn_no);
    pgarray_add_int4(&a[4], ref->attempt);
    pgarray_add_text(&a[5], states[item->state]);
    pgarray_add_text(&a[6], is_completed ? item->answer : NULL);
    pgarray_add_text(&a[7], item->model);
    add_known(&a[8], item->prompt_tokens);
    add_known(&a[9], item->completion_tokens);
    pgarray_add_text(&a[10], is_completed ? NULL : item->error_code);
    add_known(&a[11], item->first_byte_ms);
    pgarray_add_int4(&a[12], item->model_attempts);
}

static bool encode_finishes(struct batch *b)
{
    static const enum pgtype elements[FINISH_PARAMS] = {
        PGTYPE_UUID, PGTYPE_BYTEA, PGTYPE_UUID, PGTYPE_INT4, PGTYPE_INT4, PGTYPE_TEXT, PGTYPE_TEXT,
        PGTYPE_TEXT, PGTYPE_INT4,  PGTYPE_INT4, PGTYPE_TEXT, PGTYPE_INT4, PGTYPE_INT4};
    begin_arrays(b, 0, elements, COUNT_OF(elements));
    for (size_t i = 0; i < b->count; i++)
        encode_finish(b->arrays, work_finish(b->items[i]));
    return end_arrays(b, 0, COUNT_OF(elements));
}

/* ---- the call -------------------------------------------------------------------------------- */

static void pick(struct batch *b, const struct list *from, size_t most)
{
    size_t bytes = 0;
    for (struct list_node *n = list_first(from); n && b->count < most; n = list_next(from, n)) {
        if (b->kind != WORK_CALL)
            bytes += b->kind == WORK_ACCEPT ? accept_bytes(n) : finish_bytes(n);
        if (b->count > 0 && bytes > LIMIT_BATCH_BYTES)
            return;
        b->items[b->count++] = n;
    }
}

static void encode_call(struct conn_call *out, struct batch *b)
{
    const struct call_item *item = work_call(b->items[0]);
    assert(item->params <= CALL_PARAMS);
    for (size_t i = 0; i < item->params; i++)
        b->values[i] = item->param[i].data;
    *out = (struct conn_call){.sql = item->sql,
                              .count = (int)item->params,
                              .values = b->values,
                              .result_format = item->take ? 1 : 0};
}

bool batch_encode(struct batch *b, enum work_kind kind, const struct list *from, size_t most,
                  struct conn_call *out)
{
    b->kind = kind;
    b->count = 0;
    pick(b, from, kind == WORK_CALL ? 1 : most);
    assert(b->count > 0 && b->count <= LIMIT_BATCH_ITEMS);
    if (kind == WORK_CALL) {
        encode_call(out, b);
        return true;
    }
    bool is_accept = kind == WORK_ACCEPT;
    bool fits = is_accept ? encode_accepts(b) : encode_finishes(b);
    if (!fits && b->count > 1)
        return batch_encode(b, kind, from, 1, out);
    *out = (struct conn_call){
        .sql = is_accept ? accept_sql : finish_sql,
        .count = is_accept ? BATCH_PARAMS : FINISH_PARAMS,
        .types = b->types,
        .values = b->values,
        .lengths = b->lengths,
        .formats = b->formats,
        .result_format = 1,
    };
    return fits;
}

/* ---- rows in --------------------------------------------------------------------------------- */

static void decode_quota(const struct row *r, struct quota *q)
{
    struct span policy = row_get(r, COLUMN_POLICY);
    *q = (struct quota){.limit = row_int4(r, COLUMN_LIMIT, 0),
                        .window_s = row_int4(r, COLUMN_WINDOW, 0),
                        .remaining = row_int4(r, COLUMN_REMAINING, 0),
                        .reset_ms = row_int4(r, COLUMN_RESET, 0),
                        .tokens_limit = row_int8(r, COLUMN_TOKENS_LIMIT, 0),
                        .tokens_remaining = row_int8(r, COLUMN_TOKENS_REMAINING, 0),
                        .tokens_reset_ms = row_int4(r, COLUMN_TOKENS_RESET, 0)};
    if (row_has(r, COLUMN_POLICY) && policy.len < sizeof q->policy)
        memcpy(q->policy, policy.data, policy.len);
}

static bool decode_accepted(const struct batch *b, const struct row *r, struct accept_item *item)
{
    struct turn_ref *ref = &item->ref;
    item->outcome = ACCEPT_ACCEPTED;
    ref->worker = b->worker;
    ref->turn_no = row_int4(r, COLUMN_TURN_NO, 0);
    ref->attempt = row_int4(r, COLUMN_ATTEMPT, 0);
    if (!row_fixed(r, COLUMN_SESSION_KEY, ref->session_key.bytes, HASH_BYTES) ||
        !row_fixed(r, COLUMN_CONVERSATION, ref->conversation.bytes, sizeof ref->conversation) ||
        ref->turn_no <= 0 || ref->attempt <= 0)
        return false;
    item->history_after = row_int4(r, COLUMN_HISTORY_AFTER, 0);
    return row_passage(r, COLUMN_HISTORY, &item->history);
}

static bool decode_replayed(const struct row *r, struct accept_item *item)
{
    item->outcome = ACCEPT_REPLAYED;
    item->ref.turn_no = row_int4(r, COLUMN_TURN_NO, 0);
    item->prompt_tokens = row_int4(r, COLUMN_PROMPT_TOKENS, -1);
    item->completion_tokens = row_int4(r, COLUMN_COMPLETION_TOKENS, -1);
    if (row_has(r, COLUMN_ERROR_CODE)) {
        err_set(&item->err, err_from_code(row_get(r, COLUMN_ERROR_CODE).data), "%s", "");
        return true;
    }
    if (!row_has(r, COLUMN_REPLY))
        return false;
    item->text = row_copy(r, COLUMN_REPLY, &item->text_len);
    item->model = row_copy(r, COLUMN_MODEL, NULL);
    return true;
}

static bool decode_queued(const struct row *r, struct accept_item *item, bool is_known)
{
    struct span status = row_get(r, COLUMN_STATUS);
    item->outcome = ACCEPT_QUEUED;
    item->is_known = is_known;
    item->ref.turn_no = row_int4(r, COLUMN_TURN_NO, 0);
    if (!row_has(r, COLUMN_STATUS) || status.len >= sizeof item->status || item->ref.turn_no <= 0)
        return false;
    memcpy(item->status, status.data, status.len);
    item->status[status.len] = '\0';
    return row_fixed(r, COLUMN_CONVERSATION, item->ref.conversation.bytes,
                     sizeof item->ref.conversation);
}

static bool decode_refused(const struct row *r, struct accept_item *item, const char *outcome)
{
    enum err_kind why = err_from_sqlstate(outcome);
    item->outcome = ACCEPT_REFUSED;
    if (why == ERR_INTERNAL || why == ERR_NONE)
        return false;
    err_set(&item->err, why, "%s", "");
    int32_t retry_after_ms = row_int4(r, COLUMN_RETRY_AFTER, 0);
    item->err.retry_after_ms = retry_after_ms > 0 ? (unsigned)retry_after_ms : 0;
    return true;
}

static bool decode_accept(const struct batch *b, const struct row *r, struct accept_item *item)
{
    const char *outcome = row_get(r, COLUMN_OUTCOME).data;
    err_clear(&item->err);
    decode_quota(r, &item->quota);
    if (strcmp(outcome, "accepted") == 0)
        return decode_accepted(b, r, item);
    if (strcmp(outcome, "replayed") == 0)
        return decode_replayed(r, item);
    if (strcmp(outcome, "queued") == 0 || strcmp(outcome, "known") == 0)
        return decode_queued(r, item, outcome[0] == 'k');
    if (strcmp(outcome, "waiting") == 0) {
        item->outcome = ACCEPT_WAITING;
        return true;
    }
    return decode_refused(r, item, outcome);
}

static bool decode_finish(const struct row *r, struct finish_item *item)
{
    const char *outcome = row_get(r, COLUMN_OUTCOME).data;
    err_clear(&item->err);
    item->outcome = strcmp(outcome, "finished") == 0 ? FINISH_DONE : FINISH_FENCED;
    char has_next = 0, has_webhook = 0;
    if (item->outcome == FINISH_DONE) {
        bool is_there = row_fixed(r, COLUMN_HAS_NEXT, &has_next, sizeof has_next) &&
                        row_fixed(r, COLUMN_HAS_WEBHOOK, &has_webhook, sizeof has_webhook);
        item->has_next = has_next != 0;
        item->has_webhook = has_webhook != 0;
        return is_there;
    }
    enum err_kind why = err_from_sqlstate(outcome);
    if (why != ERR_CANCELLED && why != ERR_WORKER_LOST)
        return false;
    err_set(&item->err, why, "%s", "");
    return true;
}

static void spoil(enum work_kind kind, struct list_node *n)
{
    if (kind == WORK_ACCEPT) {
        struct accept_item *item = work_accept(n);
        item->outcome = ACCEPT_REFUSED;
        err_clear(&item->err);
        err_set(&item->err, ERR_INTERNAL, "%s", "");
    } else {
        struct finish_item *item = work_finish(n);
        item->outcome = FINISH_FENCED;
        err_clear(&item->err);
        err_set(&item->err, ERR_INTERNAL, "%s", "");
    }
}

static bool decode_row(struct batch *b, const struct row *r, bool *is_known)
{
    int32_t item = row_int4(r, COLUMN_ITEM, 0);
    if (item < 1 || (size_t)item > b->count || is_known[item - 1] || !row_has(r, COLUMN_OUTCOME))
        return false;
    struct list_node *n = b->items[item - 1];
    is_known[item - 1] = b->kind == WORK_ACCEPT ? decode_accept(b, r, work_accept(n))
                                                : decode_finish(r, work_finish(n));
    return is_known[item - 1];
}

static bool decode_call(struct call_item *item, const PGresult *rows)
{
    struct row r = {.rows = rows};
    err_clear(&item->err);
    item->text = NULL;
    item->text_len = 0;
    if (item->take) {
        bool is_fine = item->take(item, rows);
        if (!is_fine)
            err_set(&item->err, ERR_INTERNAL, "%s", "");
        return is_fine;
    }
    if (PQntuples(rows) > 0 && PQnfields(rows) > 0)
        item->text = row_copy(&r, 0, &item->text_len);
    return true;
}

bool batch_decode(struct batch *b, const PGresult *rows)
{
    if (b->kind == WORK_CALL)
        return decode_call(work_call(b->items[0]), rows);
    bool is_known[LIMIT_BATCH_ITEMS] = {false};
    bool is_fine = b->kind == WORK_ACCEPT
                       ? rows_have_types(rows, accept_types, ACCEPT_COLUMNS)
                       : rows_have_types(rows, finish_types, COUNT_OF(finish_types));
    int count = is_fine ? PQntuples(rows) : 0;
    for (struct row r = {.rows = rows}; r.at < count; r.at++)
        is_fine = decode_row(b, &r, is_known) && is_fine;
    for (size_t i = 0; i < b->count; i++) {
        if (!is_known[i])
            spoil(b->kind, b->items[i]);
        is_fine = is_fine && is_known[i];
    }
    return is_fine;
}
