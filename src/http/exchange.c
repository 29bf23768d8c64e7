#include "http/exchange.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "http/head.h"
#include "http/lookup.h"
#include "http/route.h"
#include "http/server_private.h"

#define STATUS_CLIENT_GONE 499 /* never sent; as nginx logs it */
#define CHUNK_LINE_BYTES                                                                           \
    2048 /* a chunk's size is a few digits; its extensions mean nothing to anyone */

struct exchange *exchange_new(struct loop *loop, struct link *link,
                              struct MHD_Connection *connection, const char *target)
{
    size_t len = strlen(target);
    struct exchange *x = mem_zero(sizeof(*x) + len + 1);
    struct uuid id = uuid_v7(clock_unix_ms());
    x->state = EXCHANGE_LINE;
    x->loop = loop;
    x->link = link;
    x->connection = connection;
    x->began_us = clock_mono_us();
    x->route = &route_none;
    x->method = "other";
    x->target_at = target;
    x->target_len = len;
    memcpy(x->target, target, len);
    uuid_format(&id, x->request_id);
    buf_init(&x->body, loop->server->body_bytes);
    return x;
}

static void count_and_log(struct exchange *x)
{
    int64_t us = clock_mono_us() - x->began_us;
    char status[12];
    snprintf(status, sizeof(status), "%d", x->status);
    metrics_add(METRIC_HTTP_REQUESTS, metrics_value_index(METRIC_HTTP_REQUESTS, status), 1);
    metrics_observe(METRIC_HTTP_SECONDS, x->route->metric, (double)us / 1e6);
    enum log_level level = x->status >= 500 ? LOG_INFO : x->route->level;
    if (!log_is_on(level))
        return;
    struct log_field fields[8];
    size_t count = 0;
    fields[count++] = LOG_TEXT("request_id", x->request_id);
    fields[count++] = LOG_TEXT("method", x->method);
    fields[count++] = LOG_TEXT("route", x->route->name);
    fields[count++] = LOG_INT("status", x->status);
    fields[count++] = LOG_INT("duration_ms", us / 1000);
    if (x->status == STATUS_CLIENT_GONE)
        fields[count++] = LOG_TEXT("code", "client_gone");
    else if (x->err.kind != ERR_NONE)
        fields[count++] = LOG_TEXT("code", err_info(x->err.kind)->code);
    if (x->turn.turn_no > 0)
        fields[count++] = LOG_INT("turn_no", x->turn.turn_no);
    log_write(level, "request", fields, count);
}

/* Ended without us: libmicrohttpd refused it with an answer of its own, or the client went away. */
static void name_the_end(struct exchange *x)
{
    const union MHD_ConnectionInfo *sent =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_HTTP_STATUS);
    x->status = sent ? (int)sent->http_status : STATUS_CLIENT_GONE;
    if (!sent || x->err.kind != ERR_NONE)
        return;
    x->err.kind = x->status == 413   ? ERR_TOO_LARGE
                  : x->status == 431 ? ERR_HEADERS_TOO_LARGE
                                     : ERR_MALFORMED;
}

void exchange_free(struct exchange *x)
{
    if (x->state < EXCHANGE_DONE) {
        name_the_end(x);
        count_and_log(x);
    }
    if (x->response)
        MHD_destroy_response(x->response);
    buf_fini(&x->body);
    free(x->idempotency_key);
    free(x->traceparent);
    free(x->session_id);
    free(x->turn.text);
    free(x->turn.model);
    lookup_free(x->lookup);
    free(x);
}

static struct reply_facts facts_of(const struct exchange *x)
{
    return (struct reply_facts){.request_id = x->request_id,
                                .quota = &x->turn.quota,
                                .allow = x->route->allow,
                                .turn_no = x->turn.turn_no,
                                .replayed = x->turn.replayed};
}

void exchange_reply(struct exchange *x, int status, const struct reply_body *body)
{
    struct reply_facts facts = facts_of(x);
    assert(!x->response);
    x->status = status;
    x->response = reply_new(&facts, body);
    x->state = EXCHANGE_READY;
}

void exchange_fail(struct exchange *x)
{
    struct reply_facts facts = facts_of(x);
    assert(!x->response && x->err.kind != ERR_NONE);
    x->status = err_info(x->err.kind)->http_status;
    x->response = reply_problem(&facts, &x->err);
    x->state = EXCHANGE_READY;
}

