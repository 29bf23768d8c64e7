#include "base/base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

void base64_encode(const void *bytes, size_t len, char *out)
{
    EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
}

/* libcrypto's reader forgives much; so what it read is written again, and has to be the same. */
bool base64_decode(const char *text, size_t most, uint8_t *out, size_t *len)
{
    uint8_t bytes[BASE64_TEXT_BYTES(BASE64_BYTES_MOST)];
    char again[BASE64_TEXT_BYTES(BASE64_BYTES_MOST)];
    size_t text_len = strlen(text);
    assert(most <= BASE64_BYTES_MOST);
    if (text_len == 0 || text_len % 4 != 0 || text_len >= BASE64_TEXT_BYTES(most))
        return false;
    int got = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)text_len);
    size_t padding = (size_t)(text[text_len - 1] == '=') + (text[text_len - 2] == '=');
    bool ok = got == (int)(text_len / 4 * 3) && (size_t)got - padding <= most;
    if (ok) {
        *len = (size_t)got - padding;
        base64_encode(bytes, *len, again);
        ok = strcmp(again, text) == 0;
        OPENSSL_cleanse(again, sizeof again);
    }
    if (ok)
        memcpy(out, bytes, *len);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return ok;
}
