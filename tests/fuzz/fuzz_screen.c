/* Whatever libmicrohttpd would make of a head: what the screen lets pass is exactly what the
 * grammar of RFC 9112 allows. */
#include <stdlib.h>

#include "../unit/split_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_line_end(const char *at, size_t left)
{
    return left >= 2 && memcmp(at, "\r\n", 2) == 0;
}

/* Line end, then lines `token: value` with line ends, then a line end; read without any of the
 * code under test. */
static bool is_clean(const char *head, size_t len)
{
    size_t i = 2;
    if (!is_line_end(head, len))
        return false;
    while (i < len && !is_line_end(head + i, len - i)) {
        size_t begin = i;
        while (i < len && is_token_char((unsigned char)head[i]))
            i++;
        if (i == begin || i == len || head[i++] != ':')
            return false;
        while (i < len && !is_line_end(head + i, len - i)) {
            unsigned char c = (unsigned char)head[i++];
            if ((c < 0x20 && c != '\t') || c == 0x7f)
                return false;
        }
        i += 2;
    }
    return i + 2 == len;
}

/* Once all are NUL, a NUL can stand for the CR that a bare LF lacks: the one thing that cannot be
 * told. */
static bool is_made_up_for(const char *head, size_t len)
{
    bool has_bare_feed = false;
    for (size_t i = 1; i < len; i++)
        has_bare_feed = has_bare_feed || (head[i] == '\n' && head[i - 1] != '\r');
    return has_bare_feed && memchr(head, 0, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct screen s;
    struct err e = {0};
    struct screen_line line = {"POST", "HTTP/1.1", {"/chat", 5}};
    size_t used = 0;
    if (size > SPLIT_BYTES)
        return 0;
    char *block = malloc(size + 1); /* the exact size: a read behind it is seen */
    memcpy(block, data, size);
    block[size] = 0;
    screen_init(&s);
    bool passed = screen_begin(&s, &line, &e) && split_and_screen(&s, block, size, &used, &e);
    const char *head = (const char *)data;
    if (passed && !is_clean(head, used) && !is_made_up_for(head, used))
        abort();
    if (passed && (s.is_chunked && s.has_length))
        abort();
    if (!passed && e.kind == ERR_NONE)
        abort();
    screen_fini(&s);
    free(block);
    return 0;
}
