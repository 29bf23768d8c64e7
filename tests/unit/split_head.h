/* split_head — cuts a request's head up the way libmicrohttpd 0.9.75 does, faults included.
 *
 * Does:      CR LF, bare LF and the first colon become NUL in place; folded lines are glued to the
 *            header's NAME (in a copy, the old name is wiped); every header goes to the screen as
 *            a C string.
 * Does not:  allocate without a ceiling: the head is at most SPLIT_BYTES.
 * Threads:   one at a time.
 * Owns:      its static copies.
 */
#pragma once

#include <string.h>

#include "http/screen.h"

#define SPLIT_BYTES 4096

/* The next line, or NULL; *at moves behind it. */
static inline char *split_line(char *block, size_t len, size_t *at)
{
    for (size_t i = *at; i < len; i++) {
        size_t cut = block[i] == '\r' && i + 1 < len && block[i + 1] == '\n' ? 2 : block[i] == '\n';
        if (cut == 0)
            continue;
        char *line = block + *at;
        memset(block + i, 0, cut);
        *at = i + cut;
        return line;
    }
    return NULL;
}

static inline bool split_give(struct screen *s, const char *name, const char *value, struct err *e)
{
    return screen_header(s, (struct span){name, strlen(name)}, (struct span){value, strlen(value)},
                         e);
}

/* block: from the end of the version, "\r\nHost: x\r\n\r\n". True when libmicrohttpd would call us
 * and the screen lets it pass; *used: where the head ended. */
static inline bool split_and_screen(struct screen *s, char *block, size_t len, size_t *used,
                                    struct err *e)
{
    static char glued[2 * SPLIT_BYTES];
    char *name = NULL, *value = NULL, *line;
    size_t at = 0;
    struct {
        const char *name, *value;
    } found[LIMIT_HEADER_COUNT * 2];
    size_t count = 0, glued_len = 0;
    if (len > SPLIT_BYTES || !split_line(block, len, &at)) /* the end of the request line */
        return err_set(e, ERR_MALFORMED, "no line");
    for (;;) {
        line = split_line(block, len, &at);
        if (!line)
            return err_set(e, ERR_MALFORMED, "no end");
        if (name && (*line == ' ' || *line == '\t')) {
            char *to = glued + glued_len;
            size_t had = strlen(name);
            memcpy(to, name, had);
            if (name >= block && name < block + len)
                memset(name, 0, had);
            while (*line == ' ' || *line == '\t')
                line++;
            if (glued_len + had + strlen(line) + 1 > sizeof(glued))
                return err_set(e, ERR_MALFORMED, "too much");
            memcpy(to + had, line, strlen(line) + 1);
            glued_len += had + strlen(line) + 1;
            name = to;
            continue;
        }
        if (name) {
            if (count == COUNT_OF(found))
                return err_set(e, ERR_MALFORMED, "too many");
            found[count].name = name;
            found[count++].value = value;
        }
        if (*line == 0)
            break;
        char *colon = strchr(line, ':');
        if (!colon)
            return err_set(e, ERR_MALFORMED, "no colon");
        *colon++ = 0;
        while (*colon == ' ' || *colon == '\t')
            colon++;
        name = line;
        value = colon;
    }
    *used = at;
    if (!screen_seams(s, (struct span){block, at}, e))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!split_give(s, found[i].name, found[i].value, e))
            return false;
    return screen_end(s, e);
}
