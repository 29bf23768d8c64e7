#include <string.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "core/core.h"
#include "http/api.h"
#include "http/exchange.h"
#include "http/server_private.h"

#define METRICS_BYTES ((size_t)4 << 20)

void api_ops_livez(struct exchange *x)
{
    struct reply_body body = {"text/plain; charset=utf-8", mem_text("ok\n"), 3};
    exchange_reply(x, 200, &body);
}

void api_ops_readyz(struct exchange *x)
{
    struct core_status s;
    struct buf out;
    core_status(x->loop->server->core, &s);
    /* Said before core hears of it: a worker that leaves still takes turns. */
    bool is_draining = x->loop->phase > LOOP_SERVING;
    bool is_ready = !is_draining && s.database && s.schema_found == s.schema_wanted;
    buf_init(&out, 1024);
    buf_printf(&out,
               "{\"ready\":%s,\"draining\":%s,\"database\":%s,\"schema_wanted\":%d,"
               "\"schema_found\":%d,\"worker\":\"%s\"}\n",
               is_ready ? "true" : "false", is_draining ? "true" : "false",
               s.database ? "true" : "false", s.schema_wanted, s.schema_found, s.worker);
    struct reply_body body = {.content_type = "application/json"};
    body.bytes = buf_take(&out, &body.len);
    exchange_reply(x, is_ready ? 200 : 503, &body);
    if (!is_ready)
        reply_header(x->response, "Retry-After", "1");
}

void api_ops_metrics(struct exchange *x)
{
    struct buf out;
    buf_init(&out, METRICS_BYTES);
    bool fits = metrics_render(&out);
    assert(fits);
    struct reply_body body = {.content_type = "text/plain; version=0.0.4; charset=utf-8"};
    body.bytes = buf_take(&out, &body.len);
    exchange_reply(x, 200, &body);
}
