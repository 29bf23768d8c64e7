#include "db/pgarray.h"

#include <arpa/inet.h>
#include <string.h>

/* Number of dimensions, has-null flag, element type; then size and lower bound of the dimension. */
#define HEAD_BYTES 12
#define DIMENSION_BYTES 8

static void put_int4(struct buf *b, uint32_t value)
{
    uint32_t wire = htonl(value);
    buf_add(b, &wire, sizeof wire);
}

static void set_int4(struct buf *b, size_t at, uint32_t value)
{
    uint32_t wire = htonl(value);
    memcpy(b->data + at, &wire, sizeof wire);
}

void pgarray_init(struct pgarray *a, size_t max_bytes)
{
    assert(max_bytes >= HEAD_BYTES + DIMENSION_BYTES);
    *a = (struct pgarray){.count = 0};
    buf_init(&a->bytes, max_bytes);
}

void pgarray_fini(struct pgarray *a)
{
    buf_fini(&a->bytes);
}

void pgarray_begin(struct pgarray *a, enum pgtype element)
{
    buf_reset(&a->bytes);
    a->count = 0;
    a->has_null = false;
    put_int4(&a->bytes, 1);
    put_int4(&a->bytes, 0);
    put_int4(&a->bytes, (uint32_t)element);
    put_int4(&a->bytes, 0);
    put_int4(&a->bytes, 1);
}

void pgarray_add(struct pgarray *a, const void *bytes, size_t len)
{
    a->count++;
    if (!bytes) {
        a->has_null = true;
        put_int4(&a->bytes, UINT32_MAX); /* length -1 */
        return;
    }
    if (len > INT32_MAX) {
        a->bytes.overflowed = true;
        return;
    }
    put_int4(&a->bytes, (uint32_t)len);
    buf_add(&a->bytes, bytes, len);
}

void pgarray_add_text(struct pgarray *a, const char *text)
{
    pgarray_add(a, text, text ? strlen(text) : 0);
}

void pgarray_add_int4(struct pgarray *a, int32_t value)
{
    uint32_t wire = htonl((uint32_t)value);
    pgarray_add(a, &wire, sizeof wire);
}

bool pgarray_end(struct pgarray *a)
{
    if (a->bytes.overflowed)
        return false;
    set_int4(&a->bytes, 4, a->has_null);
    if (a->count > 0) {
        set_int4(&a->bytes, HEAD_BYTES, a->count);
    } else {
        set_int4(&a->bytes, 0, 0);
        a->bytes.len = HEAD_BYTES;
    }
    return true;
}

static bool take_int4(struct span *from, uint32_t *value)
{
    uint32_t wire;
    if (from->len < sizeof wire)
        return false;
    memcpy(&wire, from->data, sizeof wire);
    *value = ntohl(wire);
    *from = (struct span){from->data + sizeof wire, from->len - sizeof wire};
    return true;
}

bool pgarray_walk(struct span bytes, enum pgtype element, struct pgarray_walk *out)
{
    uint32_t dimensions, has_null, type, lower;
    *out = (struct pgarray_walk){.rest = bytes};
    if (!take_int4(&out->rest, &dimensions) || !take_int4(&out->rest, &has_null) ||
        !take_int4(&out->rest, &type) || dimensions > 1 || type != (uint32_t)element)
        return false;
    return dimensions == 0 || (take_int4(&out->rest, &out->left) && take_int4(&out->rest, &lower));
}

bool pgarray_next(struct pgarray_walk *w, struct span *element)
{
    uint32_t len;
    assert(w->left > 0);
    if (!take_int4(&w->rest, &len) || (len != UINT32_MAX && len > w->rest.len))
        return false;
    w->left--;
    *element = (struct span){.data = NULL};
    if (len == UINT32_MAX)
        return true;
    *element = (struct span){w->rest.data, len};
    w->rest = (struct span){w->rest.data + len, w->rest.len - len};
    return true;
}
