#include "core/gate.h"

#include "base/clock.h"
#include "base/metrics.h"

#define RETRY_MOST_MS 60000

void gate_init(struct gate *g, const struct gate_options *o)
{
    *g = (struct gate){.options = *o,
                       .leased = o->has_leases ? 0 : o->permits,
                       .leased_until_ms = o->has_leases ? 0 : INT64_MAX,
                       .bearable = o->permits,
                       .posted = o->has_leases ? 0 : o->permits};
    int made = sem_init(&g->free, 0, (unsigned)g->posted);
    assert(made == 0);
    pthread_mutex_init(&g->lock, NULL);
    for (size_t i = 0; i < GATE_CLASSES; i++)
        rota_init(&g->rotas[i], o->most);
    metrics_set(METRIC_GATE_PERMITS, 0, g->posted);
}

void gate_fini(struct gate *g)
{
    for (size_t i = 0; i < GATE_CLASSES; i++)
        rota_fini(&g->rotas[i]);
    pthread_mutex_destroy(&g->lock);
    sem_destroy(&g->free);
}

/* ---- permits --------------------------------------------------------------------------------- */

static int limit_locked(const struct gate *g)
{
    int limit = g->options.permits;
    limit = g->leased < limit ? g->leased : limit;
    return g->bearable < limit ? g->bearable : limit;
}

/* The semaphore holds what the limit leaves over. */
static void fit_locked(struct gate *g)
{
    int room = limit_locked(g) - g->in_use;
    for (; g->posted < room; g->posted++)
        sem_post(&g->free);
    for (; g->posted > 0 && g->posted > room; g->posted--)
        if (sem_trywait(&g->free) != 0)
            assert(!"the semaphore has fewer permits than were posted");
}

static bool take_permit_locked(struct gate *g, int64_t now_us)
{
    if (now_us / 1000 >= g->leased_until_ms || sem_trywait(&g->free) != 0)
        return false;
    g->posted--;
    g->in_use++;
    assert(g->in_use <= limit_locked(g));
    if (g->in_use > g->high_water) {
        g->high_water = g->in_use;
        metrics_set(METRIC_GATE_HIGH_WATER, 0, g->high_water);
    }
    metrics_add(METRIC_GATE_IN_USE, 0, 1);
    return true;
}

static void let_in(struct gate_place *p, int64_t now_us)
{
    p->admitted_ms = now_us / 1000;
    metrics_observe(METRIC_GATE_SECONDS, 0, (double)(now_us - p->since_us) / 1e6);
}

/* ---- who is next ----------------------------------------------------------------------------- */

static struct rota *rota_of(struct gate *g, const struct gate_place *p)
{
    return &g->rotas[p->class];
}

/* What waits at a closed gate is about to be told. */
static size_t waiting_locked(const struct gate *g, enum gate_class class)
{
    return g->is_closed[class] ? 0 : g->rotas[class].waiting;
}

static bool has_waiting_locked(const struct gate *g)
{
    return waiting_locked(g, GATE_LIVE) > 0 || waiting_locked(g, GATE_JOB) > 0;
}

/* One that has a permit now; NULL: none waits, or none is free, or none may any more. */
static struct gate_place *admit_locked(struct gate *g)
{
    int64_t now_us = clock_mono_us();
    size_t live = waiting_locked(g, GATE_LIVE), jobs = waiting_locked(g, GATE_JOB);
    if (live + jobs == 0 || !take_permit_locked(g, now_us))
        return NULL;
    bool is_job = jobs > 0 && (live == 0 || g->since_job + 1 >= GATE_JOB_SHARE);
    g->since_job = is_job || jobs == 0 ? 0 : g->since_job + 1;
    struct rota *r = &g->rotas[is_job ? GATE_JOB : GATE_LIVE];
    struct gate_place *p = CONTAINER_OF(rota_take(r), struct gate_place, rota);
    let_in(p, now_us);
    return p;
}

/* The gate this thread lets somebody into just now. What a callback gives back is given on when it is
 * over: calls that end at once would else be made one within the other, as many as wait. */
static _Thread_local const struct gate *admitting;

/* Lets in whoever can be, one after another: each is called without the lock. */
static void admit_all(struct gate *g)
{
    if (admitting == g)
        return;
    const struct gate *outer = admitting;
    admitting = g;
    for (;;) {
        pthread_mutex_lock(&g->lock);
        struct gate_place *next = admit_locked(g);
        pthread_mutex_unlock(&g->lock);
        if (!next)
            break;
        metrics_add(METRIC_GATE_WAITING, 0, -1);
        timer_stop_and_wait(g->options.timers, &next->timer);
        next->admitted(next);
    }
    admitting = outer;
}

