#include "llm/attempt.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"

#define RECEIVE_BYTES 4096     /* curl's buffer, held while a transfer runs */
#define SEND_BYTES 16384       /* curl's buffer for what is left of a large body; its least */
#define WASTE_BYTES_MOST 65536 /* headers, and the text of an error */
#define CONNECTION_LIFE_S 300L /* so that changes of names and certificates take */
#define SPARES_LEAST 64

/* ---- callbacks, all on the loop's thread ---- */

static void note_bytes(struct llm_attempt *a, size_t count)
{
    struct attempts *room = a->room;
    if (a->call->first_byte_ms == 0) {
        int64_t now_us = clock_mono_us();
        a->call->first_byte_ms = now_us / 1000;
        metrics_observe(METRIC_LLM_FIRST_BYTE_SECONDS, 0, (double)(now_us - a->begun_us) / 1e6);
    }
    int64_t now_ms = reactor_now_ms(room->reactor);
    if (a->mark_bytes == 0) {
        list_remove(&room->silent, &a->node);
    } else {
        /* A byte now and then is silence too: at least one a second since the mark moves it on. */
        a->mark_bytes += count;
        if (now_ms == a->mark_ms || (int64_t)a->mark_bytes * 1000 < now_ms - a->mark_ms)
            return;
        list_remove(&room->answering, &a->node);
    }
    list_append(&room->answering, &a->node);
    a->mark_ms = now_ms;
    a->mark_bytes = 1;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *arg)
{
    (void)bytes;
    struct llm_attempt *a = arg;
    size_t len = size * count;
    note_bytes(a, len);
    a->waste_bytes += len;
    if (a->waste_bytes > WASTE_BYTES_MOST) {
        a->is_too_large = true;
        return 0;
    }
    return len;
}

static bool is_success(long status)
{
    return status >= 200 && status <= 299;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct llm_attempt *a = arg;
    size_t len = size * count;
    note_bytes(a, len);
    if (a->status == 0)
        curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &a->status);
    if (!is_success(a->status)) {
        /* An error's text is read to its end, for the connection's sake, and thrown away. */
        a->waste_bytes += len;
        return a->waste_bytes > WASTE_BYTES_MOST ? 0 : len;
    }
    if (!buf_add(&a->answer, bytes, len)) {
        a->is_too_large = true;
        return 0;
    }
    return len;
}

/* The attempt's number is part of X-Request-Id, so that the model server and its bill can tell
 * attempts apart. */
static void write_id(struct llm_attempt *a)
{
    char number[16];
    snprintf(number, sizeof number, "-%d", (int)a->call->attempts);
    buf_reset(&a->id_line);
    wire_header(&a->id_line, "X-Request-Id", a->call->request_id ? a->call->request_id : "");
    buf_puts(&a->id_line, number);
    a->id_header.data = a->id_line.data;
}

/* Just before the request goes out on a connection. curl itself sends it again, up to five times,
 * when a connection kept from before turns out to be dead; we count that as an attempt of its own,
 * and allow it once. */
static int on_send(void *arg, char *to_ip, char *from_ip, int to_port, int from_port)
{
    (void)to_ip;
    (void)from_ip;
    (void)to_port;
    (void)from_port;
    struct llm_attempt *a = arg;
    if (clock_mono_ms() >= a->until_ms) {
        /* This process was stopped for a while, or its machine was: somebody else may have the
         * permit by now. */
        a->is_too_late = true;
        return CURL_PREREQFUNC_ABORT;
    }
    if (a->names_number && a->names_number == a->room->names_number)
        a->room->are_names_loaded = true;
    if (a->sent++ == 0)
        return CURL_PREREQFUNC_OK;
    if (a->had_dead_connection || a->call->attempts >= LIMIT_LLM_ATTEMPTS)
        return CURL_PREREQFUNC_ABORT;
    a->had_dead_connection = true;
    metrics_add(METRIC_LLM_CALLS, ATTEMPT_CUT, 1);
    metrics_add(METRIC_LLM_RETRIES, 0, 1);
    a->call->attempts++;
    write_id(a);
    return CURL_PREREQFUNC_OK;
}

/* ---- handles ---- */

void attempts_prepare(const struct attempts *room, CURL *easy)
{
    const char *scheme = room->target.is_tls ? "https" : "http";
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, scheme);
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, scheme); /* curl refuses an empty list */
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    reactor_prepare(room->reactor, easy);
}

static void set_fixed_options(struct llm_attempt *a)
{
    const struct attempts *room = a->room;
    CURL *easy = a->easy;
    attempts_prepare(room, easy);
    curl_easy_setopt(easy, CURLOPT_URL, room->target.url);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, CONNECTION_LIFE_S);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BYTES);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)room->config->llm_connect_timeout);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, a);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, a);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, a);
}

