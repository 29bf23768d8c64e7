#include "db/row.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include "base/mem.h"
#include "db/pgarray.h"

/* One field of PostgreSQL, with its escapes. */
#define ROW_PASSAGE_BYTES ((size_t)1 << 30)

bool row_has(const struct row *r, int column)
{
    return !PQgetisnull(r->rows, r->at, column);
}

struct span row_get(const struct row *r, int column)
{
    return (struct span){.data = PQgetvalue(r->rows, r->at, column),
                         .len = (size_t)PQgetlength(r->rows, r->at, column)};
}

int32_t row_int4(const struct row *r, int column, int32_t when_null)
{
    uint32_t wire;
    struct span s = row_get(r, column);
    if (!row_has(r, column) || s.len != sizeof wire)
        return when_null;
    memcpy(&wire, s.data, sizeof wire);
    return (int32_t)ntohl(wire);
}

int64_t row_int8(const struct row *r, int column, int64_t when_null)
{
    uint64_t wire;
    struct span s = row_get(r, column);
    if (!row_has(r, column) || s.len != sizeof wire)
        return when_null;
    memcpy(&wire, s.data, sizeof wire);
    return (int64_t)be64toh(wire);
}

bool row_fixed(const struct row *r, int column, void *out, size_t len)
{
    struct span s = row_get(r, column);
    if (!row_has(r, column) || s.len != len)
        return false;
    memcpy(out, s.data, len);
    return true;
}

char *row_copy(const struct row *r, int column, size_t *len)
{
    struct span s = row_get(r, column);
    if (len)
        *len = s.len;
    return row_has(r, column) ? mem_copy(s.data, s.len) : NULL;
}

static bool add_turn(struct buf *out, struct pgarray_walk *walk, struct passage_turn *size)
{
    struct span words, answer;
    size_t before = out->len;
    if (!pgarray_next(walk, &words) || walk->left == 0 || !pgarray_next(walk, &answer) ||
        !passage_add_json(out, words, answer))
        return false;
    size->json_bytes = (uint32_t)(out->len - before);
    size->text_bytes = (uint32_t)(words.len + answer.len);
    return true;
}

bool row_passage(const struct row *r, int column, struct passage *p)
{
    struct pgarray_walk walk = {.left = 0};
    struct span bytes = row_get(r, column);
    struct buf out;
    *p = (struct passage){.json = NULL};
    if (!row_has(r, column))
        return true;
    if (!pgarray_walk(bytes, PGTYPE_TEXT, &walk) || bytes.len > ROW_PASSAGE_BYTES)
        return false;
    buf_init(&out, ROW_PASSAGE_BYTES);
    bool is_fine = buf_reserve(&out, bytes.len + bytes.len / 8 + (size_t)walk.left * 40) != NULL;
    p->turns = mem_zero((walk.left / 2 + 1) * sizeof *p->turns);
    for (; is_fine && walk.left > 0; p->count += is_fine)
        is_fine = add_turn(&out, &walk, &p->turns[p->count]);
    p->json = buf_take(&out, &p->len);
    if (!is_fine)
        passage_fini(p);
    return is_fine;
}

bool rows_have_types(const PGresult *rows, const Oid *types, size_t count)
{
    if ((size_t)PQnfields(rows) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (PQftype(rows, (int)i) != types[i] || PQfformat(rows, (int)i) != 1)
            return false;
    return true;
}
