#include "base/utf8.h"

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

static bool is_tail(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

/* Bytes of the character at s, where `left` are there; 0 when not valid (RFC 3629, section 4). */
static size_t character(const unsigned char *s, size_t left)
{
    unsigned char c = s[0];
    if (c < 0x80)
        return 1;
    if (c < 0xC2 || c > 0xF4)
        return 0;
    if (c < 0xE0)
        return left >= 2 && is_tail(s[1]) ? 2 : 0;
    if (c < 0xF0) {
        unsigned char least = c == 0xE0 ? 0xA0 : 0x80;
        unsigned char most = c == 0xED ? 0x9F : 0xBF;
        return left >= 3 && s[1] >= least && s[1] <= most && is_tail(s[2]) ? 3 : 0;
    }
    unsigned char least = c == 0xF0 ? 0x90 : 0x80;
    unsigned char most = c == 0xF4 ? 0x8F : 0xBF;
    return left >= 4 && s[1] >= least && s[1] <= most && is_tail(s[2]) && is_tail(s[3]) ? 4 : 0;
}

size_t utf8_valid_prefix(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < len) {
        uint64_t eight;
        while (len - i >= sizeof eight) {
            memcpy(&eight, s + i, sizeof eight);
            if (eight & HIGH_BITS)
                break;
            i += sizeof eight;
        }
        /* Up to eight characters before looking for plain ASCII again. */
        for (int n = 0; n < 8 && i < len; n++) {
            size_t bytes = character(s + i, len - i);
            if (bytes == 0)
                return i;
            i += bytes;
        }
    }
    return i;
}

bool utf8_is_valid(const char *text, size_t len)
{
    return utf8_valid_prefix(text, len) == len;
}

bool utf8_has_control(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < 0x20 || s[i] == 0x7F)
            return true;
        if (s[i] == 0xC2 && i + 1 < len && s[i + 1] >= 0x80 && s[i + 1] <= 0x9F)
            return true;
    }
    return false;
}

size_t utf8_cut(const char *text, size_t len, size_t max)
{
    if (len <= max)
        return len;
    size_t end = max;
    while (end > 0 && is_tail((unsigned char)text[end]))
        end--;
    return end;
}
