#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "db/store.h"
#include "http/api.h"
#include "http/lookup.h"
#include "http/question.h"
#include "http/request.h"
#include "http/server_private.h"

#define WAIT_S_MOST 60
#define POLL_MS 1000 /* how soon to ask again, and for each place in the queue so much later */
#define POLL_PLACE_MS 10
#define POLL_MS_MOST 10000
#define QUEUED_BYTES 4096 /* a session id of 200 bytes, each written as six, and a few numbers */
#define PATH_BYTES (sizeof "/jobs/" + JOB_REF_TEXT_BYTES)

static int64_t poll_after_ms(int64_t place)
{
    int64_t room = (POLL_MS_MOST - POLL_MS) / POLL_PLACE_MS;
    return POLL_MS + POLL_PLACE_MS * (place < room ? place : room);
}

/* ---- POST ------------------------------------------------------------------------------------ */

static bool has_ended(const char *status)
{
    return strcmp(status, "queued") != 0 && strcmp(status, "running") != 0;
}

static bool add_number(struct buf *out, const char *name, int64_t value, bool is_known)
{
    return is_known ? buf_printf(out, ",\"%s\":%" PRId64, name, value)
                    : buf_printf(out, ",\"%s\":null", name);
}

static void build_queued(struct exchange *x, const char *id, struct reply_body *body)
{
    const struct turn_reply *t = &x->turn;
    struct buf out;
    buf_init(&out, QUEUED_BYTES);
    bool fits = buf_printf(&out, "{\"job_id\":\"%s\",\"session_id\":", id) &&
                json_add_text(&out, x->session_id, strlen(x->session_id)) &&
                buf_printf(&out, ",\"turn\":%d,\"status\":\"%s\"", (int)t->turn_no, t->status) &&
                add_number(&out, "position", t->position, t->position > 0) &&
                add_number(&out, "wait_ms", t->wait_ms, t->wait_ms >= 0) &&
                add_number(&out, "poll_after_ms",
                           has_ended(t->status) ? 0 : poll_after_ms(t->position), true) &&
                buf_puts(&out, "}");
    assert(fits);
    body->bytes = buf_take(&out, &body->len);
}

static void finish_queued(struct exchange *x)
{
    const struct job_ref ref = {x->turn.conversation, x->turn.turn_no};
    struct reply_body body = {.content_type = "application/json"};
    char id[JOB_REF_TEXT_BYTES], path[PATH_BYTES];
    if (x->turn.err.kind != ERR_NONE) {
        x->err = x->turn.err;
        exchange_fail(x);
        return;
    }
    assert(x->turn.is_job);
    job_ref_format(&ref, id);
    snprintf(path, sizeof(path), "/jobs/%s", id);
    build_queued(x, id, &body);
    exchange_reply(x, 202, &body);
    reply_header(x->response, "Location", path);
    if (x->prefers_async)
        reply_header(x->response, "Preference-Applied", "respond-async");
}

void api_jobs_post(struct exchange *x)
{
    question_take(x, true, finish_queued);
}

/* ---- GET, DELETE ----------------------------------------------------------------------------- */

/* What the database says begins with one of these; the rest is the job, for the client. */
static bool skip_ended(struct span *text, bool *has_ended)
{
    static const char *const heads[] = {"{\"ended\":false,", "{\"ended\":true,"};
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        size_t len = strlen(heads[i]);
        if (text->len < len || memcmp(text->data, heads[i], len) != 0)
            continue;
        *text = (struct span){text->data + len, text->len - len};
        *has_ended = i == 1;
        return true;
    }
    return false;
}

/* Where the value of a member begins. Within a string, a quote has a backslash before it: so what
 * looks like the member is it. */
static const char *value_of(const char *job, const char *member)
{
    const char *at = strstr(job, member);
    return at ? at + strlen(member) : NULL;
}

static int64_t place_of(const char *job)
{
    const char *value = value_of(job, ",\"position\":");
    return value ? strtoll(value, NULL, 10) : 0; /* null is 0 */
}

/* The last member is a code; the client is told what it means, too. */
static bool add_error(struct buf *out, const char *value)
{
    char code[64];
    int len = 0;
    if (sscanf(value, "\"%63[a-z_]\"}%n", code, &len) != 1 || len == 0)
        return buf_puts(out, value); /* null */
    return buf_printf(out, "{\"code\":\"%s\",\"detail\":\"%s\"}}", code,
                      err_info(err_from_code(code))->title);
}

