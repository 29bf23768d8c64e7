#include "demo/scan.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct cursor {
    const char *p;
    const char *end;
    const char *why; /* set once; NULL while all is well */
};

static bool fail(struct cursor *c, const char *why)
{
    if (c->why == NULL)
        c->why = why;
    return false;
}

static char peek(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t'))
        c->p++;
    return c->p < c->end ? *c->p : '\0';
}

static bool take(struct cursor *c, char wanted)
{
    if (peek(c) != wanted)
        return false;
    c->p++;
    return true;
}

/* Past the plain characters of a string: neither quote, backslash, control nor beyond ASCII. */
static const char *skip_plain(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i space = _mm_set1_epi8(' '), quote = _mm_set1_epi8('"'),
                  slash = _mm_set1_epi8('\\');
    while (end - p >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        __m128i special = _mm_or_si128(
            _mm_cmplt_epi8(bytes, space), /* signed: bytes beyond ASCII are below zero */
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, slash)));
        unsigned mask = (unsigned)_mm_movemask_epi8(special);
        if (mask != 0)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    while (p < end && (signed char)*p >= ' ' && *p != '"' && *p != '\\')
        p++;
    return p;
}

static bool is_continuation(const char *p)
{
    return ((unsigned char)*p & 0xC0) == 0x80;
}

/* Length of the well-formed UTF-8 sequence at p, 0 if it is none. */
static size_t utf8_length(const char *p, const char *end)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t left = (size_t)(end - p);
    if (u[0] < 0x80)
        return 1;
    if (u[0] >= 0xC2 && u[0] <= 0xDF)
        return left >= 2 && is_continuation(p + 1) ? 2 : 0;
    if (u[0] >= 0xE0 && u[0] <= 0xEF) {
        if (left < 3 || !is_continuation(p + 1) || !is_continuation(p + 2))
            return 0;
        bool overlong = u[0] == 0xE0 && u[1] < 0xA0, surrogate = u[0] == 0xED && u[1] > 0x9F;
        return overlong || surrogate ? 0 : 3;
    }
    if (u[0] >= 0xF0 && u[0] <= 0xF4) {
        if (left < 4 || !is_continuation(p + 1) || !is_continuation(p + 2) ||
            !is_continuation(p + 3))
            return 0;
        return (u[0] == 0xF0 && u[1] < 0x90) || (u[0] == 0xF4 && u[1] > 0x8F) ? 0 : 4;
    }
    return 0;
}

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    if ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'f')
        return (ch | 0x20) - 'a' + 10;
    return -1;
}

/* Four hex digits, or -1. */
static int hex_four(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static bool skip_escape(struct cursor *c)
{
    c->p++;
    if (c->p == c->end)
        return fail(c, "unfinished string");
    char ch = *c->p++;
    if (ch == 'u') {
        if (hex_four(c->p, c->end) < 0)
            return fail(c, "bad unicode escape");
        c->p += 4;
        return true;
    }
    return strchr("\"\\/bfnrt", ch) != NULL && ch != '\0' ? true : fail(c, "bad escape");
}

static bool string(struct cursor *c, struct span *out)
{
    if (!take(c, '"'))
        return fail(c, "string expected");
    const char *start = c->p;
    for (;;) {
        c->p = skip_plain(c->p, c->end);
        if (c->p == c->end)
            return fail(c, "unfinished string");
        if (*c->p == '"')
            break;
        if (*c->p == '\\') {
            if (!skip_escape(c))
                return false;
            continue;
        }
        if ((unsigned char)*c->p < ' ')
            return fail(c, "control character in a string");
        size_t length = utf8_length(c->p, c->end);
        if (length == 0)
            return fail(c, "not UTF-8");
        c->p += length;
    }
    *out = (struct span){start, (size_t)(c->p - start)};
    c->p++;
    return true;
}

static bool digits(struct cursor *c)
{
    const char *start = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
        c->p++;
    return c->p > start ? true : fail(c, "bad number");
}

static bool number(struct cursor *c)
{
    if (*c->p == '-')
        c->p++;
    if (c->p < c->end && *c->p == '0')
        c->p++;
    else if (!digits(c))
        return false;
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (!digits(c))
            return false;
    }
    if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
            c->p++;
        return digits(c);
    }
    return true;
}

static bool word(struct cursor *c, const char *text)
{
    size_t len = strlen(text);
    if ((size_t)(c->end - c->p) < len || memcmp(c->p, text, len) != 0)
        return false;
    c->p += len;
    return true;
}

/* Next key of the object whose brace has been taken; false at its end and on error (why is set). */
static bool next_key(struct cursor *c, bool *first, struct span *key)
{
    if (take(c, '}')) /* after a comma it is an error, which string() below cannot see */
        return false;
    if (!*first && !take(c, ','))
        return fail(c, "comma or brace expected");
    *first = false;
    if (!string(c, key))
        return false;
    return take(c, ':') ? true : fail(c, "colon expected");
}

/* Is there a next element of the array whose bracket has been taken? */
static bool next_element(struct cursor *c, bool *first)
{
    if (take(c, ']'))
        return false;
    if (!*first && !take(c, ','))
        return fail(c, "comma or bracket expected");
    *first = false;
    return true;
}

