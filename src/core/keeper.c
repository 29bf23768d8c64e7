#include "core/keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/version.h"
#include "db/store.h"

#define HEARTBEAT_MS 2000
#define CALL_MS 5000    /* patience with one call */
#define UNHEARD_MS 7000 /* since the last heartbeat: the database counts as away */
#define REAPING_MS 5000
#define PARTITIONS_MS (24LL * 3600 * 1000)
#define AGAIN_MS 500 /* after a failure */

/* ---- duties ---------------------------------------------------------------------------------- */

static void on_time(struct timer *timer)
{
    struct keeper_duty *d = CONTAINER_OF(timer, struct keeper_duty, timer);
    struct keeper *k = d->keeper;
    pthread_mutex_lock(&k->lock);
    bool go = !k->is_stopping;
    d->is_asked = go;
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

static void take_new_id_locked(struct keeper *k)
{
    struct uuid id = uuid_v7(clock_unix_ms());
    uuid_format(&id, k->worker);
    db_set_worker(k->db, &id);
}

static void ask_heartbeat(struct call_item *item, struct keeper *k)
{
    pthread_mutex_lock(&k->lock);
    memcpy(k->asked_as, k->worker, sizeof k->asked_as);
    pthread_mutex_unlock(&k->lock);
    const struct store_heartbeat h = {.worker = k->asked_as,
                                      .name = k->config->listen,
                                      .version = HANSARD_VERSION,
                                      .permits = k->permits};
    store_heartbeat(item, &h);
}

static int64_t heartbeat_ended(struct keeper *k, struct call_item *item)
{
    int64_t wait_ms = HEARTBEAT_MS;
    pthread_mutex_lock(&k->lock);
    switch (item->err.kind) {
    case ERR_NONE:
        k->heard_ms = clock_mono_ms();
        k->schema_found = item->text ? (int)strtol(item->text, NULL, 10) : 0;
        break;
    case ERR_WORKER_LOST:
        LOG(LOG_WARN, "worker_was_declared_lost", LOG_TEXT("worker", k->worker));
        take_new_id_locked(k);
        wait_ms = 0;
        break;
    case ERR_INTERNAL: /* an answer, but not the one agreed: there is no such function */
        k->heard_ms = clock_mono_ms();
        k->schema_found = 0;
        break;
    default:
        wait_ms = AGAIN_MS;
        break;
    }
    pthread_mutex_unlock(&k->lock);
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

/* ---- from outside ---------------------------------------------------------------------------- */

void keeper_init(struct keeper *k, const struct config *c, struct db *db, struct timers *timers)
{
    *k = (struct keeper){.db = db, .timers = timers, .config = c, .schema_found = -1};
    snprintf(k->permits, sizeof k->permits, "%d", (int)c->llm_concurrency);
    pthread_mutex_init(&k->lock, NULL);
    thread_cond_init(&k->quiet);
    k->heartbeat.ask = ask_heartbeat;
    k->heartbeat.ended = heartbeat_ended;
    k->reaping.ask = ask_reaping;
    k->reaping.ended = reaping_ended;
    k->partitions.ask = ask_partitions;
    k->partitions.ended = partitions_ended;
    pthread_mutex_lock(&k->lock);
    take_new_id_locked(k);
    pthread_mutex_unlock(&k->lock);
    begin(k, &k->heartbeat);
    begin(k, &k->partitions);
    begin(k, &k->reaping);
}

static bool is_busy_locked(const struct keeper *k)
{
    return k->heartbeat.is_asked || k->reaping.is_asked || k->partitions.is_asked;
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
