#include "demo/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo/answer.h"
#include "demo/stats.h"
#include "demo/timer.h"

#define BODY_MAX 67108864
#define STREAM_BLOCK 16384

enum route { ROUTE_CHAT, ROUTE_MODELS, ROUTE_STATS, ROUTE_STATS_LAST, ROUTE_STATS_RESET };
enum stage { STAGE_READING, STAGE_DELAYED };

static const struct {
    const char *method;
    const char *url;
} routes[] = {
    [ROUTE_CHAT] = {"POST", "/v1/chat/completions"},
    [ROUTE_MODELS] = {"GET", "/v1/models"},
    [ROUTE_STATS] = {"GET", "/stats"},
    [ROUTE_STATS_LAST] = {"GET", "/stats/last"},
    [ROUTE_STATS_RESET] = {"POST", "/stats/reset"},
};

struct call {
    struct timer_wait wait;
    enum stage stage;
    bool counted; /* in stats, and not left yet */
    bool stream;
    bool too_large;
    char *body;
    size_t len, room;
    struct script script;
    struct answer answer;
    /* What the content reader gives out: the whole JSON text, or the event at hand. */
    char *out;
    size_t out_len, out_sent;
    int64_t events, tokens; /* given out */
    int64_t begun_ms;       /* of the answer, after the delay */
};

static void leave(struct call *c, bool client_left)
{
    if (c->counted)
        stats_leave(client_left);
    c->counted = false;
}

static void wait_until(struct call *c, struct MHD_Connection *connection, int64_t due_ms)
{
    c->wait.connection = connection;
    c->wait.due_ms = due_ms;
    MHD_suspend_connection(connection);
    timer_wait(&c->wait); /* may resume before it returns */
}

