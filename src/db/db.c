#include "db/db.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "db/db_private.h"

struct db *db_open(const struct config *c, struct err *e)
{
    if (!conn_url_is_valid(c->database_url)) {
        err_set(e, ERR_BAD_FIELD, "HANSARD_DATABASE_URL is not a libpq URL");
        return NULL;
    }
    const struct batch_terms terms = {.history_messages = (int32_t)c->history_messages,
                                      .history_bytes = (int32_t)c->history_bytes,
                                      .session_ttl_ms = c->session_ttl,
                                      .most_jobs = (int32_t)c->job_owner_limit};
    size_t count = (size_t)c->lanes;
    struct db *d = mem_zero(sizeof *d + count * sizeof d->lanes[0]);
    hall_init(&d->hall);
    d->timeout_ms = c->database_timeout;
    d->url = mem_text(c->database_url);
    d->lane_count = count;
    for (size_t i = 0; i < count; i++)
        lane_start(&d->lanes[i], d, d->url, &terms);
    return d;
}

bool db_wait_quiet(struct db *d, int64_t until_ms)
{
    return hall_wait_quiet(&d->hall, until_ms);
}

void db_close(struct db *d)
{
    if (!d)
        return;
    if (!hall_wait_quiet(&d->hall, 0))
        LOG(LOG_WARN, "database_work_left");
    hall_stop(&d->hall);
    for (size_t i = 0; i < d->lane_count; i++)
        lane_join(&d->lanes[i]);
    hall_fini(&d->hall);
    free(d->url);
    free(d);
}

void db_set_worker(struct db *d, const struct uuid *worker)
{
    hall_set_worker(&d->hall, worker);
}

void db_submit_accept(struct db *d, struct accept_item *item)
{
    item->sent = item->was_late = false;
    item->text = item->model = NULL;
    item->text_len = 0;
    item->history = (struct passage){.json = NULL};
    err_clear(&item->err);
    item->quota = (struct quota){.limit = 0};
    hall_add(&d->hall, WORK_ACCEPT, &item->node);
}

void db_submit_finish(struct db *d, struct finish_item *item)
{
    item->was_late = false;
    err_clear(&item->err);
    hall_add(&d->hall, WORK_FINISH, &item->node);
}

void db_submit_call(struct db *d, struct call_item *item)
{
    item->text = NULL;
    item->text_len = 0;
    err_clear(&item->err);
    hall_add(&d->hall, WORK_CALL, &item->node);
}
