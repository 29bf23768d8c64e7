#include "http/reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

#define PROBLEM_BYTES 4096
#define DAY_S 86400

void reply_header(struct MHD_Response *r, const char *name, const char *value)
{
    /* Refused only for what we would never send: an empty value, CR or LF. */
    enum MHD_Result added = MHD_add_response_header(r, name, value);
    assert(added == MHD_YES);
}

void reply_duration(int64_t ms, char out[REPLY_DURATION_BYTES])
{
    if (ms < 0)
        ms = 0;
    int64_t seconds = ms / 1000, minutes = seconds / 60, hours = minutes / 60;
    char fraction[8] = "";
    if (ms % 1000 > 0) {
        snprintf(fraction, sizeof(fraction), ".%03d", (int)(ms % 1000));
        for (char *end = fraction + 3; *end == '0'; end--)
            *end = 0;
    }
    if (ms > 0 && ms < 1000)
        snprintf(out, REPLY_DURATION_BYTES, "%dms", (int)ms);
    else if (hours > 0)
        snprintf(out, REPLY_DURATION_BYTES, "%" PRId64 "h%dm%d%ss", hours, (int)(minutes % 60),
                 (int)(seconds % 60), fraction);
    else if (minutes > 0)
        snprintf(out, REPLY_DURATION_BYTES, "%dm%d%ss", (int)minutes, (int)(seconds % 60),
                 fraction);
    else
        snprintf(out, REPLY_DURATION_BYTES, "%d%ss", (int)seconds, fraction);
}

int64_t reply_seconds(int64_t ms)
{
    int64_t seconds = ms / 1000 + (ms % 1000 > 0);
    return seconds < 1 ? 1 : seconds;
}

/* The policy's name as a structured-field string (RFC 8941, 3.3.3). */
static void quote(const char *text, char out[80])
{
    size_t len = 0;
    out[len++] = '"';
    for (; *text && len < 76; text++) {
        if (*text < 0x20 || *text > 0x7e)
            continue;
        if (*text == '"' || *text == '\\')
            out[len++] = '\\';
        out[len++] = *text;
    }
    out[len++] = '"';
    out[len] = 0;
}

/* One item of each list: `"name";q=…;w=…` and `"name";r=…;t=…`. */
struct quota_item {
    const char *policy, *suffix;
    int64_t limit, window_s, remaining, reset_ms;
};

static size_t quota_items(const struct quota *q, struct quota_item out[2])
{
    size_t count = 0;
    if (q->policy[0] && q->limit > 0)
        out[count++] =
            (struct quota_item){q->policy, "", q->limit, q->window_s, q->remaining, q->reset_ms};
    if (q->policy[0] && q->tokens_limit > 0)
        out[count++] = (struct quota_item){q->policy, "-tokens",           q->tokens_limit,
                                           DAY_S,     q->tokens_remaining, q->tokens_reset_ms};
    return count;
}

static void add_item(struct buf *out, const struct quota_item *item, bool is_state)
{
    char name[80];
    char text[48];
    snprintf(text, sizeof(text), "%s%s", item->policy, item->suffix);
    quote(text, name);
    if (out->len > 0)
        buf_puts(out, ", ");
    if (is_state)
        buf_printf(out, "%s;r=%" PRId64 ";t=%" PRId64, name, item->remaining,
                   item->reset_ms > 0 ? reply_seconds(item->reset_ms) : 0);
    else
        buf_printf(out, "%s;q=%" PRId64 ";w=%" PRId64, name, item->limit, item->window_s);
}

static void write_quota(const struct quota *q, bool is_state, char out[REPLY_QUOTA_BYTES])
{
    struct quota_item items[2];
    size_t count = quota_items(q, items);
    struct buf text;
    buf_init(&text, REPLY_QUOTA_BYTES - 1);
    for (size_t i = 0; i < count; i++)
        add_item(&text, &items[i], is_state);
    assert(!text.overflowed);
    memcpy(out, text.data ? text.data : "", text.len);
    out[text.len] = 0;
    buf_fini(&text);
}

void reply_quota_policy(const struct quota *q, char out[REPLY_QUOTA_BYTES])
{
    write_quota(q, false, out);
}

void reply_quota_state(const struct quota *q, char out[REPLY_QUOTA_BYTES])
{
    write_quota(q, true, out);
}

