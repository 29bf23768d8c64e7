#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static const struct err_info table[ERR_KINDS] = {
#define ERR_ROW(name, code, status, fault, again, sqlstate, title)                                 \
    [ERR_##name] = {#name, code, status, FAULT_##fault, again, sqlstate, title},
    ERR_LIST(ERR_ROW)
#undef ERR_ROW
};

const struct err_info *err_info(enum err_kind kind)
{
    assert((unsigned)kind < ERR_KINDS);
    return &table[kind];
}

enum err_kind err_from_sqlstate(const char *sqlstate)
{
    for (size_t i = 0; sqlstate && i < ERR_KINDS; i++)
        if (table[i].sqlstate && strcmp(table[i].sqlstate, sqlstate) == 0)
            return (enum err_kind)i;
    return ERR_INTERNAL;
}

enum err_kind err_from_code(const char *code)
{
    for (size_t i = 0; code && i < ERR_KINDS; i++)
        if (strcmp(table[i].code, code) == 0)
            return (enum err_kind)i;
    return ERR_INTERNAL;
}

/* The detail ends up in JSON, and may quote what came from outside: a character cut by the
 * ceiling is dropped, bytes that are not UTF-8 become question marks. */
static void make_valid(char *text, bool was_cut)
{
    size_t len = strlen(text);
    for (size_t at; (at = utf8_valid_prefix(text, len)) < len;) {
        if (was_cut && len - at < 4 && (unsigned char)text[at] >= 0xC2) {
            text[at] = '\0';
            return;
        }
        text[at] = '?';
    }
}

bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
    assert((unsigned)kind < ERR_KINDS && kind != ERR_NONE);
    if (e->kind != ERR_NONE)
        return false;
    e->kind = kind;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(e->detail, sizeof e->detail, fmt, args);
    va_end(args);
    assert(n >= 0);
    make_valid(e->detail, (size_t)n >= sizeof e->detail);
    return false;
}

void err_clear(struct err *e)
{
    *e = (struct err){.kind = ERR_NONE};
}