static bool add_job(struct buf *out, const char *job, bool has_ended)
{
    const char *error = value_of(job, ",\"error\":");
    return error &&
           buf_printf(out, "{\"poll_after_ms\":%" PRId64 ",",
                      has_ended ? 0 : poll_after_ms(place_of(job))) &&
           buf_add(out, job, (size_t)(error - job)) && add_error(out, error);
}

static void finish(struct exchange *x)
{
    const struct call_item *item = &x->lookup->item;
    if (!lookup_is_good(x))
        return;
    struct span job = {item->text, item->text_len};
    bool has_ended;
    struct buf out;
    buf_init(&out, item->text_len + 1024);
    if (!skip_ended(&job, &has_ended) || !add_job(&out, job.data, has_ended)) {
        buf_fini(&out);
        err_set(&x->err, ERR_INTERNAL, "the database gave an answer that is not known");
        exchange_fail(x);
        return;
    }
    struct reply_body body = {.content_type = "application/json"};
    body.bytes = buf_take(&out, &body.len);
    exchange_reply(x, 200, &body);
}

static struct watch *watch_of(const struct lookup *l)
{
    return core_watch(l->exchange->loop->server->core);
}

static void on_told(struct watcher *watcher)
{
    lookup_again(CONTAINER_OF(watcher, struct lookup, watcher));
}

/* A job that ends between this look and the watch is found by the watch. */
static void on_looked(struct call_item *item)
{
    struct lookup *l = CONTAINER_OF(item, struct lookup, item);
    struct span job = {item->text, item->text_len};
    bool has_ended = true;
    if (item->err.kind == ERR_NONE && item->text && skip_ended(&job, &has_ended) && !has_ended) {
        l->watcher.told = on_told;
        watch_enter(watch_of(l), &l->watcher, &l->job, l->wait_until_ms);
    } else {
        exchange_wake(l->exchange);
    }
}

/* NULL: the path names no job; which sounds the same as a job of somebody else. */
static struct lookup *look_up_job(struct exchange *x, struct store_job *out)
{
    struct request_text want = {"the job id", JOB_REF_TEXT_BYTES - 1};
    char text[JOB_REF_TEXT_BYTES];
    struct err ignored = {.kind = ERR_NONE};
    struct lookup *l = lookup_new(x);
    if (!request_decode(x->path_rest, &want, text, &ignored) ||
        !job_ref_parse((struct span){text, strlen(text)}, &l->job)) {
        err_set(&x->err, ERR_NOT_FOUND, "%s", "");
        return NULL;
    }
    uuid_format(&l->job.conversation, l->conversation);
    snprintf(l->turn_no, sizeof(l->turn_no), "%d", (int)l->job.turn_no);
    *out = (struct store_job){
        .key_hash_hex = lookup_key(l), .conversation = l->conversation, .turn_no = l->turn_no};
    return l;
}

void api_jobs_get(struct exchange *x)
{
    struct request_number numbers[] = {{.name = "wait", .least = 1, .most = WAIT_S_MOST}};
    struct store_job job;
    struct lookup *l = look_up_job(x, &job);
    if (!l || !request_query(x->query, numbers, COUNT_OF(numbers), &x->err)) {
        exchange_fail(x);
        return;
    }
    if (numbers[0].given) {
        l->wait_until_ms = clock_mono_ms() + numbers[0].value * 1000;
        l->item.done = on_looked;
    }
    store_read_job(&l->item, &job);
    lookup_run(x, finish);
}

static void on_cancelled(struct call_item *item)
{
    struct lookup *l = CONTAINER_OF(item, struct lookup, item);
    if (item->err.kind == ERR_NONE)
        watch_tell(watch_of(l), &l->job);
    exchange_wake(l->exchange);
}

void api_jobs_delete(struct exchange *x)
{
    struct store_job job;
    struct lookup *l = look_up_job(x, &job);
    if (!l || !request_query(x->query, NULL, 0, &x->err)) {
        exchange_fail(x);
        return;
    }
    l->item.done = on_cancelled;
    store_cancel_job(&l->item, &job);
    lookup_run(x, finish);
}
