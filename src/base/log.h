/* log — one JSON object a line, to standard error.
 *
 * Does:      time, level, event, worker, then the fields given; one write() a line.
 * Does not:  print bodies, keys, or addresses of databases; block on anything but the pipe.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *name;
    const char *text; /* NULL: number */
    int64_t number;
};

/* A function, because an array is never NULL and compilers say so. */
static inline const char *log_text_or_empty(const char *text)
{
    return text ? text : "";
}
#define LOG_TEXT(n, t) ((struct log_field){.name = (n), .text = log_text_or_empty(t)})
#define LOG_INT(n, v) ((struct log_field){.name = (n), .number = (v)})

void log_setup(enum log_level least, const char *worker); /* worker may be NULL; copied */
bool log_is_on(enum log_level level);
void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count);
#define LOG(level, event, ...)                                                                     \
    do {                                                                                           \
        if (log_is_on(level)) {                                                                    \
            const struct log_field log_fields_[] = {__VA_ARGS__};                                  \
            log_write(level, event, log_fields_, COUNT_OF(log_fields_));                           \
        }                                                                                          \
    } while (0)
/* An error with its code and detail. */
void log_err(enum log_level level, const char *event, const struct err *e);
