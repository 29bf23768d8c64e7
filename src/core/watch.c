#include "core/watch.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "db/store.h"

#define ASK_MS 1000
#define CALL_MS 5000 /* patience with one question */

static struct list *bucket_of(struct watch *w, const struct job_ref *ref)
{
    return &w->buckets[job_ref_hash(ref) % WATCH_BUCKETS];
}

/* ---- telling --------------------------------------------------------------------------------- */

static void take_out_locked(struct watch *w, struct list *bucket, struct watcher *p)
{
    list_remove(bucket, &p->node);
    p->is_waiting = false;
    w->count--;
    metrics_add(METRIC_JOBS_WATCHED, 0, -1);
}

static void take_those_of_locked(struct watch *w, const struct job_ref *ref, struct list *out)
{
    struct list *bucket = bucket_of(w, ref);
    struct list_node *next;
    for (struct list_node *n = list_first(bucket); n; n = next) {
        struct watcher *p = CONTAINER_OF(n, struct watcher, node);
        next = list_next(bucket, n);
        if (!job_ref_equals(&p->ref, ref))
            continue;
        take_out_locked(w, bucket, p);
        list_append(out, n);
    }
}

static void tell(struct watch *w, struct list *taken)
{
    for (struct list_node *n; (n = list_take_first(taken));) {
        struct watcher *p = CONTAINER_OF(n, struct watcher, node);
        timer_stop_and_wait(w->options.timers, &p->timer);
        p->told(p);
    }
}

