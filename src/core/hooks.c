#include "core/hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "db/store.h"

#define LOOK_MS 5000    /* on average, when nobody has said that something is due */
#define UNHEARD_MS 500  /* until the next look, while this worker is not registered */
#define CALL_MS 5000    /* patience with a claim */
#define ENDING_MS 20000 /* ... with writing an outcome */
#define CLAIM_MS 20000  /* a claim whose reply took longer is not used: its lease is 60 s */
#define STOP_MS 3000    /* for writing outcomes when this worker stops */
#define IDLE_MS 60000   /* all that matters wakes the loop; this is for nothing */

/* ---- calls; their ends are on a lane's thread ------------------------------------------------ */

static void on_claimed(struct call_item *item)
{
    struct hooks *h = CONTAINER_OF(item, struct hooks, claim);
    pthread_mutex_lock(&h->lock);
    h->has_claim = true;
    pthread_mutex_unlock(&h->lock);
    webhooks_wake(h->sender);
}

static void ask_claim(struct hooks *h, int most)
{
    snprintf(h->claim_most, sizeof h->claim_most, "%d", most);
    h->claimed_ms = clock_mono_ms();
    store_claim_webhooks(&h->claim, h->claim_worker, h->claim_most);
    h->claim.done = on_claimed;
    h->claim.deadline_ms = h->claimed_ms + CALL_MS;
    db_submit_call(h->o.db, &h->claim);
}

static void on_ended(struct call_item *item)
{
    struct hook *k = CONTAINER_OF(item, struct hook, ending);
    struct hooks *h = k->hooks;
    pthread_mutex_lock(&h->lock);
    k->has_ended = true;
    pthread_mutex_unlock(&h->lock);
    webhooks_wake(h->sender);
}

/* The call is filled in. */
static void submit_ending(struct hook *k)
{
    k->state = HOOK_ENDING;
    k->ending.done = on_ended;
    k->ending.deadline_ms = clock_mono_ms() + ENDING_MS;
    db_submit_call(k->hooks->o.db, &k->ending);
}

/* retry_ms below 0: never again. */
static void ask_ending(struct hook *k, bool is_delivered, int64_t retry_ms)
{
    snprintf(k->retry_ms, sizeof k->retry_ms, "%lld", (long long)retry_ms);
    const struct store_webhook_end end = {.conversation = k->conversation,
                                          .turn = k->turn,
                                          .attempts = k->attempt,
                                          .is_delivered = is_delivered ? "true" : "false",
                                          .retry_ms = retry_ms < 0 ? NULL : k->retry_ms};
    store_end_webhook(&k->ending, &end);
    submit_ending(k);
}

