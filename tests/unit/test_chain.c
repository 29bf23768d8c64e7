/* The chain's hashes over bytes that were put together by hand. */
#include "unit.h"

#include <string.h>

#include "base/chain.h"

static const struct uuid conversation = {
    {0x01, 0x89, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0}};
static const struct uuid user = {{0x01, 0x89, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x0A}};
#define AT_US INT64_C(1767225600000001) /* 2026-01-01 and a microsecond: 00 06 47 48 46 20 40 01 */
#define AT_BYTES "\x00\x06\x47\x48\x46\x20\x40\x01"
#define ID_BYTES "\x01\x89\x00\x00\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x00"
#define SPAN(text) ((struct span){(text), sizeof(text) - 1})

static void expect_hash_of(struct hash h, struct span bytes)
{
    struct hash expected = hash_sha256(bytes.data, bytes.len);
    assert_memory_equal(&h, &expected, sizeof h);
}

static void session_keys(void **state)
{
    (void)state;
    expect_hash_of(chain_session_key(NULL, SPAN("s \xC3\xBC")), SPAN("\x00s \xC3\xBC"));
    expect_hash_of(chain_session_key(&user, SPAN("s")),
                   SPAN("\x01\x01\x89\x00\x00\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x0As"));
}

static void texts(void **state)
{
    (void)state;
    expect_hash_of(chain_text_hash(SPAN("\x00\x01\x02"), SPAN("gr\xC3\xB6\xC3\x9F"
                                                              "e")),
                   SPAN("\x00\x01\x02gr\xC3\xB6\xC3\x9F"
                        "e"));
    expect_hash_of(chain_text_hash(SPAN("salt"), SPAN("")), SPAN("salt"));
}

static void starts(void **state)
{
    (void)state;
    expect_hash_of(chain_start(&conversation, SPAN("\x0B"), AT_US),
                   SPAN("hansard conversation 1" ID_BYTES "\x0B" AT_BYTES));
}

static void messages(void **state)
{
    (void)state;
    const struct chain_message m = {.turn_no = 258,
                                    .position = 2,
                                    .role = SPAN("assistant"),
                                    .created_us = AT_US,
                                    .text_hash = SPAN("\x0C")};
    expect_hash_of(chain_next(SPAN("\x0B"), &conversation, &m),
                   SPAN("\x0B" ID_BYTES "\x00\x00\x01\x02\x00\x02\x00\x00\x00\x09"
                        "assistant" AT_BYTES "\x0C"));
}

/* Whatever a tamperer puts there, the bytes are those that PostgreSQL's int4send would give. */
static void negative_numbers(void **state)
{
    (void)state;
    const struct chain_message m = {.turn_no = -1,
                                    .position = -2,
                                    .role = SPAN("user"),
                                    .created_us = -1,
                                    .text_hash = SPAN("")};
    expect_hash_of(chain_next(SPAN(""), &conversation, &m),
                   SPAN(ID_BYTES "\xFF\xFF\xFF\xFF\xFF\xFE\x00\x00\x00\x04"
                                 "user\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_keys),     cmocka_unit_test(texts),
        cmocka_unit_test(starts),           cmocka_unit_test(messages),
        cmocka_unit_test(negative_numbers),
    };
    return RUN(tests);
}