static struct llm_attempt *make_attempt(struct attempts *room)
{
    struct llm_attempt *a = mem_zero(sizeof(*a));
    a->room = room;
    a->easy = curl_easy_init();
    if (!a->easy)
        abort(); /* out of memory, as in base/mem */
    buf_init(&a->answer, (size_t)room->config->llm_answer_bytes);
    buf_init(&a->id_line, WIRE_HEADER_BYTES);
    buf_init(&a->trace_line, WIRE_HEADER_BYTES);
    set_fixed_options(a);
    return a;
}

static void free_attempt(struct llm_attempt *a)
{
    curl_easy_cleanup(a->easy);
    buf_fini(&a->answer);
    buf_fini(&a->id_line);
    buf_fini(&a->trace_line);
    free(a);
}

struct llm_attempt *attempt_take(struct attempts *room, struct llm_call *call)
{
    struct list_node *n = list_take_first(&room->spare);
    struct llm_attempt *a = n ? CONTAINER_OF(n, struct llm_attempt, node) : make_attempt(room);
    a->call = call;
    a->had_dead_connection = false;
    a->code = CURLE_OK;
    a->status = 0;
    return a;
}

void attempt_return(struct llm_attempt *a)
{
    struct attempts *room = a->room;
    a->call = NULL;
    /* As many spares as are in flight: after a rush they go, one with each call that ends. */
    if (room->spare.count >= SPARES_LEAST &&
        room->spare.count >= room->silent.count + room->answering.count)
        free_attempt(a);
    else
        list_append(&room->spare, &a->node);
}

/* ---- what they share ---- */

bool attempts_init(struct attempts *room, const struct reactor_events *events, struct err *e)
{
    list_init(&room->silent);
    list_init(&room->answering);
    list_init(&room->spare);
    for (int i = 0; i < 2; i++)
        buf_init(&room->names_line[i], NAMES_LINE_BYTES);
    if (!wire_target_init(&room->target, room->server, e))
        return false;
    room->reactor = reactor_open(events, room->target.is_tls, e);
    if (!room->reactor) {
        wire_target_fini(&room->target);
        return false;
    }
    room->names = names_open(room->target.host, room->target.port);
    return true;
}

void attempts_fini(struct attempts *room)
{
    struct list_node *n;
    assert(room->silent.count == 0 && room->answering.count == 0);
    while ((n = list_take_first(&room->spare)))
        free_attempt(CONTAINER_OF(n, struct llm_attempt, node));
    names_close(room->names);
    reactor_close(room->reactor);
    wire_target_fini(&room->target);
    for (int i = 0; i < 2; i++)
        buf_fini(&room->names_line[i]);
}

/* The list that the next attempt has to carry, if any. */
struct curl_slist *attempts_names(struct attempts *room)
{
    unsigned other = 1 - room->names_place;
    if (names_take(room->names, &room->names_number, &room->names_line[other])) {
        room->names_place = other;
        room->names_list[other] = (struct curl_slist){.data = room->names_line[other].data};
        room->are_names_loaded = false;
    }
    bool is_due = room->names_number > 0 && !room->are_names_loaded;
    return is_due ? &room->names_list[room->names_place] : NULL;
}

/* ---- one attempt ---- */

