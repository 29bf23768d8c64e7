#include "base/hash.h"

#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"

/* Fetched once: looking an algorithm up costs more than hashing a key with it. */
static EVP_MD *sha256;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static const EVP_MD *algorithm(void)
{
    pthread_once(&fetched, fetch);
    if (!sha256)
        abort(); /* a libcrypto without SHA-256 */
    return sha256;
}

struct hash hash_sha256(const void *bytes, size_t len)
{
    struct hash h;
    unsigned size = 0;
    if (!EVP_Digest(bytes, len, h.bytes, &size, algorithm(), NULL))
        abort(); /* out of memory */
    assert(size == HASH_BYTES);
    return h;
}

struct hash hash_sha256_parts(const struct span *parts, size_t count)
{
    struct hash h;
    unsigned size = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex2(ctx, algorithm(), NULL);
    for (size_t i = 0; ok && i < count; i++) {
        uint8_t prefix[8];
        for (int byte = 0; byte < 8; byte++)
            prefix[byte] = (uint8_t)((uint64_t)parts[i].len >> (56 - 8 * byte));
        ok = EVP_DigestUpdate(ctx, prefix, sizeof prefix) &&
             EVP_DigestUpdate(ctx, parts[i].data, parts[i].len);
    }
    ok = ok && EVP_DigestFinal_ex(ctx, h.bytes, &size);
    EVP_MD_CTX_free(ctx);
    if (!ok)
        abort(); /* out of memory */
    assert(size == HASH_BYTES);
    return h;
}

struct hash hash_hmac_sha256(struct span key, const struct span *parts, size_t count)
{
    struct hash h;
    size_t size = 0;
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
    bool ok = ctx && EVP_MAC_init(ctx, (const unsigned char *)key.data, key.len, params);
    for (size_t i = 0; ok && i < count; i++)
        ok = EVP_MAC_update(ctx, (const unsigned char *)parts[i].data, parts[i].len);
    ok = ok && EVP_MAC_final(ctx, h.bytes, &size, sizeof h.bytes);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(hmac);
    if (!ok)
        abort(); /* out of memory, or a libcrypto without HMAC */
    assert(size == HASH_BYTES);
    return h;
}

struct hash hash_sha256_joined(const struct span *parts, size_t count)
{
    struct hash h;
    unsigned size = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex2(ctx, algorithm(), NULL);
    for (size_t i = 0; ok && i < count; i++)
        ok = EVP_DigestUpdate(ctx, parts[i].data, parts[i].len);
    ok = ok && EVP_DigestFinal_ex(ctx, h.bytes, &size);
    EVP_MD_CTX_free(ctx);
    if (!ok)
        abort(); /* out of memory */
    assert(size == HASH_BYTES);
    return h;
}

bool hash_is(const struct hash *h, const struct span *bytes)
{
    return bytes->data && bytes->len == HASH_BYTES &&
           memcmp(h->bytes, bytes->data, HASH_BYTES) == 0;
}

void hash_hex(const struct hash *h, char out[2 * HASH_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < HASH_BYTES; i++) {
        out[2 * i] = digits[h->bytes[i] >> 4];
        out[2 * i + 1] = digits[h->bytes[i] & 15];
    }
    out[sizeof h->bytes * 2] = '\0';
}

bool hash_from_hex(const char *text, size_t len, struct hash *out)
{
    struct hash h;
    if (len != 2 * sizeof h.bytes)
        return false;
    for (size_t i = 0; i < sizeof h.bytes; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        h.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *out = h;
    return true;
}
