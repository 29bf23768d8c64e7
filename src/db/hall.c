#include "db/hall.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "base/thread.h"

#define SWEEP_MS 100
#define GATHER_ITEMS (LIMIT_BATCH_ITEMS / 2) /* a good batch: more make it little cheaper a turn */
#define GATHER_MS                                                                                  \
    10 /* a few times what a batch takes; longer: it waits for a lock, or a dead peer */

void hall_init(struct hall *h)
{
    *h = (struct hall){.ticks = 0};
    pthread_mutex_init(&h->lock, NULL);
    thread_cond_init(&h->work);
    thread_cond_init(&h->pause);
    thread_cond_init(&h->quiet);
    for (size_t i = 0; i < WORK_KINDS; i++)
        list_init(&h->waiting[i]);
}

void hall_fini(struct hall *h)
{
    pthread_cond_destroy(&h->quiet);
    pthread_cond_destroy(&h->pause);
    pthread_cond_destroy(&h->work);
    pthread_mutex_destroy(&h->lock);
}

void hall_set_worker(struct hall *h, const struct uuid *worker)
{
    pthread_mutex_lock(&h->lock);
    h->worker = *worker;
    pthread_mutex_unlock(&h->lock);
}

static void append_locked(struct hall *h, enum work_kind kind, struct list_node *n)
{
    if (h->waiting[kind].count == 0)
        h->since[kind] = ++h->ticks;
    list_append(&h->waiting[kind], n);
}

static size_t waiting_locked(const struct hall *h)
{
    size_t n = 0;
    for (size_t i = 0; i < WORK_KINDS; i++)
        n += h->waiting[i].count;
    return n;
}

/* When items of the kind may be taken, as things are. INT64_MAX: none wait. */
static int64_t ready_ms_locked(const struct hall *h, enum work_kind kind)
{
    if (h->waiting[kind].count == 0)
        return INT64_MAX;
    if (kind == WORK_CALL || h->in_hand[kind] == 0 || h->waiting[kind].count >= GATHER_ITEMS)
        return 0;
    return h->taken_ms[kind] + GATHER_MS;
}

void hall_add(struct hall *h, enum work_kind kind, struct list_node *n)
{
    pthread_mutex_lock(&h->lock);
    append_locked(h, kind, n);
    /* What has to gather needs one lane that keeps the time: the first item wakes it. */
    if (ready_ms_locked(h, kind) == 0 || h->waiting[kind].count == 1)
        pthread_cond_signal(&h->work);
    pthread_mutex_unlock(&h->lock);
    metrics_add(METRIC_LANE_WAITING, 0, 1);
}

bool hall_wait_quiet(struct hall *h, int64_t until_ms)
{
    pthread_mutex_lock(&h->lock);
    while ((waiting_locked(h) || h->busy) && clock_mono_ms() < until_ms)
        thread_cond_wait_until(&h->quiet, &h->lock, until_ms);
    bool is_quiet = !waiting_locked(h) && !h->busy;
    pthread_mutex_unlock(&h->lock);
    return is_quiet;
}

void hall_stop(struct hall *h)
{
    pthread_mutex_lock(&h->lock);
    h->is_stopping = true;
    pthread_cond_broadcast(&h->work);
    pthread_cond_broadcast(&h->pause);
    pthread_mutex_unlock(&h->lock);
}

static int64_t soonest_ms_locked(const struct hall *h)
{
    int64_t soonest = INT64_MAX;
    for (enum work_kind kind = 0; kind < WORK_KINDS; kind++) {
        int64_t ready = ready_ms_locked(h, kind);
        soonest = ready < soonest ? ready : soonest;
    }
    return soonest;
}

static void wake_one_locked(struct hall *h)
{
    if (waiting_locked(h))
        pthread_cond_signal(&h->work);
}

bool hall_wait_work(struct hall *h)
{
    pthread_mutex_lock(&h->lock);
    while (!h->is_stopping) {
        int64_t ready_ms = soonest_ms_locked(h);
        if (ready_ms == INT64_MAX)
            pthread_cond_wait(&h->work, &h->lock);
        else if (ready_ms > clock_mono_ms())
            thread_cond_wait_until(&h->work, &h->lock, ready_ms);
        else
            break;
    }
    bool go = !h->is_stopping;
    pthread_mutex_unlock(&h->lock);
    return go;
}

void hall_pass_on(struct hall *h)
{
    pthread_mutex_lock(&h->lock);
    pthread_cond_signal(&h->work);
    pthread_mutex_unlock(&h->lock);
}