void attempt_begin(struct llm_attempt *a)
{
    struct attempts *room = a->room;
    struct llm_call *call = a->call;
    call->attempts++;
    a->begun_us = clock_mono_us();
    a->mark_ms = reactor_now_ms(room->reactor);
    a->mark_bytes = a->waste_bytes = 0;
    a->code = CURLE_OK;
    a->status = 0;
    a->sent = 0;
    a->is_too_large = a->is_too_late = false;

    write_id(a);
    a->id_header.next = room->target.headers;
    if (call->traceparent) {
        buf_reset(&a->trace_line);
        wire_header(&a->trace_line, "traceparent", call->traceparent);
        a->trace_header =
            (struct curl_slist){.data = a->trace_line.data, .next = room->target.headers};
        a->id_header.next = &a->trace_header;
    }
    int64_t left_ms = a->until_ms - a->begun_us / 1000;
    curl_easy_setopt(a->easy, CURLOPT_HTTPHEADER, &a->id_header);
    curl_easy_setopt(a->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
    curl_easy_setopt(a->easy, CURLOPT_POSTFIELDS, call->body);
    curl_easy_setopt(a->easy, CURLOPT_TIMEOUT_MS, left_ms > 1 ? (long)left_ms : 1L);
    if (room->names) {
        struct curl_slist *names = attempts_names(room);
        curl_easy_setopt(a->easy, CURLOPT_RESOLVE, names);
        a->names_number = names ? room->names_number : 0;
    }
    list_append(&room->silent, &a->node);
    a->shard = reactor_add(room->reactor, a->easy);
}

static void leave_lists(struct llm_attempt *a)
{
    list_remove(a->mark_bytes ? &a->room->answering : &a->room->silent, &a->node);
}

static bool take_answer(struct llm_attempt *a, struct err *e)
{
    struct llm_call *call = a->call;
    struct wire_answer answer;
    if (!wire_read_answer(a->answer.data, a->answer.len, &answer, e))
        return false;
    call->text = answer.text;
    call->text_len = answer.text_len;
    call->model = answer.model;
    call->prompt_tokens = answer.prompt_tokens;
    call->completion_tokens = answer.completion_tokens;
    return true;
}

static enum attempt_result judge_status(const struct llm_attempt *a, struct err *e)
{
    err_set(e, ERR_MODEL_FAILED, "the model server answered with status %ld", a->status);
    if (a->status == 429)
        return ATTEMPT_HTTP_429;
    return a->status >= 500 ? ATTEMPT_HTTP_5XX : ATTEMPT_REJECTED;
}

static enum attempt_result judge_failure(struct llm_attempt *a, struct err *e)
{
    if (a->is_too_late) {
        err_set(e, ERR_MODEL_TIMEOUT, "no time was left to call the model");
        return ATTEMPT_TIMEOUT;
    }
    switch (a->code) {
    case CURLE_OPERATION_TIMEDOUT:
        if (a->sent > 0 || clock_mono_ms() >= a->until_ms) {
            err_set(e, ERR_MODEL_TIMEOUT, "the model did not finish in time");
            return ATTEMPT_TIMEOUT;
        }
        /* fall through */
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        err_set(e, ERR_MODEL_FAILED, "no connection to the model server");
        return ATTEMPT_CONNECT;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_ABORTED_BY_CALLBACK:
        err_set(e, ERR_MODEL_FAILED, "the model server broke off its answer");
        return ATTEMPT_CUT;
    default:
        err_set(e, ERR_MODEL_FAILED, "the model server does not speak HTTP as it should");
        return ATTEMPT_GARBAGE;
    }
}

static enum attempt_result judge(struct llm_attempt *a, struct err *e)
{
    if (a->is_too_large) {
        err_set(e, ERR_MODEL_FAILED, "the model's answer is too large");
        return ATTEMPT_TOO_LARGE;
    }
    curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &a->status);
    if (a->status != 0 && !is_success(a->status) && a->status >= 200)
        return judge_status(a, e); /* whatever became of the error's text */
    if (a->code != CURLE_OK)
        return judge_failure(a, e);
    return take_answer(a, e) ? ATTEMPT_OK : ATTEMPT_GARBAGE;
}

static void count(const struct llm_attempt *a, enum attempt_result result)
{
    metrics_add(METRIC_LLM_CALLS, result, 1);
    metrics_observe(METRIC_LLM_SECONDS, 0, (double)(clock_mono_us() - a->begun_us) / 1e6);
}

static void drop_answer(struct llm_attempt *a)
{
    size_t max_bytes = a->answer.max;
    buf_fini(&a->answer);
    buf_init(&a->answer, max_bytes);
}

enum attempt_result attempt_end(struct llm_attempt *a, CURLcode code, struct err *e)
{
    leave_lists(a);
    a->code = code;
    enum attempt_result result = judge(a, e);
    count(a, result);
    drop_answer(a);
    return result;
}

void attempt_give_up(struct llm_attempt *a, enum attempt_result result)
{
    leave_lists(a);
    a->code = result == ATTEMPT_TIMEOUT ? CURLE_OPERATION_TIMEDOUT : CURLE_ABORTED_BY_CALLBACK;
    reactor_remove(a->room->reactor, a->easy, a->shard);
    count(a, result);
    drop_answer(a);
}

/* Half of what a call has that did not wait for its permit. */
bool attempt_had_fair_time(const struct llm_attempt *a)
{
    const struct config *c = a->room->config;
    int64_t usual_ms = c->llm_first_byte_timeout;
    if (c->llm_total_timeout < usual_ms)
        usual_ms = c->llm_total_timeout;
    if (c->request_timeout < usual_ms)
        usual_ms = c->request_timeout;
    return !a->is_too_late && a->until_ms - a->begun_us / 1000 >= usual_ms / 2;
}

bool attempt_met_dead_connection(struct llm_attempt *a)
{
    long opened = 0;
    curl_easy_getinfo(a->easy, CURLINFO_NUM_CONNECTS, &opened);
    if (a->had_dead_connection || opened > 0 || a->mark_bytes > 0)
        return false;
    a->had_dead_connection = true;
    return true;
}
