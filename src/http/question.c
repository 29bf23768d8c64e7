#include "http/question.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/turn.h"
#include "http/server_private.h"
#include "llm/webhook.h"

static void on_answer(void *receiver, struct turn_reply *reply)
{
    struct exchange *x = receiver;
    x->turn = *reply;
    reply->text = reply->model = NULL;
    exchange_wake(x);
}

static bool check_stream(const json_t *root, struct err *e)
{
    const json_t *stream = json_object_get(root, "stream");
    if (!stream || json_is_false(stream))
        return true;
    if (!json_is_true(stream))
        return err_set(e, ERR_BAD_FIELD, "stream must be true or false");
    return err_set(e, ERR_BAD_FIELD,
                   "streaming is not available; leave stream out or set it to false");
}

static bool read_webhook(struct exchange *x, const json_t *root, struct turn_request *r)
{
    static const struct json_want want = {"webhook", 1, LIMIT_WEBHOOK_URL_BYTES, false};
    struct span url;
    if (!json_get_text(root, &want, &url, &x->err))
        return false;
    if (!url.data)
        return true;
    r->webhook = mem_copy(url.data, url.len);
    return webhook_url_is_allowed(x->loop->server->config, r->webhook, &x->err);
}

static bool read_body(struct exchange *x, const json_t *root, struct turn_request *r)
{
    const struct config *config = x->loop->server->config;
    struct json_want want_session = {"session_id", 1, LIMIT_SESSION_ID_BYTES, true};
    struct json_want want_message = {"message", 1, (size_t)config->message_bytes, true};
    struct span session, message;
    if (!json_get_text(root, &want_session, &session, &x->err) ||
        !json_get_text(root, &want_message, &message, &x->err) || !check_stream(root, &x->err))
        return false;
    if (utf8_has_control(session.data, session.len))
        return err_set(&x->err, ERR_BAD_FIELD, "session_id holds a control character");
    if (r->is_job && !read_webhook(x, root, r))
        return false;
    struct span parts[] = {session, message, {r->webhook, r->webhook ? strlen(r->webhook) : 0}};
    r->fingerprint = hash_sha256_parts(parts, r->webhook ? 3 : 2);
    r->session_id = mem_copy(session.data, session.len);
    r->message = mem_copy(message.data, message.len);
    x->session_id = mem_copy(session.data, session.len);
    return true;
}

/* What is known of the caller is told on every answer from here on. */
static bool is_refused(struct exchange *x)
{
    const struct turn_caller caller = {.key_hash = x->has_key ? &x->key_hash : NULL,
                                       .address = x->address,
                                       .has_idempotency_key = x->has_idempotency_key};
    return turn_is_refused(x->loop->server->core, &caller, &x->err, &x->turn.quota);
}

void question_take(struct exchange *x, bool is_job, void (*finish)(struct exchange *))
{
    struct server *server = x->loop->server;
    struct turn_request r = {.answer = on_answer, .receiver = x, .is_job = is_job};
    if (is_refused(x)) {
        exchange_fail(x);
        return;
    }
    json_t *root = json_read(x->body.data ? x->body.data : "", x->body.len, &x->err);
    bool is_good = root && read_body(x, root, &r);
    json_decref(root);
    if (!is_good) {
        free(r.webhook);
        exchange_fail(x);
        return;
    }
    buf_fini(&x->body); /* not kept while the model thinks */
    r.deadline_ms = clock_mono_ms() + server->config->request_timeout;
    r.has_key = x->has_key;
    r.has_idempotency_key = x->has_idempotency_key;
    r.key_hash = x->key_hash;
    memcpy(r.address, x->address, sizeof(r.address));
    memcpy(r.request_id, x->request_id, sizeof(r.request_id));
    r.quota = x->turn.quota;
    r.idempotency_key = x->idempotency_key;
    r.traceparent = x->traceparent;
    x->idempotency_key = x->traceparent = NULL;
    exchange_wait(x, finish);
    turn_submit(server->core, &r);
}
