#include "core/keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "base/version.h"
#include "db/store.h"

#define HEARTBEAT_MS 2000
#define TRADE_MS 500 /* while permits have to move between workers */
#define LEASE_MS                                                                                   \
    6000             /* from before a heartbeat was sent: so long calls may begin without another */
#define CALL_MS 5000 /* patience with one call */
#define UNHEARD_MS 7000 /* since the last heartbeat: the database counts as away */
#define REAPING_MS 1000
/* Who was heard without a gap for so long may bury others: after the database was away, all are silent, and
 * whoever lives has been heard again by then. */
#define UNBROKEN_MS 6000
#define GAP_MS 5000
#define PARTITIONS_MS (24LL * 3600 * 1000)
#define SWEEP_MS 10000
#define SWEEP_ROWS "2000"
#define SWEEP_PAGE_MS 100 /* until the next page */
#define ERASING_MS 15000  /* until the next look for what was left half-way */
#define ERASING_STEP_MS 100
#define AGAIN_MS 500 /* after a failure */
#define WALK_MS (50LL * 60 * 1000)
#define WALK_JITTER_MS (20 * 60 * 1000)
#define WALK_STEP_MS 100    /* until the next step */
#define WALK_BUSY_MS 1000   /* when tables were busy */
#define WALK_AGAIN_MS 60000 /* when somebody else walks, or after a failure */
#define WALK_CONVERSATIONS 200

/* ---- duties ---------------------------------------------------------------------------------- */

static bool may_bury_locked(const struct keeper *k)
{
    int64_t now_ms = clock_mono_ms();
    return k->unbroken_ms > 0 && now_ms - k->heard_ms <= GAP_MS &&
           now_ms - k->unbroken_ms >= UNBROKEN_MS;
}

static void on_time(struct timer *timer)
{
    struct keeper_duty *d = CONTAINER_OF(timer, struct keeper_duty, timer);
    struct keeper *k = d->keeper;
    pthread_mutex_lock(&k->lock);
    bool go = !k->is_stopping && (d != &k->reaping || may_bury_locked(k));
    d->is_asked = go;
    if (!go && !k->is_stopping)
        timer_start(k->timers, &d->timer, clock_mono_ms() + REAPING_MS);
    pthread_mutex_unlock(&k->lock);
    if (!go)
        return;
    d->ask(&d->item, k);
    d->item.deadline_ms = clock_mono_ms() + CALL_MS;
    db_submit_call(k->db, &d->item);
}

static void on_done(struct call_item *item)
{
    struct keeper_duty *d = CONTAINER_OF(item, struct keeper_duty, item);
    struct keeper *k = d->keeper;
    int64_t wait_ms = d->ended(k, item);
    free(item->text);
    item->text = NULL;
    pthread_mutex_lock(&k->lock);
    d->is_asked = false;
    if (!k->is_stopping)
        timer_start(k->timers, &d->timer, clock_mono_ms() + wait_ms);
    pthread_cond_broadcast(&k->quiet);
    pthread_mutex_unlock(&k->lock);
}

static void begin(struct keeper *k, struct keeper_duty *d)
{
    d->keeper = k;
    d->timer.fire = on_time;
    d->item.done = on_done;
    timer_start(k->timers, &d->timer, clock_mono_ms());
}

/* ---- heartbeat ------------------------------------------------------------------------------- */

static bool has_cap(const struct keeper *k)
{
    return k->config->cluster_concurrency > 0;
}

static void take_new_id_locked(struct keeper *k)
{
    struct uuid id = uuid_v7(clock_unix_ms());
    memcpy(k->beat.before, k->worker, sizeof k->beat.before);
    uuid_format(&id, k->worker);
    db_set_worker(k->db, &id);
    k->beat.number = 0;
    k->beat.cancels = 0;
}