static bool skip_value(struct cursor *c, int depth)
{
    struct span ignored;
    bool first = true;
    if (depth > SCAN_DEPTH)
        return fail(c, "nested too deeply");
    switch (peek(c)) {
    case '"':
        return string(c, &ignored);
    case '{':
        c->p++;
        while (next_key(c, &first, &ignored))
            if (!skip_value(c, depth + 1))
                return false;
        return c->why == NULL;
    case '[':
        c->p++;
        while (next_element(c, &first))
            if (!skip_value(c, depth + 1))
                return false;
        return c->why == NULL;
    case 't':
        return word(c, "true") ? true : fail(c, "bad word");
    case 'f':
        return word(c, "false") ? true : fail(c, "bad word");
    case 'n':
        return word(c, "null") ? true : fail(c, "bad word");
    case '-':
    case '0' ... '9':
        return number(c);
    default:
        return fail(c, "value expected");
    }
}

static bool flag(struct cursor *c, bool *out)
{
    char ch = peek(c);
    *out = ch == 't';
    return ch == 't' || ch == 'f' || ch == 'n' ? skip_value(c, 0)
                                               : fail(c, "true or false expected");
}

static bool is(struct span key, const char *name)
{
    return key.len == strlen(name) && memcmp(key.data, name, key.len) == 0;
}

/* A string, null, or an array of parts, whose last "text" counts. */
static bool content(struct cursor *c, struct span *out)
{
    bool first_part = true;
    char ch = peek(c);
    if (ch == '"')
        return string(c, out);
    if (ch != '[')
        return ch == 'n' ? skip_value(c, 0) : fail(c, "content is no string");
    c->p++;
    while (next_element(c, &first_part)) {
        bool first = true;
        struct span key = {0};
        if (!take(c, '{'))
            return fail(c, "part of content is no object");
        while (next_key(c, &first, &key))
            if (!(is(key, "text") && peek(c) == '"' ? string(c, out) : skip_value(c, 3)))
                return false;
        if (c->why != NULL)
            return false;
    }
    return c->why == NULL;
}

static bool message(struct cursor *c, struct scan *out)
{
    struct span key = {0}, role = {0}, text = {"", 0};
    bool first = true;
    if (!take(c, '{'))
        return fail(c, "a message is no object");
    while (next_key(c, &first, &key)) {
        bool good = is(key, "role")      ? string(c, &role)
                    : is(key, "content") ? content(c, &text)
                                         : skip_value(c, 3);
        if (!good)
            return false;
    }
    if (c->why != NULL)
        return false;
    if (role.len == 0)
        return fail(c, "a message has no role");
    if (out->message_count < SCAN_ROLES)
        out->roles[out->message_count] = role.data[0];
    out->message_count++;
    out->last_content = text;
    if (is(role, "user"))
        out->last_user = text;
    return true;
}

static bool messages(struct cursor *c, struct scan *out)
{
    bool first = true;
    if (!take(c, '['))
        return fail(c, "messages is no array");
    const char *start = c->p - 1;
    out->message_count = 0;
    while (next_element(c, &first))
        if (!message(c, out))
            return false;
    out->messages = (struct span){start, (size_t)(c->p - start)};
    return c->why == NULL;
}

static bool stream_options(struct cursor *c, struct scan *out)
{
    struct span key = {0};
    bool first = true;
    if (!take(c, '{'))
        return skip_value(c, 1);
    while (next_key(c, &first, &key))
        if (!(is(key, "include_usage") ? flag(c, &out->include_usage) : skip_value(c, 2)))
            return false;
    return c->why == NULL;
}

static bool root(struct cursor *c, struct scan *out)
{
    struct span key = {0};
    bool first = true;
    if (!take(c, '{'))
        return fail(c, "body is no object");
    while (next_key(c, &first, &key)) {
        bool good = is(key, "messages")         ? messages(c, out)
                    : is(key, "model")          ? string(c, &out->model)
                    : is(key, "stream")         ? flag(c, &out->stream)
                    : is(key, "stream_options") ? stream_options(c, out)
                                                : skip_value(c, 1);
        if (!good)
            return false;
    }
    if (c->why != NULL)
        return false;
    if (peek(c) != '\0' || c->p != c->end)
        return fail(c, "bytes after the object");
    return out->message_count > 0 ? true : fail(c, "messages are missing");
}

bool scan_body(const char *body, size_t len, struct scan *out, const char **why)
{
    struct cursor c = {.p = body, .end = body + len};
    out->model = (struct span){"demo", 4};
    out->last_content = out->last_user = out->messages = (struct span){"", 0};
    out->message_count = 0;
    out->stream = out->include_usage = false;
    bool good = root(&c, out);
    *why = c.why;
    return good;
}

static size_t put_utf8(unsigned code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* One \uXXXX or a pair of them; p stands after the first u. A lone surrogate becomes U+FFFD. */
static size_t unescape_unicode(const char **p, const char *end, char *out)
{
    unsigned code = (unsigned)hex_four(*p, end);
    *p += 4;
    if (code >= 0xD800 && code <= 0xDBFF && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        int low = hex_four(*p + 2, end);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *p += 6;
            return put_utf8(0x10000 + ((code - 0xD800) << 10) + ((unsigned)low - 0xDC00), out);
        }
    }
    return put_utf8(code >= 0xD800 && code <= 0xDFFF ? 0xFFFD : code, out);
}

size_t scan_unescape(struct span raw, char *out)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *p = raw.data, *end = raw.data + raw.len;
    char *o = out;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((slash != NULL ? slash : end) - p);
        memcpy(o, p, plain);
        o += plain;
        p += plain;
        if (slash == NULL)
            break;
        char ch = p[1];
        p += 2;
        const char *known = strchr(from, ch);
        if (ch == 'u')
            o += unescape_unicode(&p, end, o);
        else
            *o++ = known != NULL ? to[known - from] : ch;
    }
    return (size_t)(o - out);
}
