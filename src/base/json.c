#include "base/json.h"

#include <string.h>

#include "base/utf8.h"

/* What jansson would only find out after work that a hostile body can make long. */
struct screen {
    const unsigned char *text;
    size_t len, at;
    unsigned depth, root_members, members, commas, token_bytes;
    bool has_root; /* its bracket was opened */
    const char *fault;
};

void json_setup(void)
{
    json_object_seed(0);
}

static bool fail(struct screen *s, const char *fault)
{
    s->fault = fault;
    return false;
}

/* From the opening quote to the closing one. jansson checks the rest of what escapes may be. */
static bool pass_string(struct screen *s)
{
    size_t i = s->at + 1;
    for (;;) {
        while (i < s->len && s->text[i] >= 0x20 && s->text[i] != '"' && s->text[i] != '\\')
            i++;
        s->at = i;
        if (i >= s->len)
            return fail(s, "a string does not end");
        if (s->text[i] == '"')
            return true;
        if (s->text[i] < 0x20)
            return fail(s, "control character in a string");
        if (s->len - i >= 6 && memcmp(s->text + i, "\\u0000", 6) == 0)
            return fail(s, "a string holds NUL");
        i += 2; /* with the escaped character */
    }
}

static bool pass_mark(struct screen *s, unsigned char c)
{
    if (c == '{' || c == '[') {
        if (++s->depth > LIMIT_JSON_DEPTH)
            return fail(s, "nested too deeply");
    } else if (c == '}' || c == ']') {
        if (s->depth == 0)
            return fail(s, "unexpected closing bracket");
        s->depth--;
    } else if (c == ':') {
        if (s->depth == 1 && ++s->root_members > LIMIT_JSON_KEYS)
            return fail(s, "too many members");
        if (++s->members > LIMIT_JSON_MEMBERS)
            return fail(s, "too many members");
    } else if (c == ',' && ++s->commas > LIMIT_JSON_VALUES) {
        return fail(s, "too many values");
    }
    return true;
}

static bool is_mark(unsigned char c)
{
    return c == '{' || c == '}' || c == '[' || c == ']' || c == ':' || c == ',';
}

static bool pass_text(struct screen *s)
{
    for (; s->at < s->len; s->at++) {
        unsigned char c = s->text[s->at];
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
            s->token_bytes = 0;
            continue;
        }
        if (s->depth == 0 && s->has_root)
            return fail(s, "more than one value");
        if (s->depth == 0 && c != '{')
            return fail(s, "not an object");
        s->has_root = true;
        if (c == '"' ? !pass_string(s) : is_mark(c) && !pass_mark(s, c))
            return false;
        if (c == '"' || is_mark(c))
            s->token_bytes = 0;
        else if (c <= 0x20 || c >= 0x7F)
            return fail(s, "unexpected character");
        else if (++s->token_bytes > LIMIT_JSON_NUMBER_BYTES)
            return fail(s, "a number or word is too long");
    }
    return s->depth == 0 || fail(s, "it ends too early");
}

static bool place_err(struct err *e, const char *text, size_t at, const char *fault)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    return err_set(e, ERR_BAD_JSON, "line %zu, column %zu: %s", line, column, fault);
}

/* Not jansson's own text: it quotes the body, and details are logged. */
static const char *fault_of(enum json_error_code code)
{
    switch (code) {
    case json_error_duplicate_key:
        return "a member is there twice";
    case json_error_numeric_overflow:
        return "a number is too large";
    case json_error_premature_end_of_input:
        return "it ends too early";
    case json_error_end_of_input_expected:
        return "more than one value";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a string holds NUL";
    default:
        return "not valid JSON";
    }
}

json_t *json_read(const char *text, size_t len, struct err *e)
{
    struct screen s = {.text = (const unsigned char *)text, .len = len};
    size_t valid = utf8_valid_prefix(text, len);
    if (valid < len) {
        place_err(e, text, valid, "not valid UTF-8");
        return NULL;
    }
    if (!pass_text(&s)) {
        place_err(e, text, s.at < len ? s.at : len, s.fault);
        return NULL;
    }
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        err_set(e, ERR_BAD_JSON, "line %d, column %d: %s", error.line > 0 ? error.line : 1,
                error.column > 0 ? error.column : 1, fault_of(json_error_code(&error)));
        return NULL;
    }
    assert(json_is_object(root));
    return root;
}

bool json_get_text(const json_t *object, const struct json_want *want, struct span *out,
                   struct err *e)
{
    const json_t *value = json_object_get(object, want->name);
    *out = (struct span){NULL, 0};
    if (!value)
        return !want->required || err_set(e, ERR_BAD_FIELD, "\"%s\" is missing", want->name);
    if (!json_is_string(value))
        return err_set(e, ERR_BAD_FIELD, "\"%s\" must be a string", want->name);
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    if (len < want->min_bytes)
        return err_set(e, ERR_BAD_FIELD, "\"%s\" must have at least %zu byte%s", want->name,
                       want->min_bytes, want->min_bytes == 1 ? "" : "s");
    if (len > want->max_bytes)
        return err_set(e, ERR_BAD_FIELD, "\"%s\" must have at most %zu bytes", want->name,
                       want->max_bytes);
    if (memchr(text, '\0', len))
        return err_set(e, ERR_BAD_FIELD, "\"%s\" must not hold NUL", want->name);
    *out = (struct span){text, len};
    return true;
}

/* 0: as it is. 'u': \u00XX. Else: the character after the backslash. */
static const char escapes[256] = {
    ['\0'] = 'u', [1] = 'u',    [2] = 'u',    [3] = 'u',     [4] = 'u',    [5] = 'u',
    [6] = 'u',    [7] = 'u',    ['\b'] = 'b', ['\t'] = 't',  ['\n'] = 'n', [11] = 'u',
    ['\f'] = 'f', ['\r'] = 'r', [14] = 'u',   [15] = 'u',    [16] = 'u',   [17] = 'u',
    [18] = 'u',   [19] = 'u',   [20] = 'u',   [21] = 'u',    [22] = 'u',   [23] = 'u',
    [24] = 'u',   [25] = 'u',   [26] = 'u',   [27] = 'u',    [28] = 'u',   [29] = 'u',
    [30] = 'u',   [31] = 'u',   ['"'] = '"',  ['\\'] = '\\',
};

static bool add_escape(struct buf *b, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', escapes[c], '0', '0', digits[c >> 4], digits[c & 15]};
    return buf_add(b, text, escapes[c] == 'u' ? 6 : 2);
}

bool json_add_text(struct buf *b, const char *text, size_t len)
{
    size_t before = b->len, run = 0;
    bool ok = buf_add(b, "\"", 1);
    for (size_t i = 0; ok && i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!escapes[c])
            continue;
        ok = buf_add(b, text + run, i - run) && add_escape(b, c);
        run = i + 1;
    }
    ok = ok && buf_add(b, text + run, len - run) && buf_add(b, "\"", 1);
    if (!ok && b->data) {
        b->len = before;
        b->data[before] = '\0';
    }
    return ok;
}
