#include "http/route.h"

#include <string.h>

#include "http/api.h"

static const struct route routes[] = {
    {.path = "/chat",
     .name = "/chat",
     .allow = "POST",
     .metric = 0,
     .level = LOG_INFO,
     .needs_core = true,
     .has_caller = true,
     .has_body = true,
     .post = api_chat_post},
    {.path = "/conversations/",
     .name = "/conversations/{session_id}",
     .allow = "GET, HEAD, DELETE",
     .metric = 1,
     .level = LOG_INFO,
     .needs_core = true,
     .has_caller = true,
     .get = api_conversations_get,
     .erase = api_conversations_delete},
    {.path = "/jobs",
     .name = "/jobs",
     .allow = "POST",
     .metric = 2,
     .level = LOG_INFO,
     .needs_core = true,
     .has_caller = true,
     .has_body = true,
     .post = api_jobs_post},
    {.path = "/jobs/",
     .name = "/jobs/{job_id}",
     .allow = "GET, HEAD, DELETE",
     .metric = 2,
     .level = LOG_INFO,
     .needs_core = true,
     .has_caller = true,
     .get = api_jobs_get,
     .erase = api_jobs_delete},
    {.path = "/livez",
     .name = "/livez",
     .allow = "GET, HEAD",
     .metric = 3,
     .level = LOG_DEBUG,
     .get = api_ops_livez},
    {.path = "/readyz",
     .name = "/readyz",
     .allow = "GET, HEAD",
     .metric = 4,
     .level = LOG_DEBUG,
     .needs_core = true,
     .get = api_ops_readyz},
    {.path = "/metrics",
     .name = "/metrics",
     .allow = "GET, HEAD",
     .metric = 5,
     .level = LOG_DEBUG,
     .get = api_ops_metrics},
};

const struct route route_none = {.path = "", .name = "other", .metric = 6, .level = LOG_INFO};

const struct route *route_find(struct span path, struct span *rest)
{
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        const char *known = routes[i].path;
        size_t len = strlen(known);
        if (path.len < len || memcmp(path.data, known, len) != 0)
            continue;
        *rest = (struct span){path.data + len, path.len - len};
        if (known[len - 1] != '/' && rest->len == 0)
            return &routes[i];
        if (known[len - 1] == '/' && rest->len > 0 && !memchr(rest->data, '/', rest->len))
            return &routes[i];
    }
    return NULL;
}