/* ---- how long it would take ------------------------------------------------------------------ */

/* Until one with so many before it gets a permit, by the pace of the calls. 0: at once, or nobody
 * knows: nothing was called yet, or nothing may be called for the moment. */
static int64_t wait_ms_locked(const struct gate *g, size_t ahead)
{
    int limit = limit_locked(g);
    int64_t ends = (int64_t)ahead + g->in_use + 1 - limit;
    if (limit <= 0 || ends <= 0)
        return 0;
    return ends * g->call_us / limit / 1000;
}

static size_t ahead_locked(const struct gate *g, const struct gate_place *p)
{
    const struct rota *live = &g->rotas[GATE_LIVE], *jobs = &g->rotas[GATE_JOB];
    if (p->class == GATE_JOB)
        return rota_ahead(jobs, &p->rota) + live->waiting + live->coming;
    size_t ahead = rota_ahead(live, &p->rota);
    return jobs->waiting > 0 ? ahead + ahead / (GATE_JOB_SHARE - 1) : ahead;
}

/* The mean of what calls take, newer ones weighing more: as TCP smooths round trips (RFC 6298, 2.3). */
static void note_call_locked(struct gate *g, int64_t us)
{
    us = us > 0 ? us : 1;
    g->call_us = g->call_us == 0 ? us : g->call_us + (us - g->call_us) / 8;
    g->call_us = g->call_us > 0 ? g->call_us : 1;
}

/* ---- places ---------------------------------------------------------------------------------- */

bool gate_arrive(struct gate *g, struct gate_place *p, const struct hash *caller, int64_t *wait_ms)
{
    size_t queue = g->options.most - (size_t)g->options.permits;
    p->gate = g;
    pthread_mutex_lock(&g->lock);
    struct rota *r = rota_of(g, p);
    size_t held = g->rotas[GATE_LIVE].held + g->rotas[GATE_JOB].held;
    size_t kept = queue / 8;
    bool has_room = held < g->options.most;
    if (has_room && held >= g->options.most - kept)
        has_room = rota_held(r, caller) < kept;
    if (has_room)
        rota_hold(r, &p->rota, caller);
    else
        *wait_ms = wait_ms_locked(g, held - (size_t)g->in_use);
    pthread_mutex_unlock(&g->lock);
    if (!has_room && *wait_ms > RETRY_MOST_MS)
        *wait_ms = RETRY_MOST_MS;
    return has_room;
}

void gate_depart(struct gate *g, struct gate_place *p)
{
    pthread_mutex_lock(&g->lock);
    if (p->rota.is_coming) /* the worker stopped before it was known */
        rota_go(rota_of(g, p), &p->rota);
    rota_release(rota_of(g, p), &p->rota);
    pthread_mutex_unlock(&g->lock);
}

bool gate_come(struct gate *g, struct gate_place *p, int64_t deadline_ms, int64_t *wait_ms)
{
    int64_t left_ms = deadline_ms - clock_mono_ms();
    pthread_mutex_lock(&g->lock);
    int64_t wait = wait_ms_locked(g, ahead_locked(g, p));
    int64_t late =
        wait + g->call_us / 1000 - left_ms; /* a permit at the last moment helps nobody */
    bool is_in_time = wait == 0 || late <= 0;
    if (is_in_time)
        rota_come(rota_of(g, p), &p->rota);
    pthread_mutex_unlock(&g->lock);
    *wait_ms = late < RETRY_MOST_MS ? late : RETRY_MOST_MS;
    return is_in_time;
}

void gate_quit(struct gate *g, struct gate_place *p)
{
    pthread_mutex_lock(&g->lock);
    rota_go(rota_of(g, p), &p->rota);
    pthread_mutex_unlock(&g->lock);
}

static void on_deadline(struct timer *timer)
{
    struct gate_place *p = CONTAINER_OF(timer, struct gate_place, timer);
    struct gate *g = p->gate;
    pthread_mutex_lock(&g->lock);
    /* Else it was let in, or turned away by gate_close, in this very moment. */
    bool was_waiting = !g->is_closed[p->class] && list_is_linked(&p->rota.node);
    if (was_waiting)
        rota_leave(rota_of(g, p), &p->rota);
    pthread_mutex_unlock(&g->lock);
    if (!was_waiting)
        return;
    metrics_add(METRIC_GATE_WAITING, 0, -1);
    metrics_add(METRIC_GATE_EXPIRED, 0, 1);
    p->expired(p);
}

