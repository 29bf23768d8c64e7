/* Any bytes for an answer of the model: either they are refused, or the words can be stored. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "llm/retry.h"
#include "llm/wire.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    json_setup();
    return 0;
}

static void check_answer(const uint8_t *data, size_t size)
{
    struct wire_answer a;
    struct err e = {0};
    if (wire_read_answer((const char *)data, size, &a, &e)) {
        assert(e.kind == ERR_NONE && a.text);
        assert(strlen(a.text) == a.text_len && utf8_is_valid(a.text, a.text_len));
        assert(a.prompt_tokens >= -1 && a.completion_tokens >= -1);
        assert(!a.model || utf8_is_valid(a.model, strlen(a.model)));
    } else {
        assert(e.kind == ERR_MODEL_FAILED && !a.text && !a.model);
        assert(utf8_is_valid(e.detail, strlen(e.detail)));
    }
    free(a.text);
    free(a.model);
}

static void check_header(const uint8_t *data, size_t size)
{
    char value[256];
    if (size >= sizeof value)
        return;
    memcpy(value, data, size);
    value[size] = '\0';
    int64_t wait_ms = retry_after_ms(value, INT64_C(1767323045678));
    assert(wait_ms >= -1 && wait_ms <= LIMIT_RETRY_AFTER_MS);

    struct buf line;
    buf_init(&line, WIRE_HEADER_BYTES);
    wire_header(&line, "X-Request-Id", value);
    assert(line.len <= WIRE_HEADER_BYTES && !strpbrk(line.data, "\r\n"));
    buf_fini(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_answer(data, size);
    check_header(data, size);
    return 0;
}
