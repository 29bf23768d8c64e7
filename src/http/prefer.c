#include "http/prefer.h"

#include <string.h>
#include <strings.h>

#include "http/request.h"

/* Each skips or takes what it is named for; text is what is left. */

static bool skip_char(struct span *text, char c)
{
    if (text->len == 0 || text->data[0] != c)
        return false;
    *text = (struct span){text->data + 1, text->len - 1};
    return true;
}

static void skip_space(struct span *text)
{
    while (skip_char(text, ' ') || skip_char(text, '\t'))
        ;
}

static struct span take_token(struct span *text)
{
    struct span token = {text->data, 0};
    while (token.len < text->len && request_is_token_char(token.data[token.len]))
        token.len++;
    *text = (struct span){text->data + token.len, text->len - token.len};
    return token;
}

/* RFC 9110, 5.6.4; behind its first quote. is_empty: nothing is between the quotes. */
static bool skip_quoted(struct span *text, bool *is_empty)
{
    *is_empty = text->len > 0 && text->data[0] == '"';
    while (!skip_char(text, '"')) {
        (void)skip_char(text, '\\');
        if (text->len == 0)
            return false;
        unsigned char c = (unsigned char)text->data[0];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
        *text = (struct span){text->data + 1, text->len - 1};
    }
    return true;
}

/* token [ BWS "=" BWS word ]. An empty word is none. */
static bool take_pair(struct span *text, struct span *name, bool *has_value)
{
    *has_value = false;
    *name = take_token(text);
    struct span behind = *text;
    skip_space(&behind);
    if (name->len == 0 || !skip_char(&behind, '='))
        return name->len > 0;
    skip_space(&behind);
    *text = behind;
    bool is_empty;
    if (skip_char(text, '"')) {
        bool is_good = skip_quoted(text, &is_empty);
        *has_value = !is_empty;
        return is_good;
    }
    *has_value = take_token(text).len > 0;
    return *has_value;
}

/* *( OWS ";" [ OWS parameter ] ) */
static bool skip_parameters(struct span *text)
{
    struct span name;
    bool has_value;
    for (skip_space(text); skip_char(text, ';'); skip_space(text)) {
        skip_space(text);
        if (text->len == 0 || text->data[0] == ';' || text->data[0] == ',')
            continue;
        if (!take_pair(text, &name, &has_value))
            return false;
    }
    return true;
}

static void note(struct prefer *p, struct span name, bool has_value)
{
    static const char known[] = "respond-async";
    if (name.len != sizeof(known) - 1 || strncasecmp(name.data, known, name.len) != 0 ||
        p->has_respond_async)
        return;
    p->has_respond_async = true;
    p->respond_async = !has_value;
}

void prefer_read(struct prefer *p, struct span field)
{
    struct prefer found = *p;
    struct span name;
    bool has_value;
    for (;;) {
        skip_space(&field);
        if (field.len > 0 && field.data[0] != ',') { /* a list may have empty places */
            if (!take_pair(&field, &name, &has_value) || !skip_parameters(&field))
                return;
            note(&found, name, has_value);
        }
        if (field.len == 0)
            break;
        if (!skip_char(&field, ','))
            return;
    }
    *p = found;
}
