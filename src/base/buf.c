#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FIRST_CAP 64

void buf_init(struct buf *b, size_t max_bytes)
{
    assert(max_bytes < SIZE_MAX / 2);
    *b = (struct buf){.max = max_bytes};
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->overflowed = false;
    if (b->data)
        b->data[0] = '\0';
}

char *buf_reserve(struct buf *b, size_t len)
{
    assert(b->len <= b->max);
    if (len > b->max - b->len) {
        b->overflowed = true;
        return NULL;
    }
    size_t need = b->len + len + 1; /* the spare byte is for NUL */
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : FIRST_CAP;
        while (cap < need)
            cap *= 2;
        if (cap > b->max + 1)
            cap = b->max + 1;
        b->data = mem_grow(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

bool buf_add(struct buf *b, const void *bytes, size_t len)
{
    char *room = buf_reserve(b, len);
    if (!room)
        return false;
    if (len > 0)
        memcpy(room, bytes, len);
    room[len] = '\0';
    b->len += len;
    return true;
}

bool buf_puts(struct buf *b, const char *text)
{
    return buf_add(b, text, strlen(text));
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t left = b->cap - b->len;
    int n = vsnprintf(left ? b->data + b->len : NULL, left, fmt, args);
    bool ok = false;
    assert(n >= 0);
    if ((size_t)n < left) {
        ok = true;
    } else {
        if (left)
            b->data[b->len] = '\0';
        char *room = buf_reserve(b, (size_t)n);
        if (room) {
            vsnprintf(room, (size_t)n + 1, fmt, again);
            ok = true;
        }
    }
    if (ok)
        b->len += (size_t)n;
    va_end(again);
    va_end(args);
    return ok;
}

char *buf_take(struct buf *b, size_t *len)
{
    char *data = b->data;
    if (len)
        *len = b->len;
    if (data)
        data[b->len] = '\0';
    else
        data = mem_copy("", 0);
    *b = (struct buf){.max = b->max};
    return data;
}