/* The kind whose first item has been first for longest: none is starved. WORK_KINDS: none. */
static enum work_kind choose_locked(const struct hall *h, int64_t now_ms)
{
    enum work_kind best = WORK_KINDS;
    for (enum work_kind kind = 0; kind < WORK_KINDS; kind++)
        if (ready_ms_locked(h, kind) <= now_ms &&
            (best == WORK_KINDS || h->since[kind] < h->since[best]))
            best = kind;
    return best;
}

bool hall_take(struct hall *h, struct list *into, enum work_kind *kind, struct uuid *worker)
{
    size_t taken = 0;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&h->lock);
    *kind = choose_locked(h, now_ms);
    if (*kind != WORK_KINDS && !h->is_stopping) {
        size_t most = *kind == WORK_CALL ? 1 : LIMIT_BATCH_ITEMS;
        struct list *from = &h->waiting[*kind];
        for (; taken < most && from->count; taken++)
            list_append(into, list_take_first(from));
        h->since[*kind] = ++h->ticks;
        h->in_hand[*kind]++;
        h->taken_ms[*kind] = now_ms;
        h->busy++;
        *worker = h->worker;
        wake_one_locked(h);
    }
    pthread_mutex_unlock(&h->lock);
    metrics_add(METRIC_LANE_WAITING, 0, -(int64_t)taken);
    return taken > 0;
}

static void give_back_locked(struct hall *h)
{
    assert(h->busy > 0);
    h->busy--;
    if (!h->busy && !waiting_locked(h))
        pthread_cond_broadcast(&h->quiet);
}

void hall_give_back(struct hall *h, enum work_kind kind)
{
    pthread_mutex_lock(&h->lock);
    assert(h->in_hand[kind] > 0);
    h->in_hand[kind]--;
    wake_one_locked(h);
    give_back_locked(h);
    pthread_mutex_unlock(&h->lock);
}

/* Items with something to be told, out of their queue. */
static size_t collect_locked(struct hall *h, enum work_kind kind, int64_t now_ms, struct list *out)
{
    struct list *from = &h->waiting[kind];
    for (struct list_node *n = list_first(from), *next; n; n = next) {
        next = list_next(from, n);
        if (work_fate(kind, n, false, now_ms) == WORK_WAITS)
            continue;
        list_remove(from, n);
        list_append(out, n);
    }
    return out->count;
}

/* Without the lock: what is late comes back into `out`, what has expired is ended. */
static void tell(enum work_kind kind, int64_t now_ms, struct list *out)
{
    for (size_t left = out->count; left > 0; left--) {
        struct list_node *n = list_take_first(out);
        if (work_fate(kind, n, false, now_ms) == WORK_IS_LATE) {
            work_tell_late(kind, n);
            list_append(out, n);
        } else {
            work_refuse(kind, n, ERR_DB_DOWN);
            metrics_add(METRIC_LANE_WAITING, 0, -1);
        }
    }
}

bool hall_sweep(struct hall *h)
{
    int64_t now_ms = clock_mono_ms();
    struct list out[WORK_KINDS];
    size_t count = 0;
    pthread_mutex_lock(&h->lock);
    bool go = !h->is_stopping;
    if (go && now_ms >= h->next_sweep_ms) {
        h->next_sweep_ms = now_ms + SWEEP_MS;
        for (enum work_kind kind = 0; kind < WORK_KINDS; kind++) {
            list_init(&out[kind]);
            count += collect_locked(h, kind, now_ms, &out[kind]);
        }
    }
    if (count > 0)
        h->busy++;
    pthread_mutex_unlock(&h->lock);
    if (count == 0)
        return go;

    for (enum work_kind kind = 0; kind < WORK_KINDS; kind++)
        tell(kind, now_ms, &out[kind]);

    pthread_mutex_lock(&h->lock);
    for (enum work_kind kind = 0; kind < WORK_KINDS; kind++)
        for (struct list_node *n; (n = list_take_first(&out[kind]));)
            append_locked(h, kind, n);
    wake_one_locked(h);
    give_back_locked(h);
    go = !h->is_stopping;
    pthread_mutex_unlock(&h->lock);
    return go;
}

bool hall_pause(struct hall *h, int64_t until_ms)
{
    pthread_mutex_lock(&h->lock);
    while (!h->is_stopping && clock_mono_ms() < until_ms)
        thread_cond_wait_until(&h->pause, &h->lock, until_ms);
    bool go = !h->is_stopping;
    pthread_mutex_unlock(&h->lock);
    return go;
}
