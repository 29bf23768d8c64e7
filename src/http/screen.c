#include "http/screen.h"

#include <string.h>
#include <strings.h>

#include "http/request.h"

static bool is_token(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!request_is_token_char(text.data[i]))
            return false;
    return text.len > 0;
}

static bool is_value(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_target(struct span text)
{
    if (text.len == 0 || text.data[0] != '/')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= 0x20 || c == 0x7f || c == '#')
            return false;
    }
    return true;
}

/* What may stand in a host and its port; the name itself means nothing to us. */
static bool is_host(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= 0x20 || c >= 0x7f || strchr("/\\@,?#\"<>", c))
            return false;
    }
    return true;
}

static bool is_named(struct span name, const char *known, size_t len)
{
    return name.len == len && strncasecmp(name.data, known, len) == 0;
}
#define IS_NAMED(name, known) is_named(name, known, sizeof(known) - 1)

void screen_init(struct screen *s)
{
    memset(s, 0, sizeof(*s));
    buf_init(&s->joined, LIMIT_HEADER_BYTES);
}

void screen_fini(struct screen *s)
{
    buf_fini(&s->joined);
}

bool screen_begin(struct screen *s, const struct screen_line *line, struct err *e)
{
    if (!is_token((struct span){line->method, strlen(line->method)}))
        return err_set(e, ERR_MALFORMED, "the method is not a token");
    if (line->target.len > SCREEN_TARGET_BYTES)
        return err_set(e, ERR_MALFORMED, "the request target is longer than %d bytes",
                       SCREEN_TARGET_BYTES);
    if (!is_target(line->target))
        return err_set(e, ERR_MALFORMED,
                       "the request target must be a path that begins with / and holds no spaces "
                       "or control characters");
    if (strncmp(line->version, "HTTP/1.", 7) != 0)
        return err_set(e, ERR_MALFORMED, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    s->is_http_1_0 = strcmp(line->version, "HTTP/1.0") == 0;
    return true;
}

static bool fail_seam(struct err *e)
{
    return err_set(e, ERR_MALFORMED,
                   "header lines must end in CR LF, hold no NUL, and not be folded");
}

bool screen_seams(struct screen *s, struct span block, struct err *e)
{
    if (block.len < 4 || block.data[0] != 0 || block.data[1] != 0)
        return fail_seam(e);
    s->wants_seams = true;
    s->seam = block.data + 2;
    s->end = block.data + block.len;
    return true;
}

static bool check_seam(struct screen *s, struct span name, struct span value)
{
    if (name.data != s->seam || name.len >= (size_t)(s->end - s->seam))
        return false;
    const char *at = name.data + name.len;
    if (*at++ != 0) /* was the colon */
        return false;
    while (at < s->end && (*at == ' ' || *at == '\t'))
        at++;
    if (value.data != at || (size_t)(s->end - at) < value.len + 2)
        return false;
    at += value.len;
    if (at[0] != 0 || at[1] != 0)
        return false;
    s->seam = at + 2;
    return true;
}

static bool take_once(struct span *slot, struct span value, const char *name, struct err *e)
{
    if (slot->data)
        return err_set(e, ERR_MALFORMED, "the header %s was sent twice", name);
    while (value.len > 0 && (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t'))
        value.len--;
    *slot = value;
    return true;
}

static bool take_length(struct screen *s, struct span value, struct err *e)
{
    if (s->has_length)
        return err_set(e, ERR_MALFORMED, "the header Content-Length was sent twice");
    s->has_length = true;
    if (value.len == 0 || value.len > 18)
        return err_set(e, ERR_MALFORMED, "Content-Length must be a decimal number");
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return err_set(e, ERR_MALFORMED, "Content-Length must be a decimal number");
        s->length = s->length * 10 + (uint64_t)(value.data[i] - '0');
    }
    return true;
}

static bool take_forwarded_for(struct screen *s, struct span value, struct err *e)
{
    if (!s->forwarded_for) {
        s->forwarded_for = value.data;
        return true;
    }
    bool fits = true;
    if (s->joined.len == 0)
        fits = buf_puts(&s->joined, s->forwarded_for);
    fits = fits && buf_puts(&s->joined, ", ") && buf_add(&s->joined, value.data, value.len);
    if (!fits)
        return err_set(e, ERR_HEADERS_TOO_LARGE, "X-Forwarded-For is too long");
    s->forwarded_for = s->joined.data;
    return true;
}

/* By length first: most headers of a request are none of ours. */
static bool take_known(struct screen *s, struct span name, struct span value, struct err *e)
{
    switch (name.len) {
    case 4:
        if (!IS_NAMED(name, "Host"))
            break;
        if (s->has_host)
            return err_set(e, ERR_MALFORMED, "the header Host was sent twice");
        s->has_host = true;
        return is_host(value) || err_set(e, ERR_MALFORMED, "the header Host is malformed");
    case 6:
        if (IS_NAMED(name, "Expect"))
            s->expects_continue = true;
        else if (IS_NAMED(name, "Prefer"))
            prefer_read(&s->prefer, value);
        break;
    case 11:
        if (IS_NAMED(name, "traceparent")) /* two of them: neither is believed */
            s->traceparent = s->traceparent.data ? (struct span){"", 0} : value;
        break;
    case 12:
        if (IS_NAMED(name, "Content-Type"))
            return take_once(&s->content_type, value, "Content-Type", e);
        break;
    case 13:
        if (IS_NAMED(name, "Authorization"))
            return take_once(&s->authorization, value, "Authorization", e);
        break;
    case 14:
        if (IS_NAMED(name, "Content-Length"))
            return take_length(s, value, e);
        break;
    case 15:
        if (IS_NAMED(name, "Idempotency-Key"))
            return take_once(&s->idempotency_key, value, "Idempotency-Key", e);
        if (IS_NAMED(name, "X-Forwarded-For"))
            return take_forwarded_for(s, value, e);
        break;
    case 17:
        if (!IS_NAMED(name, "Transfer-Encoding"))
            break; /* compared as it came: with a space behind it, libmicrohttpd would not see it */
        if (s->is_chunked || s->is_http_1_0 || !IS_NAMED(value, "chunked"))
            return err_set(e, ERR_MALFORMED, "the only Transfer-Encoding taken is chunked");
        s->is_chunked = true;
        break;
    default:
        break;
    }
    return true;
}

bool screen_header(struct screen *s, struct span name, struct span value, struct err *e)
{
    if (++s->count > LIMIT_HEADER_COUNT)
        return err_set(e, ERR_MALFORMED, "more than %d headers", LIMIT_HEADER_COUNT);
    if (!is_token(name))
        return err_set(e, ERR_MALFORMED, "a header's name is not a token");
    if (s->wants_seams && !check_seam(s, name, value))
        return fail_seam(e);
    if (!is_value(value))
        return err_set(e, ERR_MALFORMED, "a header holds a control character");
    return take_known(s, name, value, e);
}

bool screen_end(struct screen *s, struct err *e)
{
    if (s->wants_seams && (s->end - s->seam != 2 || s->seam[0] != 0 || s->seam[1] != 0))
        return fail_seam(e);
    if (s->is_chunked && s->has_length)
        return err_set(e, ERR_MALFORMED, "Transfer-Encoding and Content-Length exclude each other");
    if (!s->has_host && !s->is_http_1_0)
        return err_set(e, ERR_MALFORMED, "the header Host is missing");
    return true;
}