static void ask_heartbeat(struct call_item *item, struct keeper *k)
{
    struct keeper_beat *b = &k->beat;
    struct gate_report gate;
    b->sent_ms = clock_mono_ms();
    b->number++;
    pthread_mutex_lock(&k->lock);
    memcpy(b->worker, k->worker, sizeof b->worker);
    pthread_mutex_unlock(&k->lock);
    gate_tell(k->gate, &gate);
    /* Only what was leased in time may have been used; and what is in use is held, whatever else. */
    int holding = b->sent_ms < b->leased_until_ms ? b->leased : 0;
    holding = gate.in_use > holding ? gate.in_use : holding;
    const int numbers[] = {b->number,
                           has_cap(k) ? holding : 0,
                           gate.wanted,
                           (int)k->config->llm_concurrency,
                           (int)k->config->cluster_concurrency,
                           LEASE_MS,
                           (int)k->config->llm_total_timeout};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        snprintf(b->numbers[i], sizeof b->numbers[i], "%d", numbers[i]);
    const struct store_lease lease = {.worker = b->worker,
                                      .name = k->config->listen,
                                      .version = HANSARD_VERSION,
                                      .beat_no = b->numbers[0],
                                      .before = b->before[0] ? b->before : NULL,
                                      .holding = b->numbers[1],
                                      .wanted = b->numbers[2],
                                      .most = b->numbers[3],
                                      .cap = b->numbers[4],
                                      .lease_ms = b->numbers[5],
                                      .call_ms = b->numbers[6]};
    store_lease_permits(item, &lease);
}

/* "{version,granted,target,cancels}" */
static bool read_lease(const char *text, int out[4])
{
    int end = 0;
    return text && sscanf(text, "{%d,%d,%d,%d}%n", &out[0], &out[1], &out[2], &out[3], &end) == 4 &&
           text[end] == '\0' && out[2] >= 0 && out[1] >= out[2];
}

/* What is left of the grant when others want some; how soon to ask again. */
static int64_t take_lease(struct keeper *k, const int lease[4])
{
    struct keeper_beat *b = &k->beat;
    int permits = lease[2];
    b->before[0] = '\0';
    b->leased = permits;
    b->leased_until_ms = has_cap(k) ? b->sent_ms + LEASE_MS : INT64_MAX;
    gate_lease(k->gate, permits, b->leased_until_ms);
    metrics_set(METRIC_PERMITS_LEASED, 0, permits);
    if (!has_cap(k))
        return HEARTBEAT_MS;
    struct gate_report gate;
    gate_tell(k->gate, &gate);
    bool has_to_trade = lease[1] > permits || gate.wanted > permits;
    return has_to_trade ? TRADE_MS : HEARTBEAT_MS / 2;
}

/* Not heard of in time: what was leased may be another worker's by now. */
static void let_lapse(struct keeper *k)
{
    if (!has_cap(k) || clock_mono_ms() < k->beat.leased_until_ms)
        return;
    gate_lease(k->gate, 0, k->beat.leased_until_ms);
    metrics_set(METRIC_PERMITS_LEASED, 0, 0);
}

static int64_t heartbeat_ended(struct keeper *k, struct call_item *item)
{
    int64_t wait_ms = AGAIN_MS;
    int lease[4];
    bool is_leased = item->err.kind == ERR_NONE && read_lease(item->text, lease);
    pthread_mutex_lock(&k->lock);
    if (is_leased) {
        int64_t now_ms = clock_mono_ms();
        if (k->unbroken_ms == 0 || now_ms - k->heard_ms > GAP_MS)
            k->unbroken_ms = now_ms;
        k->heard_ms = now_ms;
        k->schema_found = lease[0];
    } else if (item->err.kind == ERR_WORKER_LOST) {
        LOG(LOG_WARN, "worker_was_declared_lost", LOG_TEXT("worker", k->worker));
        take_new_id_locked(k);
        wait_ms = 0;
    } else if (item->err.kind == ERR_INTERNAL || item->err.kind == ERR_NONE) {
        /* An answer, but not the one agreed: there is no such function. */
        k->heard_ms = clock_mono_ms();
        k->schema_found = 0;
        wait_ms = HEARTBEAT_MS;
    }
    pthread_mutex_unlock(&k->lock);
    bool has_lost = item->err.kind == ERR_WORKER_LOST || (is_leased && lease[3] != k->beat.cancels);
    if (is_leased)
        k->beat.cancels = lease[3];
    if (has_lost && k->cancelled)
        k->cancelled(k->arg);
    if (is_leased)
        return take_lease(k, lease);
    let_lapse(k);
    return wait_ms;
}

