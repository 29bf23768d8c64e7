#include <string.h>

#include "base/json.h"
#include "http/api.h"
#include "http/question.h"

/* A committed answer is never cut: room for every byte written as six ("\u0001"). */
#define ANSWER_BYTES ((size_t)1 << 30)

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

void api_chat_post(struct exchange *x)
{
    if (x->prefers_async)
        api_jobs_post(x);
    else
        question_take(x, false, finish);
}