static enum MHD_Result hand_over(struct exchange *x)
{
    assert(x->state == EXCHANGE_READY);
    if (x->was_suspended) /* see exchange_resume */
        MHD_set_connection_option(x->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    if (x->must_close || x->loop->phase > LOOP_SERVING)
        reply_header(x->response, "Connection", "close");
    link_move(&x->loop->links, x->link, LINK_ANSWERING, x->loop->now_ms);
    enum MHD_Result queued = MHD_queue_response(x->connection, (unsigned)x->status, x->response);
    MHD_destroy_response(x->response);
    x->response = NULL;
    x->state = EXCHANGE_DONE;
    count_and_log(x);
    return queued;
}

static enum MHD_Result fail_now(struct exchange *x)
{
    x->must_close = true;
    exchange_fail(x);
    return hand_over(x);
}

/* libmicrohttpd takes no answer while a body is coming; so it is written past it, and the
 * connection closed. */
static void say_last_words(struct exchange *x)
{
    struct reply_facts facts = facts_of(x);
    struct buf out;
    buf_init(&out, 8192);
    reply_last_words(&out, &facts, &x->err);
    (void)!send(x->link->fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    buf_fini(&out);
    x->status = err_info(x->err.kind)->http_status;
    x->state = EXCHANGE_DONE;
    count_and_log(x);
}

/* Who is still sending is answered at once and read on for a while: closing with bytes unread would
 * reset the connection, and the answer might be lost with it. */
static enum MHD_Result refuse_body(struct exchange *x)
{
    say_last_words(x);
    shutdown(x->link->fd, SHUT_WR);
    x->state = EXCHANGE_DISCARDING;
    return MHD_YES;
}

static enum MHD_Result discard(struct exchange *x, size_t *len)
{
    bool is_over = *len == 0;
    x->body_seen += *len;
    *len = 0;
    return is_over || x->body_seen > LIMIT_DISCARD_BYTES ? MHD_NO : MHD_YES;
}

/* Bytes that libmicrohttpd has taken from the connection's socket since it was opened. */
static uint64_t consumed_bytes(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    int unread = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 || ioctl(fd, SIOCINQ, &unread) != 0)
        return 0;
    return info.tcpi_bytes_received - (uint64_t)unread;
}

static enum MHD_Result take_head(struct exchange *x, const struct exchange_call *call)
{
    x->state = EXCHANGE_BODY;
    if (!head_take(x, call))
        return x->is_body_coming ? refuse_body(x) : fail_now(x);
    if (x->is_chunked)
        x->consumed = consumed_bytes(x->link->fd);
    return MHD_YES;
}

static enum MHD_Result take_body(struct exchange *x, const struct exchange_call *call)
{
    x->body_seen += *call->upload_len;
    if (x->is_chunked)
        x->consumed = consumed_bytes(x->link->fd);
    if (x->body_seen > x->loop->server->body_bytes) {
        err_clear(&x->err);
        err_set(&x->err, ERR_TOO_LARGE, "the body is larger than %zu bytes",
                x->loop->server->body_bytes);
        return refuse_body(x);
    }
    if (x->err.kind == ERR_NONE && x->route->has_body)
        buf_add(&x->body, call->upload, *call->upload_len);
    *call->upload_len = 0;
    return MHD_YES;
}

static enum MHD_Result take_end(struct exchange *x)
{
    /* Once more, for its head may have come long ago: core may be gone by now. */
    if (x->err.kind == ERR_NONE && x->route->needs_core && x->loop->phase >= LOOP_REFUSING)
        err_set(&x->err, ERR_DRAINING, "this worker is stopping; another one will answer");
    if (x->err.kind != ERR_NONE)
        exchange_fail(x);
    else
        x->run(x);
    return x->state == EXCHANGE_READY ? hand_over(x) : MHD_YES;
}

enum MHD_Result exchange_step(struct exchange *x, const struct exchange_call *call)
{
    switch (x->state) {
    case EXCHANGE_LINE:
        return take_head(x, call);
    case EXCHANGE_BODY:
        return *call->upload_len > 0 ? take_body(x, call) : take_end(x);
    case EXCHANGE_READY:
        return hand_over(x);
    case EXCHANGE_WAITING:
        return MHD_YES;
    case EXCHANGE_DISCARDING:
        return discard(x, call->upload_len);
    case EXCHANGE_DONE: /* last words were said */
        break;
    }
    return MHD_NO;
}

void exchange_wait(struct exchange *x, void (*finish)(struct exchange *))
{
    x->finish = finish;
    x->state = EXCHANGE_WAITING;
    x->was_suspended = true;
    link_move(&x->loop->links, x->link, LINK_WAITING, x->loop->now_ms);
    MHD_suspend_connection(x->connection);
}

void exchange_wake(struct exchange *x)
{
    loop_post(x->loop, x);
}

void exchange_resume(struct exchange *x)
{
    assert(x->state == EXCHANGE_WAITING);
    x->finish(x);
    assert(x->state == EXCHANGE_READY);
    /* With a timeout of its own, a resumed connection is asked for its answer before its socket is
     * read. Else libmicrohttpd reads first, and drops a client that has shut down its sending
     * side. */
    MHD_set_connection_option(x->connection, MHD_CONNECTION_OPTION_TIMEOUT, 3600u);
    MHD_resume_connection(x->connection);
}

static void finish_given_up(struct exchange *x)
{
    err_set(&x->err, ERR_DRAINING,
            "this worker stopped before the answer was there; ask again "
            "with the same Idempotency-Key");
    exchange_fail(x);
}

void exchange_give_up(struct exchange *x)
{
    x->finish = finish_given_up;
    exchange_resume(x);
}

void exchange_time_out(struct exchange *x)
{
    if (x->state != EXCHANGE_LINE && x->state != EXCHANGE_BODY)
        return;
    err_clear(&x->err);
    err_set(&x->err, ERR_READ_TIMEOUT, "the request was not complete within %lld ms",
            (long long)x->loop->links.read_ms);
    say_last_words(x);
}

bool exchange_is_stuck(struct exchange *x)
{
    if (x->state != EXCHANGE_BODY || !x->is_chunked ||
        consumed_bytes(x->link->fd) < x->consumed + CHUNK_LINE_BYTES)
        return false;
    err_clear(&x->err);
    err_set(&x->err, ERR_MALFORMED, "a chunk's size line is longer than %d bytes",
            CHUNK_LINE_BYTES);
    say_last_words(x);
    return true;
}