/* ---- the others ------------------------------------------------------------------------------ */

static void ask_reaping(struct call_item *item, struct keeper *k)
{
    (void)k;
    store_reap_workers(item);
}

static int64_t reaping_ended(struct keeper *k, struct call_item *item)
{
    (void)k;
    if (item->err.kind != ERR_NONE && item->err.kind != ERR_DB_DOWN)
        log_err(LOG_WARN, "lost_workers_not_buried", &item->err);
    if (item->text && strcmp(item->text, "0") != 0)
        LOG(LOG_WARN, "turns_of_lost_workers_closed", LOG_TEXT("turns", item->text));
    return REAPING_MS / 2 + random_below(REAPING_MS);
}

static void ask_partitions(struct call_item *item, struct keeper *k)
{
    (void)k;
    store_make_partitions(item);
}

static int64_t partitions_ended(struct keeper *k, struct call_item *item)
{
    (void)k;
    if (item->err.kind != ERR_NONE)
        return 20LL * AGAIN_MS;
    if (item->text && strcmp(item->text, "0") != 0)
        LOG(LOG_INFO, "partitions_made", LOG_TEXT("tables", item->text));
    return PARTITIONS_MS;
}

static void ask_sweep(struct call_item *item, struct keeper *k)
{
    store_sweep_limits(item, k->swept_to ? k->swept_to : "", SWEEP_ROWS);
}

static int64_t sweep_ended(struct keeper *k, struct call_item *item)
{
    free(k->swept_to);
    k->swept_to = item->text ? mem_copy(item->text, item->text_len) : NULL;
    if (item->err.kind != ERR_NONE && item->err.kind != ERR_DB_DOWN)
        log_err(LOG_WARN, "limits_not_swept", &item->err);
    return k->swept_to ? SWEEP_PAGE_MS : SWEEP_MS / 2 + random_below(SWEEP_MS);
}

static void ask_sealing(struct call_item *item, struct keeper *k)
{
    sealer_ask(&k->sealer, item);
}

static int64_t sealing_ended(struct keeper *k, struct call_item *item)
{
    return sealer_ended(&k->sealer, item);
}

static void ask_retention(struct call_item *item, struct keeper *k)
{
    struct keeper_walk *w = &k->walk;
    snprintf(w->keep_ms, sizeof w->keep_ms, "%lld", (long long)k->config->retention);
    snprintf(w->most_text, sizeof w->most_text, "%d", w->most);
    store_apply_retention(item, w->keep_ms, w->most_text);
}

/* "{state,age}": what is to be done next, and the age of the oldest words when the walk is over. */
static int64_t retention_ended(struct keeper *k, struct call_item *item)
{
    struct keeper_walk *w = &k->walk;
    int64_t wait_ms = WALK_AGAIN_MS;
    long long age_s;
    if (item->err.kind != ERR_NONE) {
        w->most = w->most > 8 ? w->most / 8 : 1;
        if (item->err.kind == ERR_BAD_FIELD)
            LOG(LOG_WARN, "retention_refused",
                LOG_TEXT("detail", "HANSARD_RETENTION is shorter than the database allows: "
                                   "hansard.retention_walk.shortest"));
        else if (item->err.kind != ERR_DB_DOWN)
            log_err(LOG_WARN, "retention_not_applied", &item->err);
    } else if (item->text && sscanf(item->text, "{0,%lld}", &age_s) == 1) {
        metrics_set(METRIC_OLDEST_MESSAGE, 0, age_s);
        w->most = WALK_CONVERSATIONS;
        return WALK_MS + random_below(WALK_JITTER_MS);
    } else if (item->text) {
        w->most = w->most < WALK_CONVERSATIONS / 2 ? w->most * 2 : WALK_CONVERSATIONS;
        wait_ms = item->text[1] == '1' ? WALK_STEP_MS : WALK_BUSY_MS;
    }
    return wait_ms / 2 + random_below((uint32_t)wait_ms);
}

