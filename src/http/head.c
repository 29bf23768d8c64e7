#include "http/head.h"

#include <string.h>

#include "base/mem.h"
#include "http/request.h"
#include "http/route.h"
#include "http/screen.h"
#include "http/server_private.h"

struct walk {
    struct screen *screen;
    struct err *err;
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t name_len, const char *value, size_t value_len)
{
    struct walk *w = cls;
    (void)kind;
    if (!value) { /* cannot be for headers; for query arguments it means "no equals sign" */
        value = "";
        value_len = 0;
    }
    return screen_header(w->screen, (struct span){name, name_len}, (struct span){value, value_len},
                         w->err)
               ? MHD_YES
               : MHD_NO;
}

/* The request line and the headers as libmicrohttpd left them, without a gap, in its buffer. */
static bool take_seams(struct exchange *x, const struct exchange_call *call, struct screen *s)
{
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (size->header_size > LIMIT_HEADER_BYTES)
        return err_set(&x->err, ERR_HEADERS_TOO_LARGE, "the headers are larger than %d bytes",
                       LIMIT_HEADER_BYTES);
    if (!x->loop->server->checks_seams)
        return true;
    const char *target = call->method + strlen(call->method) + 1;
    const char *version = target + x->target_len + 1;
    const char *end = call->method + size->header_size;
    if (x->target_at != target || call->version != version || end < version + 8)
        return err_set(&x->err, ERR_MALFORMED,
                       "the request line must be: method, target, version, one space apart");
    return screen_seams(s, (struct span){version + 8, (size_t)(end - version) - 8}, &x->err);
}

static bool screen_request(struct exchange *x, const struct exchange_call *call, struct screen *s)
{
    struct walk w = {s, &x->err};
    struct screen_line line = {call->method, call->version, {x->target, x->target_len}};
    if (!screen_begin(s, &line, &x->err) || !take_seams(x, call, s))
        return false;
    MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, on_header, &w);
    return x->err.kind == ERR_NONE && screen_end(s, &x->err);
}

static bool find_route(struct exchange *x, const char *method)
{
    struct span path;
    void (*handlers[])(struct exchange *) = {NULL, NULL, NULL, NULL};
    static const char *const methods[] = {"GET", "HEAD", "POST", "DELETE"};
    size_t which = 0;
    while (which < COUNT_OF(methods) && strcmp(methods[which], method) != 0)
        which++;
    if (which < COUNT_OF(methods))
        x->method = methods[which];
    request_split((struct span){x->target, x->target_len}, &path, &x->query);
    const struct route *route = route_find(path, &x->path_rest);
    if (!route)
        return err_set(&x->err, ERR_NOT_FOUND, "there is nothing at this path");
    x->route = route;
    handlers[0] = handlers[1] = route->get;
    handlers[2] = route->post;
    handlers[3] = route->erase;
    if (which < COUNT_OF(methods))
        x->run = handlers[which];
    return x->run || err_set(&x->err, ERR_METHOD, "this path takes %s", route->allow);
}

static bool take_caller(struct exchange *x, const struct screen *s)
{
    const struct server *server = x->loop->server;
    struct span key;
    if (s->authorization.data) {
        if (!request_bearer(s->authorization, &key, &x->err))
            return false;
        x->key_hash = hash_sha256(key.data, key.len);
        x->has_key = true;
    } else if (server->auth_required) {
        return err_set(&x->err, ERR_UNAUTHORIZED,
                       "an API key is needed: Authorization: Bearer <key>");
    }
    struct addr caller = addr_caller(&x->link->peer, s->forwarded_for, &server->config->trusted);
    addr_limit_key(&caller, x->address);
    return true;
}

static bool take_chat_headers(struct exchange *x, const struct screen *s)
{
    if (!request_is_json(s->content_type))
        return err_set(&x->err, ERR_MEDIA_TYPE, "Content-Type must be application/json in UTF-8");
    if (s->idempotency_key.data && !request_is_idempotency_key(s->idempotency_key))
        return err_set(&x->err, ERR_BAD_FIELD,
                       "Idempotency-Key must be 1 to %d printable ASCII characters",
                       LIMIT_IDEMPOTENCY_KEY_BYTES);
    x->has_idempotency_key = s->idempotency_key.data != NULL;
    x->idempotency_key = s->idempotency_key.data
                             ? mem_copy(s->idempotency_key.data, s->idempotency_key.len)
                             : mem_text(x->request_id);
    x->prefers_async = s->prefer.respond_async;
    if (request_is_traceparent(s->traceparent))
        x->traceparent = mem_copy(s->traceparent.data, s->traceparent.len);
    return true;
}

static bool may_go_on(struct exchange *x, const struct screen *s)
{
    if (x->route->needs_core && x->loop->phase >= LOOP_REFUSING)
        return err_set(&x->err, ERR_DRAINING, "this worker is stopping; another one will answer");
    if (x->route->has_caller && !take_caller(x, s))
        return false;
    return !x->route->has_body || take_chat_headers(x, s);
}

bool head_take(struct exchange *x, const struct exchange_call *call)
{
    struct screen s;
    bool reads_on = false;
    screen_init(&s);
    if (!screen_request(x, call, &s))
        goto out;
    if (s.has_length && s.length > x->loop->server->body_bytes) {
        find_route(x, call->method); /* for the log; the size is what is refused */
        err_clear(&x->err);
        err_set(&x->err, ERR_TOO_LARGE, "the body is larger than %zu bytes",
                x->loop->server->body_bytes);
        x->is_body_coming = !s.expects_continue;
        goto out;
    }
    x->is_chunked = s.is_chunked;
    bool is_good = find_route(x, call->method) && may_go_on(x, &s);
    /* Who asked first whether to send the body is told no instead of being asked for it. */
    reads_on = is_good || !s.expects_continue;
out:
    screen_fini(&s);
    return reads_on;
}
