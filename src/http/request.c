#include "http/request.h"

#include <string.h>
#include <strings.h>

#include "base/hex.h"
#include "base/ids.h"
#include "base/utf8.h"

void request_split(struct span target, struct span *path, struct span *query)
{
    const char *mark = memchr(target.data, '?', target.len);
    *path = target;
    *query = (struct span){NULL, 0};
    if (!mark)
        return;
    path->len = (size_t)(mark - target.data);
    query->data = mark + 1;
    query->len = target.len - path->len - 1;
}

bool request_decode(struct span text, const struct request_text *want, char *out, struct err *e)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (len == want->max_bytes)
            return err_set(e, ERR_BAD_FIELD, "%s is longer than %zu bytes", want->what,
                           want->max_bytes);
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_set(e, ERR_BAD_FIELD, "%s holds a broken percent escape", want->what);
            c = (char)(high * 16 + low);
            i += 2;
        }
        out[len++] = c;
    }
    out[len] = 0;
    if (len == 0)
        return err_set(e, ERR_BAD_FIELD, "%s is empty", want->what);
    if (!utf8_is_valid(out, len))
        return err_set(e, ERR_BAD_FIELD, "%s is not valid UTF-8", want->what);
    if (memchr(out, 0, len) || utf8_has_control(out, len))
        return err_set(e, ERR_BAD_FIELD, "%s holds a control character", want->what);
    return true;
}

static bool read_id(struct span text, struct request_number *n, struct err *e)
{
    struct uuid id;
    if (!uuid_parse(text.data, text.len, &id))
        return err_set(e, ERR_BAD_FIELD, "%s must be a UUID", n->name);
    uuid_format(&id, n->uuid);
    return true;
}

static bool read_number(struct span text, struct request_number *n, struct err *e)
{
    int64_t value = 0;
    bool is_good = text.len > 0 && text.len <= 18;
    for (size_t i = 0; is_good && i < text.len; i++) {
        is_good = text.data[i] >= '0' && text.data[i] <= '9';
        value = value * 10 + (text.data[i] - '0');
    }
    if (!is_good || value < n->least || value > n->most)
        return err_set(e, ERR_BAD_FIELD, "%s must be a number from %lld to %lld", n->name,
                       (long long)n->least, (long long)n->most);
    n->value = value;
    return true;
}

static bool read_value(struct span text, struct request_number *n, struct err *e)
{
    if (!(n->uuid ? read_id(text, n, e) : read_number(text, n, e)))
        return false;
    if (n->given)
        return err_set(e, ERR_BAD_FIELD, "%s was given twice", n->name);
    n->given = true;
    return true;
}

static bool read_pair(struct span pair, struct request_number *numbers, size_t count, struct err *e)
{
    const char *mark = memchr(pair.data, '=', pair.len);
    size_t name_len = mark ? (size_t)(mark - pair.data) : pair.len;
    for (size_t i = 0; i < count; i++) {
        struct request_number *n = &numbers[i];
        if (strlen(n->name) != name_len || memcmp(n->name, pair.data, name_len) != 0)
            continue;
        struct span value = {pair.data + name_len, 0};
        if (mark)
            value = (struct span){mark + 1, pair.len - name_len - 1};
        return read_value(value, n, e);
    }
    return err_set(e, ERR_BAD_FIELD, "the query holds a parameter that is not known here");
}

bool request_query(struct span query, struct request_number *numbers, size_t count, struct err *e)
{
    while (query.data && query.len > 0) {
        const char *mark = memchr(query.data, '&', query.len);
        struct span pair = {query.data, mark ? (size_t)(mark - query.data) : query.len};
        if (!read_pair(pair, numbers, count, e))
            return false;
        size_t used = pair.len + (mark ? 1 : 0);
        query.data += used;
        query.len -= used;
    }
    return true;
}

static struct span trim(struct span text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static bool is_word(struct span text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

/* Up to the mark, trimmed; the rest behind it stays in *text. */
static struct span cut_at(struct span *text, char mark)
{
    const char *at = text->len ? memchr(text->data, mark, text->len) : NULL;
    struct span head = {text->data, at ? (size_t)(at - text->data) : text->len};
    size_t used = head.len + (at ? 1 : 0);
    text->data += used;
    text->len -= used;
    return trim(head);
}

bool request_is_json(struct span content_type)
{
    static const char *const types[] = {"application/json", "application/x-www-form-urlencoded",
                                        "text/plain"};
    if (!content_type.data || content_type.len == 0)
        return true;
    struct span type = cut_at(&content_type, ';');
    bool is_known = false;
    for (size_t i = 0; i < COUNT_OF(types); i++)
        is_known = is_known || is_word(type, types[i]);
    while (is_known && content_type.len > 0) {
        struct span value = cut_at(&content_type, ';');
        struct span name = cut_at(&value, '=');
        value = trim(value);
        if (is_word(name, "charset"))
            is_known =
                is_word(value, "utf-8") || is_word(value, "\"utf-8\"") || is_word(value, "utf8");
    }
    return is_known;
}

bool request_bearer(struct span authorization, struct span *key, struct err *e)
{
    static const char scheme[] = "Bearer";
    size_t at = sizeof(scheme) - 1;
    if (authorization.len <= at || strncasecmp(authorization.data, scheme, at) != 0 ||
        authorization.data[at] != ' ')
        return err_set(e, ERR_UNAUTHORIZED, "Authorization must be: Bearer <key>");
    while (at < authorization.len && authorization.data[at] == ' ')
        at++;
    *key = (struct span){authorization.data + at, authorization.len - at};
    bool is_good = key->len >= 1 && key->len <= LIMIT_API_KEY_BYTES;
    for (size_t i = 0; is_good && i < key->len; i++)
        is_good = key->data[i] > 0x20 && key->data[i] < 0x7f;
    return is_good || err_set(e, ERR_UNAUTHORIZED, "the API key is malformed");
}

bool request_is_idempotency_key(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20 || text.data[i] > 0x7e)
            return false;
    return text.len >= 1 && text.len <= LIMIT_IDEMPOTENCY_KEY_BYTES;
}

bool request_is_traceparent(struct span text)
{
    static const char form[] = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    bool has_trace = false, has_parent = false;
    if (text.len != sizeof(form) - 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (form[i] != 'x') {
            if (c != form[i])
                return false;
            continue;
        }
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        if (c != '0') {
            has_trace = has_trace || i < 35;
            has_parent = has_parent || (i > 35 && i < 52);
        }
    }
    return has_trace && has_parent;
}

/* RFC 9110, 5.6.2: tchar */
bool request_is_token_char(char c)
{
    static const uint32_t set[8] = {
        0, 0x03ff6cfa, /* ! # $ % & ' * + - . 0-9 */
        0xc7fffffe,    /* A-Z ^ _ */
        0x57ffffff,    /* ` a-z | ~ */
    };
    unsigned char u = (unsigned char)c;
    return set[u >> 5] >> (u & 31) & 1;
}
