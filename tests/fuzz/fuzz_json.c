/* fuzz_json — the JSON screen against jansson alone, and written strings read back.
 *
 * Run by `make fuzz`, or alone: build/fuzz/fuzz_json -max_total_time=60 [corpus folder].
 * What is accepted must keep every ceiling; what jansson accepts and keeps every ceiling must be
 * accepted too, so that the screen refuses nobody's good request.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct measure {
    size_t depth, members, values;
};

static void check_text(const char *text, size_t len)
{
    struct buf b;
    buf_init(&b, 6 * len + 100);
    assert(utf8_is_valid(text, len) && !memchr(text, '\0', len));
    bool ok = buf_puts(&b, "[") && json_add_text(&b, text, len) && buf_puts(&b, "]");
    assert(ok && strlen(b.data) == b.len);
    json_t *array = json_loadb(b.data, b.len, 0, NULL);
    const json_t *string = json_array_get(array, 0);
    assert(string && json_string_length(string) == len);
    assert(memcmp(json_string_value(string), text, len) == 0);
    json_decref(array);
    buf_fini(&b);
    (void)ok;
}

static void take_measure(json_t *value, size_t depth, struct measure *m)
{
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_object(value) || json_is_array(value))
        m->depth = depth > m->depth ? depth : m->depth;
    json_object_foreach(value, key, item)
    {
        m->members++;
        m->values++;
        check_text(key, strlen(key));
        take_measure(item, depth + 1, m);
    }
    json_array_foreach(value, i, item)
    {
        m->values++;
        take_measure(item, depth + 1, m);
    }
    if (json_is_string(value))
        check_text(json_string_value(value), json_string_length(value));
}

static void check_members(const json_t *root)
{
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)root, key, item)
    {
        const struct json_want want = {.name = key, .min_bytes = 1, .max_bytes = 16};
        struct err e = {.kind = ERR_NONE};
        struct span out;
        if (json_get_text(root, &want, &out, &e))
            assert(json_is_string(item) && out.len >= 1 && out.len <= 16);
        else
            assert(e.kind == ERR_BAD_FIELD && !out.data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {.kind = ERR_NONE};
    char *text = malloc(size ? size : 1);
    if (size)
        memcpy(text, data, size);
    json_t *ours = json_read(text, size, &e);
    json_t *theirs = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    struct measure m = {0};
    if (theirs)
        take_measure(theirs, 1, &m);
    if (ours) {
        assert(e.kind == ERR_NONE && json_is_object(ours) && json_equal(ours, theirs));
        assert(m.depth <= LIMIT_JSON_DEPTH && m.members <= LIMIT_JSON_MEMBERS);
        assert(json_object_size(ours) <= LIMIT_JSON_KEYS);
        check_members(ours);
    } else {
        assert(e.kind == ERR_BAD_JSON && strncmp(e.detail, "line ", 5) == 0);
        assert(utf8_is_valid(e.detail, strlen(e.detail)));
        /* jansson 2.14 takes a NUL byte after a number for a blank. */
        bool in_bounds = !memchr(text, '\0', size) && m.depth <= LIMIT_JSON_DEPTH &&
                         m.members <= LIMIT_JSON_MEMBERS && m.values <= LIMIT_JSON_VALUES &&
                         size <= LIMIT_JSON_NUMBER_BYTES;
        assert(!json_is_object(theirs) || json_object_size(theirs) > LIMIT_JSON_KEYS || !in_bounds);
    }
    json_decref(ours);
    json_decref(theirs);
    free(text);
    return 0;
}