static void give_back(struct hook *k)
{
    store_give_back_webhook(&k->ending, k->conversation, k->turn, k->attempt);
    submit_ending(k);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* After the first attempt, the second ...; the database says after which there is no other. Up to half as
 * much again, so that those who failed together do not come back together. */
static int64_t pause_ms(int attempts)
{
    static const int64_t pauses_s[] = {5, 30, 120, 600, 3600, 14400, 43200};
    size_t place = attempts < 1 ? 0 : (size_t)attempts - 1;
    if (place >= COUNT_OF(pauses_s))
        place = COUNT_OF(pauses_s) - 1;
    int64_t pause = pauses_s[place] * 1000;
    return pause + random_below((uint32_t)(pause / 2 + 1));
}

static void on_sent(struct webhook *w)
{
    struct hook *k = CONTAINER_OF(w, struct hook, webhook);
    if (w->result != WEBHOOK_DELIVERED)
        LOG(LOG_INFO, "webhook_not_delivered", LOG_TEXT("job", k->job_id),
            LOG_INT("attempt", k->attempts), LOG_INT("status", w->status),
            LOG_TEXT("reason", w->reason));
    ask_ending(k, w->result == WEBHOOK_DELIVERED,
               w->result == WEBHOOK_GONE ? -1 : pause_ms(k->attempts));
}

static void send_hook(struct hook *k)
{
    struct err e = {.kind = ERR_NONE};
    k->webhook = (struct webhook){.done = on_sent,
                                  .id = k->job_id,
                                  .url = k->url,
                                  .body = {.data = k->body, .len = strlen(k->body)}};
    k->state = HOOK_SENDING;
    if (webhooks_send(k->hooks->sender, &k->webhook, &e))
        return;
    /* Allowed when the job came, not any more; or by another worker, whose settings differ. */
    LOG(LOG_WARN, "webhook_not_allowed", LOG_TEXT("job", k->job_id), LOG_TEXT("detail", e.detail));
    ask_ending(k, false, pause_ms(k->attempts));
}

static void free_place(struct hook *k)
{
    free(k->url);
    free(k->body);
    free(k->ending.text);
    *k = (struct hook){.hooks = k->hooks};
}

/* What a call has come to. An outcome that could not be written: the lease runs out, and it is sent again. */
static void note_outcome(const struct hook *k)
{
    const char *outcome = k->ending.text;
    if (k->ending.err.kind != ERR_NONE) {
        log_err(LOG_WARN, "webhook_outcome_not_written", &k->ending.err);
        return;
    }
    if (!outcome)
        return; /* ours no more */
    metrics_add(METRIC_WEBHOOKS, metrics_value_index(METRIC_WEBHOOKS, outcome), 1);
    if (strcmp(outcome, "given_up") == 0)
        LOG(LOG_WARN, "webhook_given_up", LOG_TEXT("job", k->job_id),
            LOG_INT("attempts", k->attempts));
}

/* ---- what was claimed ------------------------------------------------------------------------ */

static bool take_message(struct hook *k, const json_t *claim)
{
    const json_t *turn = json_object_get(claim, "turn");
    const json_t *attempts = json_object_get(claim, "attempts");
    const char *conversation = json_string_value(json_object_get(claim, "conversation"));
    const char *url = json_string_value(json_object_get(claim, "url"));
    const char *payload = json_string_value(json_object_get(claim, "payload"));
    struct uuid id;
    if (!json_is_integer(turn) || !json_is_integer(attempts) || !conversation || !url || !payload ||
        !uuid_parse(conversation, strlen(conversation), &id))
        return false;
    uuid_format(&id, k->conversation);
    k->attempts = (int)json_integer_value(attempts);
    snprintf(k->turn, sizeof k->turn, "%d", (int)json_integer_value(turn));
    snprintf(k->attempt, sizeof k->attempt, "%d", k->attempts);
    snprintf(k->job_id, sizeof k->job_id, "%s-%d", conversation, (int)json_integer_value(turn));
    k->url = mem_text(url);
    k->body = mem_text(payload);
    return true;
}

static struct hook *find_place(struct hooks *h)
{
    for (size_t i = 0; i < HOOKS_AT_ONCE; i++)
        if (h->places[i].state == HOOK_FREE)
            return &h->places[i];
    return NULL;
}

static void take_messages(struct hooks *h, const json_t *claims, bool is_stopping)
{
    for (size_t i = 0; i < json_array_size(claims); i++) {
        struct hook *k = find_place(h);
        if (!k || !take_message(k, json_array_get(claims, i)))
            LOG(LOG_ERROR, "webhook_not_understood", LOG_INT("place", (int64_t)i));
        else if (is_stopping)
            give_back(k);
        else
            send_hook(k);
    }
}

static void take_claim(struct hooks *h, bool is_stopping)
{
    struct call_item *item = &h->claim;
    int64_t now_ms = clock_mono_ms();
    bool is_late = now_ms - h->claimed_ms > CLAIM_MS;
    h->claimed_ms = 0;
    h->look_ms = now_ms + LOOK_MS / 2 + random_below(LOOK_MS);
    if (item->err.kind == ERR_WORKER_LOST) {
        h->look_ms = now_ms + UNHEARD_MS;
    } else if (item->err.kind != ERR_NONE) {
        if (item->err.kind != ERR_DB_DOWN)
            log_err(LOG_WARN, "webhooks_not_claimed", &item->err);
    } else if (item->text && !is_late) {
        struct err e = {.kind = ERR_NONE};
        json_t *all = json_read(item->text, item->text_len, &e);
        const json_t *claims = json_object_get(all, "claims");
        if (!json_is_array(claims))
            LOG(LOG_ERROR, "webhooks_not_understood", LOG_TEXT("detail", e.detail));
        else if (json_array_size(claims) > 0)
            h->look_ms = now_ms; /* there may be more */
        take_messages(h, claims, is_stopping);
        json_decref(all);
    }
    free(item->text);
    item->text = NULL;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* What others have left for this thread. */
struct hooks_news {
    bool is_stopping, is_told, has_claim;
    bool has_ended[HOOKS_AT_ONCE];
};

static void take_news(struct hooks *h, struct hooks_news *n)
{
    pthread_mutex_lock(&h->lock);
    *n = (struct hooks_news){.is_stopping = h->is_stopping,
                             .is_told = h->is_told && h->claimed_ms == 0,
                             .has_claim = h->has_claim};
    if (n->is_told)
        h->is_told = false;
    h->has_claim = false;
    for (size_t i = 0; i < HOOKS_AT_ONCE; i++)
        n->has_ended[i] = h->places[i].has_ended;
    pthread_mutex_unlock(&h->lock);
}

static int count(const struct hooks *h, enum hook_state state)
{
    int n = 0;
    for (size_t i = 0; i < HOOKS_AT_ONCE; i++)
        n += h->places[i].state == state;
    return n;
}

/* The monotonic time of the next look. */
static int64_t look(struct hooks *h)
{
    struct keeper_report report;
    int64_t now_ms = clock_mono_ms();
    int places = count(h, HOOK_FREE);
    if (h->claimed_ms != 0 || places == 0)
        return now_ms + IDLE_MS; /* the end of what is under way wakes us */
    if (now_ms < h->look_ms)
        return h->look_ms;
    keeper_tell(h->o.keeper, &report);
    if (!report.is_heard)
        return h->look_ms = now_ms + UNHEARD_MS;
    memcpy(h->claim_worker, report.worker, sizeof h->claim_worker);
    ask_claim(h, places);
    return now_ms + IDLE_MS;
}

static void read_news(struct hooks *h, const struct hooks_news *n)
{
    for (size_t i = 0; i < HOOKS_AT_ONCE; i++) {
        if (!n->has_ended[i])
            continue;
        note_outcome(&h->places[i]);
        free_place(&h->places[i]);
    }
    if (n->has_claim)
        take_claim(h, n->is_stopping);
    if (n->is_told)
        h->look_ms = 0;
}

static void break_off(struct hooks *h)
{
    for (size_t i = 0; i < HOOKS_AT_ONCE; i++) {
        struct hook *k = &h->places[i];
        if (k->state != HOOK_SENDING)
            continue;
        webhooks_abort(h->sender, &k->webhook);
        give_back(k);
    }
}

static void *run(void *arg)
{
    struct hooks *h = arg;
    struct hooks_news news;
    for (take_news(h, &news); !news.is_stopping; take_news(h, &news)) {
        read_news(h, &news);
        webhooks_run(h->sender, look(h));
    }
    int64_t until_ms = clock_mono_ms() + STOP_MS;
    read_news(h, &news);
    break_off(h);
    while ((h->claimed_ms != 0 || count(h, HOOK_ENDING) > 0) && clock_mono_ms() < until_ms) {
        webhooks_run(h->sender, until_ms);
        take_news(h, &news);
        read_news(h, &news);
    }
    return NULL;
}

/* ---- from outside ---------------------------------------------------------------------------- */

bool hooks_init(struct hooks *h, const struct hooks_options *o, struct err *e)
{
    *h = (struct hooks){.o = *o};
    for (size_t i = 0; i < HOOKS_AT_ONCE; i++)
        h->places[i].hooks = h;
    if (*o->config->webhook_hosts) {
        h->sender = webhooks_open(o->config, e);
        if (!h->sender)
            return false;
    }
    pthread_mutex_init(&h->lock, NULL);
    return true;
}

void hooks_start(struct hooks *h)
{
    if (h->sender)
        h->thread = thread_start("webhooks", run, h);
}

void hooks_wake(struct hooks *h)
{
    if (!h->sender)
        return;
    pthread_mutex_lock(&h->lock);
    h->is_told = true;
    pthread_mutex_unlock(&h->lock);
    webhooks_wake(h->sender);
}

void hooks_stop(struct hooks *h)
{
    if (!h->sender)
        return;
    pthread_mutex_lock(&h->lock);
    h->is_stopping = true;
    pthread_mutex_unlock(&h->lock);
    webhooks_wake(h->sender);
    pthread_join(h->thread, NULL);
}

void hooks_fini(struct hooks *h)
{
    for (size_t i = 0; i < HOOKS_AT_ONCE; i++)
        free_place(&h->places[i]);
    free(h->claim.text);
    webhooks_close(h->sender);
    pthread_mutex_destroy(&h->lock);
}
