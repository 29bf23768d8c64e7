/* route — which paths there are, and what each takes.
 *
 * Does:      the table of routes; finds one by raw path.
 * Does not:  decode: a path is matched as it came, its variable part is decoded once, by its route.
 * Threads:   any.
 * Owns:      static text.
 */
#pragma once

#include "base/defs.h"
#include "base/log.h"

struct exchange;

struct route {
    const char *path; /* a prefix when it ends in / */
    const char *name; /* as logged: the template, never what was sent */
    const char *allow;
    size_t metric; /* index in METRIC_HTTP_SECONDS */
    enum log_level level;
    bool needs_core; /* refused when core is gone */
    bool has_caller; /* authorization and address are read */
    bool has_body;   /* JSON is expected */
    void (*get)(struct exchange *);
    void (*post)(struct exchange *);
    void (*erase)(struct exchange *);
};

/* NULL: none. rest: what follows a prefix; never empty, holds no slash. */
const struct route *route_find(struct span path, struct span *rest);
extern const struct route route_none; /* for logs and metrics of what matches nothing */
