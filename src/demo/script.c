#include "demo/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPT_NUMBER_MAX 1000000000

/* A number, or -1; a word without one ([[stall]]) counts as 1. */
static int64_t number(const char *text, const char **rest)
{
    char *end = NULL;
    long long value = strtoll(text, &end, 10);
    if (end == text)
        value = *text == '\0' ? 1 : -1;
    *rest = end;
    return value < -1 ? -1 : value > SCRIPT_NUMBER_MAX ? SCRIPT_NUMBER_MAX : value;
}

/* Header text: no control characters, so that no word can split a response. */
static void keep_text(char *out, size_t room, const char *text)
{
    size_t n = 0;
    for (; *text != '\0' && n + 1 < room; text++)
        if ((unsigned char)*text >= ' ' && *text != 0x7F)
            out[n++] = *text;
    out[n] = '\0';
}

static void obey(struct script *s, const char *name, const char *argument)
{
    const char *rest;
    if (strcmp(name, "retry-after") == 0) {
        keep_text(s->retry_after, sizeof s->retry_after, argument);
        return;
    }
    if (strcmp(name, "redirect") == 0) {
        keep_text(s->redirect, sizeof s->redirect, argument);
        return;
    }
#define SCRIPT_READ(word, field, help)                                                             \
    if (strcmp(name, word) == 0)                                                                   \
        s->field = number(argument, &rest);
    SCRIPT_NUMBERS(SCRIPT_READ)
#undef SCRIPT_READ
    if (strcmp(name, "status") == 0) {
        (void)number(argument, &rest);
        s->status_times = *rest == ' ' ? number(rest + 1, &rest) : -1;
        if (s->status < 200 || s->status > 599)
            s->status = -1;
    }
}

void script_read(struct span text, struct script *out)
{
#define SCRIPT_UNSET(word, field, help) out->field = -1;
    SCRIPT_NUMBERS(SCRIPT_UNSET)
#undef SCRIPT_UNSET
    out->status_times = -1;
    out->retry_after[0] = out->redirect[0] = '\0';

    const char *p = text.data, *end = text.data + text.len;
    while ((p = memmem(p, (size_t)(end - p), "[[", 2)) != NULL) {
        p += 2;
        const char *close = memmem(p, (size_t)(end - p), "]]", 2);
        char word[600];
        if (close == NULL)
            return;
        if ((size_t)(close - p) < sizeof word) {
            memcpy(word, p, (size_t)(close - p));
            word[close - p] = '\0';
            char *space = strchr(word, ' ');
            if (space != NULL)
                *space = '\0';
            obey(out, word, space != NULL ? space + 1 : "");
        }
        p = close + 2;
    }
}
