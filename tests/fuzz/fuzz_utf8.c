/* fuzz_utf8 — the UTF-8 check against a slow decoder that follows RFC 3629 by the letter.
 *
 * Run by `make fuzz`, or alone: build/fuzz/fuzz_utf8 -max_total_time=60 [corpus folder].
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes of the character at s and its number; 0: not valid. */
static size_t decode(const uint8_t *s, size_t left, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t bytes = s[0] < 0x80           ? 1
                   : (s[0] >> 5) == 0x06 ? 2
                   : (s[0] >> 4) == 0x0E ? 3
                   : (s[0] >> 3) == 0x1E ? 4
                                         : 0;
    if (bytes == 0 || bytes > left)
        return 0;
    *point = bytes == 1 ? s[0] : s[0] & (0xFFu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((s[i] >> 6) != 2)
            return 0;
        *point = *point << 6 | (s[i] & 0x3F);
    }
    bool is_character =
        *point >= least[bytes] && *point <= 0x10FFFF && (*point < 0xD800 || *point > 0xDFFF);
    return is_character ? bytes : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Its own allocation, so that reading one byte further is seen. */
    char *text = malloc(size ? size : 1);
    bool control = false;
    size_t at = 0, bytes;
    uint32_t point = 0;
    if (size)
        memcpy(text, data, size);
    while (at < size && (bytes = decode(data + at, size - at, &point)) > 0) {
        control |= point < 0x20 || (point >= 0x7F && point <= 0x9F);
        at += bytes;
    }
    assert(utf8_valid_prefix(text, size) == at);
    assert(utf8_is_valid(text, size) == (at == size));
    if (at == size)
        assert(utf8_has_control(text, size) == control);
    for (size_t max = 0; at == size && max < size + 2 && max < 64; max++) {
        size_t cut = utf8_cut(text, size, max);
        assert(cut <= max && cut <= size && utf8_is_valid(text, cut));
        size_t whole = size < max ? size : max;
        assert(whole - cut < 4); /* the longest such prefix: the next character does not fit */
        assert(cut == size || cut + decode(data + cut, size - cut, &point) > max);
    }
    free(text);
    return 0;
}
