#include "base/log.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"

#define LINE_BYTES 8192
#define TAIL "}\n"
#define TAIL_CUT ",\"truncated\":true}\n"

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static atomic_int least_level = LOG_INFO;
static char worker_name[64]; /* written before threads start */

void log_setup(enum log_level least, const char *worker)
{
    size_t len = 0;
    if (worker) {
        len = utf8_cut(worker, strlen(worker), sizeof worker_name - 1);
        memcpy(worker_name, worker, len);
    }
    worker_name[len] = '\0';
    atomic_store_explicit(&least_level, (int)least, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

/* Bytes that are not UTF-8 become question marks: a line is always valid JSON. */
static bool add_repaired(struct buf *line, const char *text, size_t len)
{
    struct buf copy;
    buf_init(&copy, len);
    bool ok = buf_add(&copy, text, len);
    for (size_t at; ok && (at = utf8_valid_prefix(copy.data, len)) < len;)
        copy.data[at] = '?';
    ok = ok && json_add_text(line, copy.data, len);
    buf_fini(&copy);
    return ok;
}

/* As much of the text as fits. false: some of it did not. */
static bool add_text(struct buf *line, const char *text)
{
    size_t len = strnlen(text, LINE_BYTES), whole = len;
    for (;;) {
        bool ok = utf8_is_valid(text, len) ? json_add_text(line, text, len)
                                           : add_repaired(line, text, len);
        if (ok || len == 0)
            return ok && len == whole && text[len] == '\0';
        len = utf8_cut(text, len, len - (len + 3) / 4);
    }
}

static bool add_field(struct buf *line, const struct log_field *f)
{
    size_t before = line->len;
    if (!buf_printf(line, ",\"%s\":", f->name))
        return false;
    if (!f->text) {
        if (buf_printf(line, "%lld", (long long)f->number))
            return true;
    } else {
        bool whole = add_text(line, f->text);
        if (line->data[line->len - 1] == '"')
            return whole;
    }
    line->len = before; /* not even an empty value fitted */
    line->data[before] = '\0';
    return false;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    assert((size_t)level < COUNT_OF(level_names));
    struct buf line;
    char now[25];
    clock_format(clock_unix_ms(), now);
    buf_init(&line, LINE_BYTES - (sizeof TAIL_CUT - 1));
    buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\"", now, level_names[level]);
    bool whole = add_field(&line, &LOG_TEXT("event", event));
    if (worker_name[0])
        whole = add_field(&line, &LOG_TEXT("worker", worker_name)) && whole;
    for (size_t i = 0; i < count; i++)
        whole = add_field(&line, &fields[i]) && whole;
    line.max = LINE_BYTES;
    buf_puts(&line, whole ? TAIL : TAIL_CUT);
    ssize_t ignored = write(STDERR_FILENO, line.data, line.len); /* nobody to tell */
    (void)ignored;
    buf_fini(&line);
}

void log_err(enum log_level level, const char *event, const struct err *e)
{
    LOG(level, event, LOG_TEXT("code", err_info(e->kind)->code), LOG_TEXT("detail", e->detail));
}
