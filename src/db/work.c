#include "db/work.h"

#include "base/metrics.h"

#define RETRY_AFTER_MS 1000

struct accept_item *work_accept(struct list_node *n)
{
    return CONTAINER_OF(n, struct accept_item, node);
}

struct finish_item *work_finish(struct list_node *n)
{
    return CONTAINER_OF(n, struct finish_item, node);
}

struct call_item *work_call(struct list_node *n)
{
    return CONTAINER_OF(n, struct call_item, node);
}

static enum work_fate accept_fate(const struct accept_item *item, bool in_flight)
{
    if (!in_flight && !item->sent)
        return WORK_EXPIRES;
    return item->was_late ? WORK_WAITS : WORK_IS_LATE;
}

enum work_fate work_fate(enum work_kind kind, struct list_node *n, bool in_flight, int64_t now_ms)
{
    switch (kind) {
    case WORK_ACCEPT:
        if (now_ms < work_accept(n)->deadline_ms)
            return WORK_WAITS;
        return accept_fate(work_accept(n), in_flight);
    case WORK_FINISH:
        if (now_ms < work_finish(n)->deadline_ms || work_finish(n)->was_late)
            return WORK_WAITS;
        return WORK_IS_LATE;
    default:
        if (in_flight || (now_ms < work_call(n)->deadline_ms && !work_call(n)->was_sent))
            return WORK_WAITS;
        return WORK_EXPIRES;
    }
}

void work_mark_sent(enum work_kind kind, struct list_node *n)
{
    if (kind == WORK_ACCEPT)
        work_accept(n)->sent = true;
    else if (kind == WORK_CALL)
        work_call(n)->was_sent = work_call(n)->is_once;
}

void work_tell_late(enum work_kind kind, struct list_node *n)
{
    if (kind == WORK_ACCEPT) {
        struct accept_item *item = work_accept(n);
        assert(!item->was_late);
        item->was_late = true;
        if (item->late)
            item->late(item);
    } else if (kind == WORK_FINISH) {
        struct finish_item *item = work_finish(n);
        assert(!item->was_late);
        item->was_late = true;
        metrics_add(METRIC_FINISH_UNWRITTEN, 0, 1);
        if (item->late)
            item->late(item);
    }
}

static void set_refusal(struct err *e, enum err_kind why)
{
    err_clear(e);
    err_set(e, why, "%s", "");
    if (why == ERR_DB_DOWN)
        e->retry_after_ms = RETRY_AFTER_MS;
}

void work_refuse(enum work_kind kind, struct list_node *n, enum err_kind why)
{
    switch (kind) {
    case WORK_ACCEPT:
        work_accept(n)->outcome = ACCEPT_REFUSED;
        set_refusal(&work_accept(n)->err, why);
        break;
    case WORK_FINISH:
        work_finish(n)->outcome = FINISH_FENCED;
        set_refusal(&work_finish(n)->err, why);
        break;
    default:
        set_refusal(&work_call(n)->err, why);
        break;
    }
    work_done(kind, n);
}

void work_done(enum work_kind kind, struct list_node *n)
{
    assert(!list_is_linked(n));
    if (kind == WORK_ACCEPT) {
        work_accept(n)->done(work_accept(n));
    } else if (kind == WORK_FINISH) {
        if (work_finish(n)->was_late)
            metrics_add(METRIC_FINISH_UNWRITTEN, 0, -1);
        work_finish(n)->done(work_finish(n));
    } else {
        work_call(n)->done(work_call(n));
    }
}
