#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *or_abort(void *p)
{
    if (!p) {
        static const char text[] = "hansard: out of memory\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
        (void)ignored;
        abort();
    }
    return p;
}

void *mem_zero(size_t bytes)
{
    return or_abort(calloc(1, bytes ? bytes : 1));
}

void *mem_grow(void *old, size_t bytes)
{
    return or_abort(realloc(old, bytes ? bytes : 1));
}

char *mem_copy(const char *text, size_t len)
{
    assert(len < SIZE_MAX);
    char *copy = or_abort(malloc(len + 1));
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *mem_text(const char *text)
{
    return text ? mem_copy(text, strlen(text)) : NULL;
}
