#include "core/core.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "core/core_private.h"
#include "core/turn_private.h"
#include "db/migrate.h"
#include "db/store.h"

#define FORGET_MS 60000
#define LEAVE_MS 3000 /* for the last words to the database, and once more for unwritten answers */

static void forget(struct timer *timer)
{
    struct core *c = CONTAINER_OF(timer, struct core, forgetting);
    int64_t now_ms = clock_mono_ms();
    history_forget_idle(&c->history, now_ms);
    timer_start(c->timers, timer, now_ms + FORGET_MS);
}

static void on_models_changed(void *arg)
{
    struct core *c = arg;
    int bear;
    /* Each server has a thread. Whoever is last to tell the gate tells it how things are by then. */
    do {
        bear = models_bear(&c->models);
        gate_bear(&c->gate, bear);
    } while (bear != models_bear(&c->models));
}

static bool runs_here(void *arg, const struct job_ref *ref)
{
    struct core *c = arg;
    return jobs_is_here(&c->jobs, ref);
}

static void on_cancelled(void *arg)
{
    struct core *c = arg;
    jobs_look(&c->jobs);
    watch_look(&c->watch);
}

/* What needs the outside world. */
static bool open_rooms(struct core *core, const struct llm_events *events, struct err *e)
{
    if (!models_open(&core->models, core->config, events, e))
        return false;
    core->db = db_open(core->config, e);
    const struct hooks_options hooks = {
        .config = core->config, .db = core->db, .keeper = &core->keeper};
    if (core->db && hooks_init(&core->hooks, &hooks, e))
        return true;
    db_close(core->db);
    models_fini(&core->models);
    return false;
}

struct core *core_open(const struct config *c, struct err *e)
{
    struct core *core = mem_zero(sizeof *core);
    core->config = c;
    list_init(&core->turns);
    pthread_mutex_init(&core->lock, NULL);
    thread_cond_init(&core->changed);
    core->timers = timers_new("keeper");
    const struct gate_options gate = {.permits = (int)c->llm_concurrency,
                                      .most = (size_t)(c->llm_concurrency + c->queue_limit),
                                      .has_leases = c->cluster_concurrency > 0,
                                      .timers = core->timers};
    gate_init(&core->gate, &gate);
    const struct llm_events events = {.changed = on_models_changed, .arg = core};
    if (!open_rooms(core, &events, e)) {
        gate_fini(&core->gate);
        timers_free(core->timers);
        pthread_cond_destroy(&core->changed);
        pthread_mutex_destroy(&core->lock);
        free(core);
        return NULL;
    }
    callers_init(&core->callers);
    meter_init(&core->meter, core->db, core->timers);
    line_init(&core->line, gate.most, core->timers);
    history_init(&core->history, (size_t)c->history_cache);
    const struct watch_options watch = {
        .db = core->db, .timers = core->timers, .is_here = runs_here, .arg = core};
    watch_init(&core->watch, &watch);
    core->forgetting.fire = forget;
    timer_start(core->timers, &core->forgetting, clock_mono_ms() + FORGET_MS);
    const struct keeper_options keeper = {.config = c,
                                          .db = core->db,
                                          .timers = core->timers,
                                          .gate = &core->gate,
                                          .cancelled = on_cancelled,
                                          .arg = core};
    backlog_init(&core->backlog, core);
    jobs_init(&core->jobs, core);
    keeper_init(&core->keeper, &keeper);
    jobs_start(&core->jobs);
    hooks_start(&core->hooks);
    return core;
}

void core_leave(struct core *c)
{
    jobs_stop(&c->jobs);
}

void core_drain(struct core *c)
{
    pthread_mutex_lock(&c->lock);
    c->is_draining = true;
    pthread_mutex_unlock(&c->lock);
    watch_stop(&c->watch);
}

bool core_wait_idle(struct core *c, int64_t until_ms)
{
    pthread_mutex_lock(&c->lock);
    while (c->turns.count > 0 && clock_mono_ms() < until_ms)
        thread_cond_wait_until(&c->changed, &c->lock, until_ms);
    bool is_idle = c->turns.count == 0;
    pthread_mutex_unlock(&c->lock);
    return is_idle;
}

bool core_is_closing(struct core *c)
{
    pthread_mutex_lock(&c->lock);
    bool is_closing = c->is_closing;
    pthread_mutex_unlock(&c->lock);
    return is_closing;
}

static void on_left(struct call_item *item)
{
    struct core *c = CONTAINER_OF(item, struct core, leaving);
    pthread_mutex_lock(&c->lock);
    c->has_left = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* So that others need not wait until this worker counts as dead. */
static void leave(struct core *c)
{
    struct keeper_report report;
    int64_t until_ms = clock_mono_ms() + LEAVE_MS;
    keeper_tell(&c->keeper, &report);
    if (!report.is_heard)
        return;
    store_leave(&c->leaving, report.worker);
    c->leaving.done = on_left;
    c->leaving.deadline_ms = until_ms;
    db_submit_call(c->db, &c->leaving);
    pthread_mutex_lock(&c->lock);
    while (!c->has_left && clock_mono_ms() < until_ms)
        thread_cond_wait_until(&c->changed, &c->lock, until_ms);
    pthread_mutex_unlock(&c->lock);
}

/* Nothing is handed to a part that has been closed. Calls under way, and turns that wait for one, end as
 * failed, which is written and answered. Who waits in line has nothing stored: the server answers, and
 * here it is only freed. */
void core_close(struct core *c)
{
    pthread_mutex_lock(&c->lock);
    c->is_draining = c->is_closing = true;
    pthread_mutex_unlock(&c->lock);
    watch_stop(&c->watch);
    jobs_stop(&c->jobs);
    timers_stop(c->timers);
    gate_close(&c->gate, GATE_LIVE);
    models_stop(&c->models);
    hooks_stop(&c->hooks);
    keeper_stop(&c->keeper, clock_mono_ms() + LEAVE_MS);
    /* With a call still on its way, others will find out that we are gone: it might open a turn yet. */
    if (db_wait_quiet(c->db, clock_mono_ms() + LEAVE_MS))
        leave(c);
    (void)db_wait_quiet(c->db, clock_mono_ms() + LEAVE_MS);
    db_close(c->db);
    free(c->leaving.text);
    for (struct list_node *n; (n = list_first(&c->turns));)
        turn_free(CONTAINER_OF(n, struct turn, node));
    jobs_fini(&c->jobs);
    backlog_fini(&c->backlog);
    hooks_fini(&c->hooks);
    keeper_fini(&c->keeper);
    history_fini(&c->history);
    watch_fini(&c->watch);
    line_fini(&c->line);
    gate_fini(&c->gate);
    meter_fini(&c->meter);
    callers_fini(&c->callers);
    models_fini(&c->models);
    timers_free(c->timers);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void core_status(struct core *c, struct core_status *out)
{
    struct keeper_report report;
    keeper_tell(&c->keeper, &report);
    *out = (struct core_status){.database = report.is_heard,
                                .schema_wanted = migrate_wanted_version(),
                                .schema_found = report.schema_found};
    memcpy(out->worker, report.worker, sizeof out->worker);
}

struct db *core_db(struct core *c)
{
    return c->db;
}

struct watch *core_watch(struct core *c)
{
    return &c->watch;
}
