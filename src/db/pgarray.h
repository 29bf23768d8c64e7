/* pgarray — one-dimensional arrays in PostgreSQL's binary form.
 *
 * Does:      header, elements with their lengths, NULL elements; an empty array has no dimension;
 *            walks through one that came.
 * Does not:  check what the elements hold, or know more types than those named here.
 * Threads:   one at a time.
 * Owns:      its bytes, kept from one begin to the next.
 */
#pragma once

#include "base/buf.h"

/* Object ids of pg_type: fixed since the first release that had the type. */
enum pgtype {
    PGTYPE_BYTEA = 17,
    PGTYPE_INT8 = 20,
    PGTYPE_INT4 = 23,
    PGTYPE_TEXT = 25,
    PGTYPE_BYTEA_ARRAY = 1001,
    PGTYPE_INT4_ARRAY = 1007,
    PGTYPE_TEXT_ARRAY = 1009,
    PGTYPE_UUID = 2950,
    PGTYPE_UUID_ARRAY = 2951,
    PGTYPE_BOOL = 16,
    PGTYPE_BOOL_ARRAY = 1000
};

struct pgarray {
    struct buf bytes; /* a parameter's value once pgarray_end was called */
    uint32_t count;
    bool has_null;
};

void pgarray_init(struct pgarray *a, size_t max_bytes);
void pgarray_fini(struct pgarray *a);

void pgarray_begin(struct pgarray *a, enum pgtype element);         /* empties, keeps the memory */
void pgarray_add(struct pgarray *a, const void *bytes, size_t len); /* NULL: a NULL element */
void pgarray_add_text(struct pgarray *a, const char *text);         /* NULL: a NULL element */
void pgarray_add_int4(struct pgarray *a, int32_t value);
/* false: the ceiling was passed; the bytes must not be sent. */
MUST_USE bool pgarray_end(struct pgarray *a);

/* An array that came, walked through once; its bytes are borrowed. */
struct pgarray_walk {
    struct span rest;
    uint32_t left; /* elements */
};
/* false: not a one-dimensional array of this type. */
MUST_USE bool pgarray_walk(struct span bytes, enum pgtype element, struct pgarray_walk *out);
/* The next of those left; data is NULL for a NULL element. false: the bytes end too early. */
MUST_USE bool pgarray_next(struct pgarray_walk *w, struct span *element);
