/* fuzz_prefer — the header Prefer.
 *
 * Run by `make fuzz`, or alone: build/fuzz/fuzz_prefer -max_total_time=60 [corpus folder].
 * The input is one field of the header.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "http/prefer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct prefer read_one(const char *text, size_t len)
{
    /* Of its own size, so that reading past its end is seen. */
    char *exact = malloc(len + 1);
    struct prefer p = {.respond_async = false};
    assert(exact);
    memcpy(exact, text, len);
    exact = realloc(exact, len ? len : 1);
    prefer_read(&p, (struct span){exact, len});
    free(exact);
    assert(p.has_respond_async || !p.respond_async);
    return p;
}

/* Around the input, or behind it. */
static struct prefer read_framed(const char *before, struct span text, const char *after)
{
    struct buf b;
    buf_init(&b, text.len + 100);
    bool fits = buf_puts(&b, before) && buf_add(&b, text.data, text.len) && buf_puts(&b, after);
    assert(fits);
    struct prefer p = read_one(b.data, b.len);
    buf_fini(&b);
    return p;
}

static bool is_same(struct prefer a, struct prefer b)
{
    return a.respond_async == b.respond_async && a.has_respond_async == b.has_respond_async;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct prefer alone = read_one(text.data, text.len);
    /* What comes behind a comma is believed exactly when all before it is well-formed, and then nothing before it
     * changes: so this tells whether it is. */
    struct prefer asked = read_framed("", text, ", respond-async");
    bool is_good = asked.has_respond_async;
    assert(is_good || !alone.has_respond_async);
    if (!is_good)
        return 0;
    assert(!alone.has_respond_async || is_same(alone, asked));
    assert(alone.has_respond_async || asked.respond_async);
    assert(is_same(alone, read_framed(" ,\twait=\"10, respond-async\" ; x,", text, " ,, a=b;c;")));
    /* What was said first counts. */
    assert(read_framed("respond-async=\"\" ; q,", text, "").respond_async);
    assert(!read_framed("RESPOND-ASYNC = no,", text, "").respond_async);
    return 0;
}
