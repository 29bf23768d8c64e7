/* The tree of RFC 6962 by the vectors of Certificate Transparency's reference implementation, and by its definition. */
#include "unit.h"

#include <string.h>

#include "base/merkle.h"

#define SPAN(text)                                                                                 \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
static const struct span inputs[] = {SPAN(""),
                                     SPAN("\x00"),
                                     SPAN("\x10"),
                                     SPAN("\x20\x21"),
                                     SPAN("\x30\x31"),
                                     SPAN("\x40\x41\x42\x43"),
                                     SPAN("\x50\x51\x52\x53\x54\x55\x56\x57"),
                                     SPAN("\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c"
                                          "\x6d\x6e\x6f")};
static const char *const roots[] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

static void published_vectors(void **state)
{
    (void)state;
    struct merkle m;
    char hex[2 * HASH_BYTES + 1];
    merkle_init(&m);
    for (size_t size = 0; size < COUNT_OF(roots); size++) {
        struct hash root = merkle_root(&m);
        hash_hex(&root, hex);
        assert_string_equal(hex, roots[size]);
        if (size < COUNT_OF(inputs))
            merkle_add(&m, inputs[size]);
    }
}

/* MTH of the RFC, as it is written there. */
static struct hash by_definition(size_t from, size_t count)
{
    char bytes[1 + 2 * HASH_BYTES] = {0};
    if (count == 1) {
        bytes[1] = (char)from;
        return hash_sha256(bytes, 2);
    }
    size_t left = 1;
    while (left * 2 < count)
        left *= 2;
    struct hash a = by_definition(from, left), b = by_definition(from + left, count - left);
    bytes[0] = 1;
    memcpy(bytes + 1, &a, HASH_BYTES);
    memcpy(bytes + 1 + HASH_BYTES, &b, HASH_BYTES);
    return hash_sha256(bytes, sizeof bytes);
}

static void every_size(void **state)
{
    (void)state;
    struct merkle m;
    merkle_init(&m);
    for (size_t size = 1; size <= 130; size++) {
        char leaf = (char)(size - 1);
        merkle_add(&m, (struct span){&leaf, 1});
        struct hash root = merkle_root(&m), expected = by_definition(0, size);
        assert_memory_equal(&root, &expected, sizeof root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(every_size),
    };
    return RUN(tests);
}