static void ask_erasing(struct call_item *item, struct keeper *k)
{
    store_go_on_erasing(item, k->erased_on);
}

static int64_t erasing_ended(struct keeper *k, struct call_item *item)
{
    free(k->erased_on);
    k->erased_on = item->text ? mem_copy(item->text, item->text_len) : NULL;
    if (item->err.kind != ERR_NONE && item->err.kind != ERR_DB_DOWN)
        log_err(LOG_WARN, "erasure_not_gone_on_with", &item->err);
    return k->erased_on ? ERASING_STEP_MS : ERASING_MS / 2 + random_below(ERASING_MS);
}

/* ---- from outside ---------------------------------------------------------------------------- */

void keeper_init(struct keeper *k, const struct keeper_options *o)
{
    *k = (struct keeper){.db = o->db,
                         .timers = o->timers,
                         .config = o->config,
                         .gate = o->gate,
                         .cancelled = o->cancelled,
                         .arg = o->arg,
                         .schema_found = -1};
    pthread_mutex_init(&k->lock, NULL);
    thread_cond_init(&k->quiet);
    k->heartbeat.ask = ask_heartbeat;
    k->heartbeat.ended = heartbeat_ended;
    k->reaping.ask = ask_reaping;
    k->reaping.ended = reaping_ended;
    k->partitions.ask = ask_partitions;
    k->partitions.ended = partitions_ended;
    k->sweep.ask = ask_sweep;
    k->sweep.ended = sweep_ended;
    k->sealing.ask = ask_sealing;
    k->sealing.ended = sealing_ended;
    sealer_init(&k->sealer, o->config);
    k->retention.ask = ask_retention;
    k->retention.ended = retention_ended;
    k->erasing.ask = ask_erasing;
    k->erasing.ended = erasing_ended;
    k->walk.most = WALK_CONVERSATIONS;
    metrics_set(METRIC_OLDEST_MESSAGE, 0, -1);
    pthread_mutex_lock(&k->lock);
    take_new_id_locked(k);
    pthread_mutex_unlock(&k->lock);
    begin(k, &k->heartbeat);
    begin(k, &k->partitions);
    begin(k, &k->reaping);
    begin(k, &k->sweep);
    if (o->config->seal_interval > 0)
        begin(k, &k->sealing);
    begin(k, &k->retention);
    begin(k, &k->erasing);
}

static bool is_busy_locked(const struct keeper *k)
{
    return k->heartbeat.is_asked || k->reaping.is_asked || k->partitions.is_asked ||
           k->sweep.is_asked || k->sealing.is_asked || k->retention.is_asked || k->erasing.is_asked;
}

void keeper_stop(struct keeper *k, int64_t until_ms)
{
    pthread_mutex_lock(&k->lock);
    k->is_stopping = true;
    while (is_busy_locked(k) && clock_mono_ms() < until_ms)
        thread_cond_wait_until(&k->quiet, &k->lock, until_ms);
    pthread_mutex_unlock(&k->lock);
}

void keeper_fini(struct keeper *k)
{
    free(k->swept_to);
    free(k->erased_on);
    sealer_fini(&k->sealer);
    pthread_cond_destroy(&k->quiet);
    pthread_mutex_destroy(&k->lock);
}

void keeper_tell(struct keeper *k, struct keeper_report *out)
{
    pthread_mutex_lock(&k->lock);
    out->is_heard = k->heard_ms > 0 && clock_mono_ms() - k->heard_ms < UNHEARD_MS;
    out->schema_found = k->schema_found;
    memcpy(out->worker, k->worker, sizeof out->worker);
    pthread_mutex_unlock(&k->lock);
}
