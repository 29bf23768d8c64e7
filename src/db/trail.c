#include "db/trail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/merkle.h"
#include "base/pack.h"
#include "db/direct.h"

/* Rows of a page: from few to many, while a page stays small; words can be long. */
#define LEAST_ROWS 16
#define MOST_ROWS 1024
#define SMALL_PAGE_BYTES (256L * 1024)
#define LARGE_PAGE_BYTES (4L * 1024 * 1024)
#define EPOCH_US INT64_C(946684800000000) /* 2000-01-01, PostgreSQL's zero, in µs since 1970 */

struct stream {
    PGresult *page;
    int row, rows; /* rows asked for the next time */
    bool is_ended;
    struct uuid at;
};

struct month {
    struct uuid least, beyond;
};

struct trail {
    PGconn *pg;
    const char *url;
    struct stream streams[TRAIL_STREAMS];
    struct trail_sealed sealed;
    struct month *dropped; /* by retention */
    size_t dropped_count;
};

/* Read by several streams at once, each to its end: the way by the index and no sort of all words. The lock comes before the
 * snapshot: a month that retention drops between the two would be away, and the event that says so not there yet. */
static const char begin_sql[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                                "LOCK TABLE hansard_audit.chain IN ACCESS SHARE MODE;"
                                "SET LOCAL enable_sort = off;"
                                "SET LOCAL jit = off;"
                                "SET LOCAL search_path = pg_catalog, pg_temp";

static const char *const columns[TRAIL_STREAMS] = {
    "conversation_id, session_key, user_id, session_id, created_at, session_head,"
    " is_being_erased FROM hansard_audit.chain_headers",
    "conversation_id, turn_no, is_completed, is_blanked FROM hansard_audit.chain_turns",
    "conversation_id, turn_no, position, role, created_at, text, salt, text_hash, chain_hash"
    " FROM hansard_audit.chain",
    "conversation_id, seal_no, messages, head, from_at FROM hansard_audit.seal_heads"};
static const char *const orders[TRAIL_STREAMS] = {
    "", ", turn_no", ", created_at, turn_no, position", ", messages, seal_no"};

struct trail *trail_open(const char *url, struct err *e)
{
    PGconn *pg = direct_open(url, e);
    if (!pg)
        return NULL;
    struct trail *t = mem_zero(sizeof *t);
    t->pg = pg;
    t->url = url;
    return t;
}

static void forget_pages(struct trail *t)
{
    for (size_t i = 0; i < TRAIL_STREAMS; i++) {
        PQclear(t->streams[i].page);
        t->streams[i] = (struct stream){.is_ended = true};
    }
}

void trail_close(struct trail *t)
{
    if (!t)
        return;
    forget_pages(t);
    PQfinish(t->pg);
    free(t->dropped);
    free(t);
}

bool trail_again(struct trail *t, int *failures, struct err *e)
{
    forget_pages(t);
    return direct_again(&t->pg, t->url, failures, e);
}

/* ---- values, in binary ----------------------------------------------------------------------- */

static struct span value(const PGresult *r, int row, int column)
{
    if (PQgetisnull(r, row, column))
        return (struct span){NULL, 0};
    return (struct span){PQgetvalue(r, row, column), (size_t)PQgetlength(r, row, column)};
}

static int64_t number(const PGresult *r, int row, int column)
{
    struct span v = value(r, row, column);
    return v.len == 2   ? (int16_t)unpack_be(v.data, 2)
           : v.len == 4 ? (int32_t)unpack_be(v.data, 4)
           : v.len == 8 ? (int64_t)unpack_be(v.data, 8)
                        : 0;
}

/* Infinite, or as good as: no time that could have been hashed. */
static int64_t time_us(const PGresult *r, int row, int column)
{
    int64_t us;
    return __builtin_add_overflow(number(r, row, column), EPOCH_US, &us) ? INT64_MIN : us;
}

static bool truth(const PGresult *r, int row, int column)
{
    struct span v = value(r, row, column);
    return v.len == 1 && v.data[0] == 1;
}

static bool read_uuid(const PGresult *r, int row, int column, struct uuid *out)
{
    struct span v = value(r, row, column);
    if (v.len != sizeof out->bytes)
        return false;
    memcpy(out->bytes, v.data, sizeof out->bytes);
    return true;
}

static bool read_hash(const PGresult *r, int row, int column, struct hash *out)
{
    struct span v = value(r, row, column);
    if (v.len != sizeof out->bytes)
        return false;
    memcpy(out->bytes, v.data, sizeof out->bytes);
    return true;
}

/* ---- streams --------------------------------------------------------------------------------- */

static int page_rows(const struct stream *s)
{
    size_t bytes = PQresultMemorySize(s->page);
    int rows = s->rows;
    if (bytes > LARGE_PAGE_BYTES)
        rows /= 4;
    else if (bytes < SMALL_PAGE_BYTES)
        rows *= 2;
    return rows < LEAST_ROWS ? LEAST_ROWS : rows > MOST_ROWS ? MOST_ROWS : rows;
}

static bool fetch(struct trail *t, enum trail_stream which, struct err *e)
{
    struct stream *s = &t->streams[which];
    char sql[64];
    PQclear(s->page);
    snprintf(sql, sizeof sql, "FETCH %d FROM trail%d", s->rows, (int)which);
    s->page = direct_ask(t->pg, sql, e);
    if (!s->page)
        return false;
    s->row = 0;
    s->is_ended = PQntuples(s->page) == 0;
    s->rows = page_rows(s);
    return true;
}

/* The conversation of the row we have come to. */
static bool arrive(struct trail *t, enum trail_stream which, struct err *e)
{
    struct stream *s = &t->streams[which];
    if (s->row >= PQntuples(s->page) && !fetch(t, which, e))
        return false;
    return s->is_ended || read_uuid(s->page, s->row, 0, &s->at) ||
           err_set(e, ERR_INTERNAL, "a row without a conversation");
}

static bool declare(struct trail *t, enum trail_stream which, const struct trail_range *range,
                    struct err *e)
{
    char sql[512], id[UUID_TEXT_BYTES] = "";
    const struct uuid *bound = range->only    ? range->only
                               : range->after ? range->after
                                              : range->since;
    const char *const params[] = {id};
    if (bound)
        uuid_format(bound, id);
    snprintf(sql, sizeof sql,
             "DECLARE trail%d BINARY NO SCROLL CURSOR FOR SELECT %s%s ORDER BY conversation_id%s",
             (int)which, columns[which],
             range->only    ? " WHERE conversation_id = $1::uuid"
             : range->after ? " WHERE conversation_id > $1::uuid"
             : range->since ? " WHERE conversation_id >= $1::uuid"
                            : "",
             orders[which]);
    PGresult *done = direct_ask_with(t->pg, sql, params, bound ? 1 : 0, e);
    PQclear(done);
    return done != NULL;
}

/* A time that is none is before all others: nothing was said before it. */
static bool read_sealed(struct trail *t, struct err *e)
{
    PGresult *r = direct_ask(t->pg,
                             "SELECT seal_no, CASE WHEN isfinite(to_at)"
                             " THEN (extract(epoch FROM to_at) * 1000000)::bigint ELSE 0 END"
                             " FROM hansard_audit.seals ORDER BY seal_no DESC LIMIT 1",
                             e);
    if (!r)
        return false;
    t->sealed = (struct trail_sealed){.seal_no = 0};
    if (PQntuples(r) > 0)
        t->sealed = (struct trail_sealed){.seal_no = strtoll(PQgetvalue(r, 0, 0), NULL, 10),
                                          .until_us = strtoll(PQgetvalue(r, 0, 1), NULL, 10)};
    PQclear(r);
    return true;
}

static bool read_dropped(struct trail *t, struct err *e)
{
    PGresult *r =
        direct_ask(t->pg, "SELECT least_id, beyond_id FROM hansard_audit.dropped_months", e);
    if (!r)
        return false;
    t->dropped_count = 0;
    t->dropped = mem_grow(t->dropped, ((size_t)PQntuples(r) + 1) * sizeof *t->dropped);
    for (int row = 0; row < PQntuples(r); row++) {
        struct month *m = &t->dropped[t->dropped_count];
        t->dropped_count += uuid_parse(PQgetvalue(r, row, 0), UUID_TEXT_BYTES - 1, &m->least) &&
                            uuid_parse(PQgetvalue(r, row, 1), UUID_TEXT_BYTES - 1, &m->beyond);
    }
    PQclear(r);
    return true;
}

bool trail_begin(struct trail *t, const struct trail_range *range, struct err *e)
{
    forget_pages(t);
    if (!direct_do(t->pg, begin_sql, e) || !read_sealed(t, e) || !read_dropped(t, e))
        return false;
    for (int i = 0; i < TRAIL_STREAMS; i++) {
        t->streams[i] = (struct stream){.rows = LEAST_ROWS};
        if (!declare(t, (enum trail_stream)i, range, e) || !fetch(t, (enum trail_stream)i, e) ||
            !arrive(t, (enum trail_stream)i, e))
            return false;
    }
    return true;
}

bool trail_end(struct trail *t, struct err *e)
{
    forget_pages(t);
    return direct_do(t->pg, "COMMIT", e);
}

const struct uuid *trail_at(const struct trail *t, enum trail_stream s)
{
    return t->streams[s].is_ended ? NULL : &t->streams[s].at;
}

bool trail_step(struct trail *t, enum trail_stream s, struct err *e)
{
    t->streams[s].row++;
    return arrive(t, s, e);
}

void trail_header(const struct trail *t, struct trail_header *out)
{
    const struct stream *s = &t->streams[TRAIL_HEADERS];
    *out = (struct trail_header){.session_key = value(s->page, s->row, 1),
                                 .user = value(s->page, s->row, 2),
                                 .session_id = value(s->page, s->row, 3),
                                 .created_us = time_us(s->page, s->row, 4),
                                 .session_head = value(s->page, s->row, 5),
                                 .is_being_erased = truth(s->page, s->row, 6)};
}

void trail_turn(const struct trail *t, struct trail_turn *out)
{
    const struct stream *s = &t->streams[TRAIL_TURNS];
    *out = (struct trail_turn){.turn_no = (int32_t)number(s->page, s->row, 1),
                               .is_completed = truth(s->page, s->row, 2),
                               .is_blanked = truth(s->page, s->row, 3)};
}

void trail_message(const struct trail *t, struct trail_message *out)
{
    const struct stream *s = &t->streams[TRAIL_MESSAGES];
    *out = (struct trail_message){.turn_no = (int32_t)number(s->page, s->row, 1),
                                  .position = (int16_t)number(s->page, s->row, 2),
                                  .role = value(s->page, s->row, 3),
                                  .created_us = time_us(s->page, s->row, 4),
                                  .text = value(s->page, s->row, 5),
                                  .salt = value(s->page, s->row, 6),
                                  .text_hash = value(s->page, s->row, 7),
                                  .chain_hash = value(s->page, s->row, 8)};
}

void trail_head(const struct trail *t, struct trail_head *out)
{
    const struct stream *s = &t->streams[TRAIL_HEADS];
    *out = (struct trail_head){
        .seal_no = number(s->page, s->row, 1),
        .messages = (int32_t)number(s->page, s->row, 2),
        .head = value(s->page, s->row, 3),
        .from_us = PQgetisnull(s->page, s->row, 4) ? INT64_MIN : time_us(s->page, s->row, 4)};
}

const struct trail_sealed *trail_sealed(const struct trail *t)
{
    return &t->sealed;
}

bool trail_is_dropped(const struct trail *t, const struct uuid *id)
{
    for (size_t i = 0; i < t->dropped_count; i++)
        if (memcmp(id, &t->dropped[i].least, sizeof *id) >= 0 &&
            memcmp(id, &t->dropped[i].beyond, sizeof *id) < 0)
            return true;
    return false;
}

/* ---- single questions ------------------------------------------------------------------------ */

/* Of a statement in text: its first value as a number. */
static bool ask_number(struct trail *t, const char *sql, const char *const *params, size_t count,
                       struct err *e, int64_t *out)
{
    PGresult *r = direct_ask_with(t->pg, sql, params, count, e);
    if (!r)
        return false;
    *out = PQntuples(r) > 0 ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : 0;
    PQclear(r);
    return true;
}

bool trail_estimate(struct trail *t, int64_t *messages, struct err *e)
{
    return ask_number(t,
                      "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_class c"
                      " JOIN pg_namespace n ON n.oid = c.relnamespace"
                      " WHERE n.nspname = 'hansard' AND c.relname ~ '^messages_[0-9]{6}$'",
                      NULL, 0, e, messages);
}

bool trail_floor(struct trail *t, const char *time, struct uuid *out, struct err *e)
{
    int64_t ms;
    if (!ask_number(t, "SELECT floor(extract(epoch FROM $1::timestamptz) * 1000)::bigint", &time, 1,
                    e, &ms))
        return false;
    if (ms < 0 || ms >> 48)
        return err_set(e, ERR_BAD_FIELD, "no such time");
    memset(out->bytes, 0, sizeof out->bytes);
    pack_be(out->bytes, (uint64_t)ms, 6);
    return true;
}

bool trail_strays(struct trail *t, const struct trail_range *range,
                  void (*tell)(void *arg, const struct uuid *), void *arg, struct err *e)
{
    char sql[200], id[UUID_TEXT_BYTES] = "";
    const char *const params[] = {id};
    const struct uuid *bound = range->only ? range->only : range->since;
    if (bound)
        uuid_format(bound, id);
    snprintf(sql, sizeof sql,
             "SELECT conversation_id FROM hansard_audit.chain_strays%s"
             " ORDER BY conversation_id LIMIT 1000",
             range->only    ? " WHERE conversation_id = $1::uuid"
             : range->since ? " WHERE conversation_id >= $1::uuid"
                            : "");
    PGresult *r = direct_ask_with(t->pg, sql, params, bound ? 1 : 0, e);
    if (!r)
        return false;
    for (int row = 0; row < PQntuples(r); row++) {
        struct uuid found;
        if (uuid_parse(PQgetvalue(r, row, 0), (size_t)PQgetlength(r, row, 0), &found))
            tell(arg, &found);
    }
    PQclear(r);
    return true;
}

bool trail_horizon(struct trail *t, int64_t *until_us, struct err *e)
{
    /* A seal is signed within the minute in which it is made. */
    return ask_number(t,
                      "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 9223372036854775807 ELSE"
                      " coalesce((extract(epoch FROM pg_last_xact_replay_timestamp()"
                      " - interval '1 minute') * 1000000)::bigint, 0) END",
                      NULL, 0, e, until_us);
}

/* ---- seals ----------------------------------------------------------------------------------- */

/* In binary, by a cursor, in a transaction of its own: what there is of it in one go. */
static PGresult *ask_binary(struct trail *t, const char *sql, const char *const *params,
                            size_t count, struct err *e)
{
    PGresult *r = NULL, *declared;
    if (!direct_do(t->pg, begin_sql, e))
        return NULL;
    declared = direct_ask_with(t->pg, sql, params, count, e);
    if (declared)
        r = direct_ask(t->pg, "FETCH ALL FROM seal", e);
    PQclear(declared);
    if (r && !direct_do(t->pg, "COMMIT", e)) {
        PQclear(r);
        return NULL;
    }
    return r;
}

bool trail_seal(struct trail *t, int64_t after, struct seal *out, bool *found, struct err *e)
{
    char number_text[24];
    const char *const params[] = {number_text};
    snprintf(number_text, sizeof number_text, "%" PRId64, after);
    PGresult *r = ask_binary(t,
                             "DECLARE seal BINARY CURSOR FOR SELECT seal_no, sealed_at, from_at,"
                             " to_at, heads, root, previous, hash, signature, key_id"
                             " FROM hansard_audit.seals WHERE seal_no > $1::bigint"
                             " ORDER BY seal_no LIMIT 1",
                             params, 1, e);
    if (!r)
        return false;
    *found = PQntuples(r) > 0;
    *out = (struct seal){.no = 0};
    if (*found) {
        struct span signature = value(r, 0, 8), key_id = value(r, 0, 9);
        out->no = number(r, 0, 0);
        out->sealed_us = time_us(r, 0, 1);
        out->from_us = time_us(r, 0, 2);
        out->to_us = time_us(r, 0, 3);
        out->heads = (int32_t)number(r, 0, 4);
        /* Of another length it is left as zeros, and does not fit. */
        (void)read_hash(r, 0, 5, &out->root);
        (void)read_hash(r, 0, 6, &out->previous);
        (void)read_hash(r, 0, 7, &out->hash);
        out->is_signed = signature.len == sizeof out->signature && key_id.len == 16;
        if (out->is_signed) {
            memcpy(out->signature, signature.data, sizeof out->signature);
            memcpy(out->key_id, key_id.data, 16);
        }
    }
    PQclear(r);
    return true;
}

bool trail_seal_root(struct trail *t, int64_t seal_no, int32_t most, struct trail_root *out,
                     struct err *e)
{
    char seal_text[24], most_text[24];
    const char *const params[] = {seal_text, most_text};
    struct merkle tree;
    snprintf(seal_text, sizeof seal_text, "%" PRId64, seal_no);
    snprintf(most_text, sizeof most_text, "%" PRId64, (int64_t)most + 1);
    PGresult *r =
        ask_binary(t,
                   "DECLARE seal BINARY CURSOR FOR SELECT * FROM"
                   " (SELECT conversation_id, messages, head FROM hansard_audit.seal_heads"
                   " WHERE seal_no = $1::bigint LIMIT $2::bigint) AS h"
                   " ORDER BY conversation_id",
                   params, 2, e);
    if (!r)
        return false;
    merkle_init(&tree);
    for (int row = 0; row < PQntuples(r); row++) {
        struct uuid id;
        struct hash head = {{0}};
        uint8_t leaf[SEAL_LEAF_BYTES];
        if (!read_uuid(r, row, 0, &id) || !read_hash(r, row, 2, &head))
            continue; /* the root will not fit */
        seal_leaf(&id, (int32_t)number(r, row, 1), &head, leaf);
        merkle_add(&tree, (struct span){(const char *)leaf, sizeof leaf});
    }
    *out = (struct trail_root){.root = merkle_root(&tree), .heads = PQntuples(r)};
    PQclear(r);
    return true;
}

bool trail_lost_seal(struct trail *t, int64_t *seal_no, struct err *e)
{
    return ask_number(t,
                      "SELECT coalesce(max(h.seal_no), 0) FROM hansard_audit.seal_heads h"
                      " WHERE NOT EXISTS (SELECT FROM hansard_audit.seals s"
                      " WHERE s.seal_no = h.seal_no)",
                      NULL, 0, e, seal_no);
}