static void on_deadline(struct timer *timer)
{
    struct watcher *p = CONTAINER_OF(timer, struct watcher, timer);
    struct watch *w = p->watch;
    pthread_mutex_lock(&w->lock);
    bool was_waiting = p->is_waiting; /* else it is being told in this very moment */
    if (was_waiting)
        take_out_locked(w, bucket_of(w, &p->ref), p);
    pthread_mutex_unlock(&w->lock);
    if (was_waiting)
        p->told(p);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static bool was_taken(const struct watch_question *q, size_t from, const struct job_ref *ref)
{
    for (size_t i = from; i < q->count; i++)
        if (job_ref_equals(&q->jobs[i], ref))
            return true;
    return false;
}

/* Each job once. false: there was no room for all. */
static bool take_bucket_locked(struct watch *w, const struct list *bucket, bool with_those_here)
{
    struct watch_question *q = &w->question;
    size_t from = q->count;
    for (struct list_node *n = list_first(bucket); n; n = list_next(bucket, n)) {
        const struct job_ref *ref = &CONTAINER_OF(n, struct watcher, node)->ref;
        if (was_taken(q, from, ref) ||
            (!with_those_here && w->options.is_here(w->options.arg, ref)))
            continue;
        if (q->count == LIMIT_WATCH_JOBS)
            return false;
        q->jobs[q->count++] = *ref;
    }
    return true;
}

/* false: there is nothing to ask about. */
static bool prepare_locked(struct watch *w, bool with_those_here)
{
    struct watch_question *q = &w->question;
    size_t bucket = w->next_bucket;
    q->count = 0;
    for (size_t i = 0; i < WATCH_BUCKETS; i++, bucket = (bucket + 1) % WATCH_BUCKETS)
        if (!take_bucket_locked(w, &w->buckets[bucket], with_those_here))
            break;
    w->next_bucket = bucket; /* where it was full, the next time begins */
    if (q->count == 0)
        return false;
    job_list_begin(&q->list);
    for (size_t i = 0; i < q->count; i++)
        job_list_add(&q->list, &q->jobs[i], 0);
    job_list_end(&q->list);
    q->item.deadline_ms = clock_mono_ms() + CALL_MS;
    store_jobs_ended(&q->item, q->list.conversations.data, q->list.turn_nos.data);
    w->is_asked = true;
    return true;
}

static void set_timer_locked(struct watch *w)
{
    if (w->is_timed || w->is_asked || w->is_stopping || w->count == 0)
        return;
    w->is_timed = true;
    timer_start(w->options.timers, &w->timer, clock_mono_ms() + ASK_MS);
}

static void on_time(struct timer *timer)
{
    struct watch *w = CONTAINER_OF(timer, struct watch, timer);
    pthread_mutex_lock(&w->lock);
    w->is_timed = false;
    bool has_to_ask = !w->is_asked && !w->is_stopping && prepare_locked(w, false);
    set_timer_locked(w);
    pthread_mutex_unlock(&w->lock);
    if (has_to_ask)
        db_submit_call(w->options.db, &w->question.item);
}

/* "{1,5,7}": the places of those that have ended. What is not as agreed tells nobody. */
static void take_ended_locked(struct watch *w, const char *text, struct list *out)
{
    const struct watch_question *q = &w->question;
    while (text && (*text == '{' || *text == ',')) {
        char *end;
        long place = strtol(text + 1, &end, 10);
        if (place >= 1 && (size_t)place <= q->count)
            take_those_of_locked(w, &q->jobs[place - 1], out);
        text = end;
    }
}

static void on_done(struct call_item *item)
{
    struct watch *w = CONTAINER_OF(item, struct watch, question.item);
    struct list ended;
    list_init(&ended);
    pthread_mutex_lock(&w->lock);
    take_ended_locked(w, item->text, &ended);
    free(item->text);
    item->text = NULL;
    w->is_asked = false;
    bool has_to_ask = w->has_to_look && !w->is_stopping && prepare_locked(w, true);
    w->has_to_look = false;
    set_timer_locked(w);
    pthread_mutex_unlock(&w->lock);
    if (has_to_ask)
        db_submit_call(w->options.db, item);
    tell(w, &ended);
}

/* ---- from outside ---------------------------------------------------------------------------- */

void watch_init(struct watch *w, const struct watch_options *o)
{
    *w = (struct watch){.options = *o, .timer = {.fire = on_time}, .question.item.done = on_done};
    job_list_init(&w->question.list);
    for (size_t i = 0; i < WATCH_BUCKETS; i++)
        list_init(&w->buckets[i]);
    pthread_mutex_init(&w->lock, NULL);
}

void watch_fini(struct watch *w)
{
    free(w->question.item.text);
    job_list_fini(&w->question.list);
    pthread_mutex_destroy(&w->lock);
}

void watch_enter(struct watch *w, struct watcher *p, const struct job_ref *ref, int64_t deadline_ms)
{
    p->watch = w;
    p->ref = *ref;
    p->timer = (struct timer){.fire = on_deadline};
    pthread_mutex_lock(&w->lock);
    bool may_wait = !w->is_stopping;
    if (may_wait) {
        list_append(bucket_of(w, ref), &p->node);
        p->is_waiting = true;
        w->count++;
        metrics_add(METRIC_JOBS_WATCHED, 0, 1);
        timer_start(w->options.timers, &p->timer, deadline_ms);
        set_timer_locked(w);
    }
    pthread_mutex_unlock(&w->lock);
    if (!may_wait)
        p->told(p);
}

void watch_tell(struct watch *w, const struct job_ref *ref)
{
    struct list taken;
    list_init(&taken);
    pthread_mutex_lock(&w->lock);
    take_those_of_locked(w, ref, &taken);
    pthread_mutex_unlock(&w->lock);
    tell(w, &taken);
}

void watch_look(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->has_to_look = w->is_asked;
    bool has_to_ask = !w->is_asked && !w->is_stopping && prepare_locked(w, true);
    pthread_mutex_unlock(&w->lock);
    if (has_to_ask)
        db_submit_call(w->options.db, &w->question.item);
}

void watch_stop(struct watch *w)
{
    struct list taken;
    list_init(&taken);
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    for (size_t i = 0; i < WATCH_BUCKETS; i++) {
        for (struct list_node *n; (n = list_first(&w->buckets[i]));) {
            take_out_locked(w, &w->buckets[i], CONTAINER_OF(n, struct watcher, node));
            list_append(&taken, n);
        }
    }
    pthread_mutex_unlock(&w->lock);
    tell(w, &taken);
}
