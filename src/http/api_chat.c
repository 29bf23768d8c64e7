#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/turn.h"
#include "http/api.h"
#include "http/exchange.h"
#include "http/server_private.h"

/* A committed answer is never cut: room for every byte written as six ("\u0001"). */
#define ANSWER_BYTES ((size_t)1 << 30)

static void on_answer(void *receiver, struct turn_reply *reply)
{
    struct exchange *x = receiver;
    x->turn = *reply;
    reply->text = reply->model = NULL;
    exchange_wake(x);
}

static bool add_usage(struct buf *out, const struct turn_reply *t)
{
    if (t->prompt_tokens < 0 || t->completion_tokens < 0)
        return buf_puts(out, ",\"usage\":null}");
    return buf_printf(out,
                      ",\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,"
                      "\"total_tokens\":%lld}}",
                      (int)t->prompt_tokens, (int)t->completion_tokens,
                      (long long)t->prompt_tokens + t->completion_tokens);
}

static void finish(struct exchange *x)
{
    const struct turn_reply *t = &x->turn;
    if (t->err.kind != ERR_NONE) {
        x->err = t->err;
        exchange_fail(x);
        return;
    }
    struct reply_body body = {.content_type = "application/json"};
    struct buf out;
    buf_init(&out, ANSWER_BYTES);
    /* One allocation for the usual answer: text that hardly needs escapes. */
    bool fits = buf_reserve(&out, t->text_len + t->text_len / 8 + 512) != NULL;
    fits = fits && buf_puts(&out, "{\"session_id\":") &&
           json_add_text(&out, x->session_id, strlen(x->session_id)) &&
           buf_printf(&out, ",\"turn\":%d,\"response\":", (int)t->turn_no) &&
           json_add_text(&out, t->text, t->text_len) && buf_puts(&out, ",\"model\":") &&
           (t->model ? json_add_text(&out, t->model, strlen(t->model)) : buf_puts(&out, "null")) &&
           add_usage(&out, t);
    assert(fits);
    body.bytes = buf_take(&out, &body.len);
    exchange_reply(x, 200, &body);
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
    struct span parts[] = {session, message};
    r->fingerprint = hash_sha256_parts(parts, COUNT_OF(parts));
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

void api_chat_post(struct exchange *x)
{
    struct server *server = x->loop->server;
    struct turn_request r = {.answer = on_answer, .receiver = x};
    if (is_refused(x)) {
        exchange_fail(x);
        return;
    }
    json_t *root = json_read(x->body.data ? x->body.data : "", x->body.len, &x->err);
    bool is_good = root && read_body(x, root, &r);
    json_decref(root);
    if (!is_good) {
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