bool gate_enter(struct gate *g, struct gate_place *p, int64_t deadline_ms)
{
    p->timer = (struct timer){.fire = on_deadline};
    pthread_mutex_lock(&g->lock);
    /* Under the lock: a lease that was over when gate_tell counted must be over here. */
    p->since_us = clock_mono_us();
    if (p->rota.is_coming) /* a job's place was not announced */
        rota_go(rota_of(g, p), &p->rota);
    /* Nobody overtakes: a permit that is free while others wait is theirs. */
    bool is_closed = g->is_closed[p->class];
    bool has_permit = !is_closed && !has_waiting_locked(g) && take_permit_locked(g, p->since_us);
    if (has_permit) {
        let_in(p, p->since_us);
    } else if (!is_closed) {
        rota_wait(rota_of(g, p), &p->rota);
        timer_start(g->options.timers, &p->timer, deadline_ms);
        metrics_add(METRIC_GATE_WAITING, 0, 1);
    }
    pthread_mutex_unlock(&g->lock);
    if (is_closed)
        p->expired(p);
    return has_permit;
}

size_t gate_room(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    const struct rota *live = &g->rotas[GATE_LIVE], *jobs = &g->rotas[GATE_JOB];
    int64_t limit = limit_locked(g), now_us = clock_mono_us();
    bool are_short =
        g->call_us > 0 && g->call_us < GATE_SHORT_US && now_us - g->left_us < GATE_LULL_US;
    int64_t ahead = are_short ? limit : live->waiting > 0;
    int64_t room = limit - g->in_use - (int64_t)live->waiting;
    room = (room > 0 ? room : 0) + ahead - (int64_t)jobs->waiting;
    int64_t places = (int64_t)g->options.most - (int64_t)(live->held + jobs->held);
    room = room < places ? room : places;
    if (limit <= 0 || g->is_closed[GATE_JOB] || now_us / 1000 >= g->leased_until_ms)
        room = 0;
    pthread_mutex_unlock(&g->lock);
    return room > 0 ? (size_t)room : 0;
}

void gate_close(struct gate *g, enum gate_class class)
{
    pthread_mutex_lock(&g->lock);
    g->is_closed[class] = true;
    pthread_mutex_unlock(&g->lock);
    for (;;) {
        pthread_mutex_lock(&g->lock);
        struct rota_place *next = rota_take(&g->rotas[class]);
        pthread_mutex_unlock(&g->lock);
        if (!next)
            break;
        struct gate_place *p = CONTAINER_OF(next, struct gate_place, rota);
        metrics_add(METRIC_GATE_WAITING, 0, -1);
        timer_stop_and_wait(g->options.timers, &p->timer);
        p->expired(p);
    }
}

void gate_leave(struct gate *g, struct gate_place *p)
{
    pthread_mutex_lock(&g->lock);
    assert(g->in_use > 0);
    g->in_use--;
    metrics_add(METRIC_GATE_IN_USE, 0, -1);
    g->left_us = clock_mono_us();
    note_call_locked(g, g->left_us - p->admitted_ms * 1000);
    fit_locked(g);
    pthread_mutex_unlock(&g->lock);
    admit_all(g);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* Unlocks. */
static void fit(struct gate *g)
{
    fit_locked(g);
    metrics_set(METRIC_GATE_PERMITS, 0, limit_locked(g));
    pthread_mutex_unlock(&g->lock);
    admit_all(g);
}

void gate_bear(struct gate *g, int permits)
{
    pthread_mutex_lock(&g->lock);
    g->bearable = permits;
    fit(g);
}

void gate_lease(struct gate *g, int permits, int64_t until_ms)
{
    pthread_mutex_lock(&g->lock);
    g->leased = permits;
    g->leased_until_ms = until_ms;
    fit(g);
}

void gate_tell(struct gate *g, struct gate_report *out)
{
    pthread_mutex_lock(&g->lock);
    size_t wanted = (size_t)g->in_use;
    for (size_t i = 0; i < GATE_CLASSES; i++)
        wanted += g->rotas[i].waiting + g->rotas[i].coming;
    int bearable = g->bearable < g->options.permits ? g->bearable : g->options.permits;
    bearable = bearable > g->in_use ? bearable : g->in_use;
    *out = (struct gate_report){.in_use = g->in_use,
                                .call_us = g->call_us,
                                .wanted = wanted < (size_t)bearable ? (int)wanted : bearable};
    pthread_mutex_unlock(&g->lock);
}