/* Sends text, which is freed. */
static enum MHD_Result reply(struct MHD_Connection *connection, unsigned status, char *text,
                             size_t len)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
    if (r == NULL)
        abort();
    MHD_add_response_header(r, "Content-Type", "application/json");
    enum MHD_Result result = MHD_queue_response(connection, status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result reply_error(struct MHD_Connection *connection, unsigned status,
                                   const char *message, const struct script *script)
{
    char *text = NULL;
    int len = asprintf(&text, "{\"error\":{\"message\":\"%s\",\"type\":\"demo\",\"code\":%u}}\n",
                       message, status);
    if (len < 0)
        abort();
    struct MHD_Response *r =
        MHD_create_response_from_buffer((size_t)len, text, MHD_RESPMEM_MUST_FREE);
    if (r == NULL)
        abort();
    MHD_add_response_header(r, "Content-Type", "application/json");
    if (script != NULL && script->retry_after[0] != '\0')
        MHD_add_response_header(r, "Retry-After", script->retry_after);
    if (script != NULL && script->redirect[0] != '\0')
        MHD_add_response_header(r, "Location", script->redirect);
    enum MHD_Result result = MHD_queue_response(connection, status, r);
    MHD_destroy_response(r);
    return result;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static int64_t token_due_ms(const struct call *c)
{
    return c->begun_ms + c->tokens * 1000 / c->script.tokens_per_second;
}

/* Is the next event a token whose time has not come? */
static bool is_early(const struct call *c)
{
    return c->script.tokens_per_second > 0 && c->answer.sent < c->answer.len &&
           token_due_ms(c) > timer_now_ms() && !timer_is_hurried();
}

/* Makes the next event the one at hand. false: none now, and *result is what to tell MHD. */
static bool next_event(struct call *c, ssize_t *result)
{
    const struct script *s = &c->script;
    bool token, stalls = s->stall >= 0 && c->tokens >= s->stall;
    if ((s->cut >= 0 && c->events >= s->cut) || (stalls && timer_is_hurried())) {
        *result = MHD_CONTENT_READER_END_WITH_ERROR;
        return false;
    }
    if (stalls || is_early(c)) {
        c->wait.due_ms = stalls ? TIMER_FOREVER : token_due_ms(c);
        *result = 0;
        return false;
    }
    c->out_len = answer_event(&c->answer, c->out, &token);
    c->out_sent = 0;
    c->events++;
    c->tokens += token;
    *result = MHD_CONTENT_READER_END_OF_STREAM;
    return c->out_len > 0;
}

static ssize_t read_stream(void *request, uint64_t position, char *buffer, size_t room)
{
    struct call *c = request;
    size_t filled = 0;
    ssize_t result;
    (void)position;
    if (c->wait.hung_up) {
        leave(c, true);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    while (filled < room) {
        if (c->out_sent == c->out_len) {
            if (next_event(c, &result))
                continue;
            if (filled > 0)
                break; /* first what there is; we shall be asked again */
            if (result == 0)
                wait_until(c, c->wait.connection, c->wait.due_ms);
            else
                leave(c, false);
            return result;
        }
        size_t part =
            c->out_len - c->out_sent < room - filled ? c->out_len - c->out_sent : room - filled;
        memcpy(buffer + filled, c->out + c->out_sent, part);
        c->out_sent += part;
        filled += part;
    }
    /* Counted out before the last bytes go: the client may call again the moment it has them. */
    if (c->out_sent == c->out_len && answer_is_over(&c->answer))
        leave(c, false);
    return (ssize_t)filled;
}

/* The JSON text of a call that is to stall half-way or to be cut. */
static ssize_t read_broken(void *request, uint64_t position, char *buffer, size_t room)
{
    struct call *c = request;
    size_t most = c->script.cut >= 0 ? (size_t)c->script.cut : c->out_len / 2;
    if (position < most) {
        size_t part = most - position < room ? most - position : room;
        part = c->out_len - position < part ? c->out_len - position : part;
        memcpy(buffer, c->out + position, part);
        return (ssize_t)part;
    }
    if (c->script.cut >= 0 || c->wait.hung_up || timer_is_hurried()) {
        leave(c, c->wait.hung_up);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    wait_until(c, c->wait.connection, TIMER_FOREVER);
    return 0;
}

static enum MHD_Result reply_read(struct call *c, struct MHD_Connection *connection, uint64_t size,
                                  MHD_ContentReaderCallback reader)
{
    struct MHD_Response *r = MHD_create_response_from_callback(size, STREAM_BLOCK, reader, c, NULL);
    if (r == NULL)
        abort();
    MHD_add_response_header(r, "Content-Type",
                            c->stream ? "text/event-stream" : "application/json");
    if (c->stream)
        MHD_add_response_header(r, "Cache-Control", "no-cache");
    c->wait.connection = connection;
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result answer(struct call *c, struct MHD_Connection *connection)
{
    const struct script *s = &c->script;
    if (c->wait.hung_up) {
        leave(c, true);
        return MHD_NO;
    }
    if (s->redirect[0] != '\0' || s->status >= 0) {
        leave(c, false);
        return reply_error(connection, s->redirect[0] != '\0' ? 302 : (unsigned)s->status,
                           "asked for by the last message", s);
    }
    if (s->cut == 0) {
        leave(c, false);
        return MHD_NO;
    }
    if (c->stream) {
        c->out = malloc(ANSWER_EVENT_BYTES);
        if (c->out == NULL)
            abort();
        c->begun_ms = timer_now_ms();
        return reply_read(c, connection, MHD_SIZE_UNKNOWN, read_stream);
    }
    size_t len;
    char *text = answer_json(&c->answer, &len);
    if (s->cut > 0 || s->stall >= 0) {
        c->out = text;
        c->out_len = len;
        return reply_read(c, connection, len, read_broken);
    }
    leave(c, false);
    return reply(connection, MHD_HTTP_OK, text, len);
}

/* ---- the request ----------------------------------------------------------------------------- */

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* Counts the call, reads its script and makes its answer; the body is needed no more. */
static void prepare(struct call *c, struct MHD_Connection *connection, const struct scan *scan)
{
    struct span last = scan->last_content;
    char *unescaped = NULL;
    if (memchr(last.data, '\\', last.len) != NULL) {
        unescaped = malloc(last.len);
        if (unescaped == NULL)
            abort();
        last = (struct span){unescaped, scan_unescape(last, unescaped)};
    }
    struct stats_call seen = {
        .scan = scan,
        .messages_hash = stats_hash(scan->messages),
        .last_content = last,
        .traceparent = header(connection, "traceparent"),
        .authorization = header(connection, "Authorization"),
        .idempotency_key = header(connection, "Idempotency-Key"),
    };
    unsigned before = stats_enter(&seen);
    c->counted = true;
    c->stream = scan->stream;
    script_read(last, &c->script);
    if (c->script.status_times >= 0 && before >= c->script.status_times)
        c->script.status = -1;
    answer_init(&c->answer, seen.messages_hash, scan, &c->script);
    free(unescaped);
    free(c->body);
    c->body = NULL;
}

static enum MHD_Result chat(struct call *c, struct MHD_Connection *connection)
{
    struct scan scan;
    const char *why;
    if (c->stage == STAGE_DELAYED)
        return answer(c, connection);
    if (c->too_large)
        return reply_error(connection, MHD_HTTP_CONTENT_TOO_LARGE, "body too large", NULL);
    if (!scan_body(c->body != NULL ? c->body : "", c->len, &scan, &why))
        return reply_error(connection, MHD_HTTP_BAD_REQUEST, why, NULL);
    prepare(c, connection, &scan);

    int64_t delay_ms = c->script.delay_ms > 0 ? c->script.delay_ms : 0;
    if (!c->stream && c->script.tokens_per_second > 0)
        delay_ms += (int64_t)c->answer.tokens * 1000 / c->script.tokens_per_second;
    if (delay_ms == 0)
        return answer(c, connection);
    c->stage = STAGE_DELAYED;
    wait_until(c, connection, timer_now_ms() + delay_ms);
    return MHD_YES;
}

static char *models_json(size_t *len)
{
    static const char models[] =
        "{\"object\":\"list\",\"data\":[{\"id\":\"demo\",\"object\":\"model\","
        "\"created\":1700000000,\"owned_by\":\"demo-llm\"}]}\n";
    char *text = strdup(models);
    if (text == NULL)
        abort();
    *len = sizeof models - 1;
    return text;
}

static enum MHD_Result route(struct call *c, struct MHD_Connection *connection, const char *url,
                             const char *method)
{
    bool url_known = false;
    size_t len = 0;
    char *text = NULL;
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        if (strcmp(url, routes[i].url) != 0)
            continue;
        url_known = true;
        if (strcmp(method, routes[i].method) != 0)
            continue;
        switch ((enum route)i) {
        case ROUTE_CHAT:
            return chat(c, connection);
        case ROUTE_MODELS:
            text = models_json(&len);
            break;
        case ROUTE_STATS_RESET:
            stats_reset();
            /* fall through */
        case ROUTE_STATS:
            text = stats_json(&len);
            break;
        case ROUTE_STATS_LAST:
            text = stats_last_json(&len);
            break;
        }
        return reply(connection, MHD_HTTP_OK, text, len);
    }
    if (url_known)
        return reply_error(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed", NULL);
    return reply_error(connection, MHD_HTTP_NOT_FOUND, "no such path", NULL);
}

static void keep_body(struct call *c, const char *upload, size_t len)
{
    if (c->too_large || c->len + len > BODY_MAX) {
        c->too_large = true;
        return;
    }
    if (c->len + len > c->room) {
        c->room = c->len + len > 2 * c->room ? c->len + len : 2 * c->room;
        c->body = realloc(c->body, c->room);
        if (c->body == NULL)
            abort();
    }
    memcpy(c->body + c->len, upload, len);
    c->len += len;
}

static struct call *call_new(struct MHD_Connection *connection)
{
    struct call *c = calloc(1, sizeof *c);
    if (c == NULL)
        abort();
    const char *length = header(connection, "Content-Length");
    unsigned long long room = length != NULL ? strtoull(length, NULL, 10) : 0;
    c->room = room <= BODY_MAX ? (size_t)room : 0;
    if (c->room > 0 && (c->body = malloc(c->room)) == NULL)
        abort();
    return c;
}

enum MHD_Result call_handle(void *unused, struct MHD_Connection *connection, const char *url,
                            const char *method, const char *version, const char *upload,
                            size_t *upload_len, void **request)
{
    (void)unused;
    (void)version;
    struct call *c = *request;
    if (c == NULL) {
        *request = call_new(connection);
        return MHD_YES;
    }
    if (*upload_len > 0) {
        keep_body(c, upload, *upload_len);
        *upload_len = 0;
        return MHD_YES;
    }
    return route(c, connection, url, method);
}

void call_completed(void *unused, struct MHD_Connection *connection, void **request,
                    enum MHD_RequestTerminationCode why)
{
    (void)unused;
    (void)connection;
    (void)why;
    struct call *c = *request;
    if (c == NULL)
        return;
    leave(c, true);
    answer_fini(&c->answer);
    free(c->out);
    free(c->body);
    free(c);
    *request = NULL;
}