/* As OpenAI names them. */
static void add_plain_quota(struct MHD_Response *r, const struct quota_item *item)
{
    static const char *const names[2][3] = {
        {"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
         "x-ratelimit-reset-requests"},
        {"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"}};
    const char *const *name = names[item->suffix[0] != 0];
    char text[REPLY_DURATION_BYTES];
    snprintf(text, sizeof(text), "%" PRId64, item->limit);
    reply_header(r, name[0], text);
    snprintf(text, sizeof(text), "%" PRId64, item->remaining);
    reply_header(r, name[1], text);
    reply_duration(item->reset_ms, text);
    reply_header(r, name[2], text);
}

static void add_quota(struct MHD_Response *r, const struct quota *q)
{
    char text[REPLY_QUOTA_BYTES];
    struct quota_item items[2];
    size_t count = quota_items(q, items);
    if (count == 0)
        return;
    reply_quota_policy(q, text);
    reply_header(r, "RateLimit-Policy", text);
    reply_quota_state(q, text);
    reply_header(r, "RateLimit", text);
    for (size_t i = 0; i < count; i++)
        add_plain_quota(r, &items[i]);
}

struct MHD_Response *reply_new(const struct reply_facts *f, const struct reply_body *body)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(body->len, body->bytes, MHD_RESPMEM_MUST_FREE);
    assert(r);
    reply_header(r, "Content-Type", body->content_type);
    reply_header(r, "Cache-Control", "no-store");
    reply_header(r, "X-Request-Id", f->request_id);
    if (f->quota)
        add_quota(r, f->quota);
    if (f->replayed)
        reply_header(r, "Idempotent-Replayed", "true");
    return r;
}

/* The words OpenAI's clients look for in error.type. */
static const char *openai_type(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 429:
        return "rate_limit_error";
    default:
        return status < 500 ? "invalid_request_error" : "server_error";
    }
}

static void add_problem(struct buf *out, const struct reply_facts *f, const struct err *e)
{
    const struct err_info *info = err_info(e->kind);
    const char *detail = e->detail;
    if (!detail[0] || !utf8_is_valid(detail, strlen(detail))) /* a cut may have split a character */
        detail = info->title;
    buf_printf(out,
               "{\"type\":\"urn:hansard:problem:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":",
               info->code, info->title, info->http_status);
    json_add_text(out, detail, strlen(detail));
    buf_printf(out, ",\"code\":\"%s\",\"request_id\":\"%s\"", info->code, f->request_id);
    if (f->turn_no > 0)
        buf_printf(out, ",\"turn\":%d", (int)f->turn_no);
    buf_puts(out, ",\"error\":{\"message\":");
    json_add_text(out, detail, strlen(detail));
    buf_printf(out, ",\"type\":\"%s\",\"code\":\"%s\"}}", openai_type(info->http_status),
               info->code);
    assert(!out->overflowed);
}

struct MHD_Response *reply_problem(const struct reply_facts *f, const struct err *e)
{
    const struct err_info *info = err_info(e->kind);
    struct reply_body body = {.content_type = "application/problem+json"};
    struct buf text;
    buf_init(&text, PROBLEM_BYTES);
    add_problem(&text, f, e);
    body.bytes = buf_take(&text, &body.len);
    struct MHD_Response *r = reply_new(f, &body);
    if (e->retry_after_ms > 0 || info->http_status == 429 || info->http_status == 503) {
        char seconds[24];
        snprintf(seconds, sizeof(seconds), "%" PRId64, reply_seconds(e->retry_after_ms));
        reply_header(r, "Retry-After", seconds);
    }
    if (info->http_status == 401)
        reply_header(r, "WWW-Authenticate", "Bearer");
    if (info->http_status == 405 && f->allow)
        reply_header(r, "Allow", f->allow);
    return r;
}

void reply_last_words(struct buf *out, const struct reply_facts *f, const struct err *e)
{
    int status = err_info(e->kind)->http_status;
    const char *reason = status == 413   ? "Content Too Large"
                         : status == 408 ? "Request Timeout"
                                         : "Bad Request";
    struct buf body;
    buf_init(&body, PROBLEM_BYTES);
    add_problem(&body, f, e);
    buf_printf(out,
               "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
               "Cache-Control: no-store\r\nX-Request-Id: %s\r\nContent-Length: %zu\r\n\r\n",
               status, reason, f->request_id, body.len);
    buf_add(out, body.data, body.len);
    buf_fini(&body);
    assert(!out->overflowed);
}
