/* A claimed job, from its call to what is written of it and who is told: without a database and a model. */
#include "unit.h"

#include <string.h>

#include "base/mem.h"
#include "core/turn_private.h"
#include "db/db.h"

/* ---- stand-ins --------------------------------------------------------------------------------- */

static struct finish_item *written;
static struct models_call *called;
static struct prompt prompt;
static int hook_wakes, job_wakes, tells;
static bool is_handed_back;

void db_submit_accept(struct db *d, struct accept_item *item)
{
    (void)d;
    (void)item;
    fail();
}

void db_submit_finish(struct db *d, struct finish_item *item)
{
    (void)d;
    written = item;
}

void models_submit(struct models *m, struct models_call *c)
{
    (void)m;
    called = c;
}

void models_submit_other(struct models *m, struct models_call *c)
{
    models_submit(m, c);
}

bool models_has_other(struct models *m, struct models_call *c, int64_t now_ms)
{
    (void)m;
    (void)c;
    (void)now_ms;
    return false;
}

bool models_are_in_trouble(const struct models *m)
{
    (void)m;
    return false;
}

int models_bear(const struct models *m)
{
    (void)m;
    return 1;
}

const struct prompt *models_prompt(const struct models *m)
{
    (void)m;
    return &prompt;
}

void jobs_begin(struct jobs *j, struct turn *t)
{
    (void)j;
    (void)t;
}

void jobs_end(struct jobs *j, struct turn *t)
{
    jobs_begin(j, t);
}

void jobs_note_room(struct jobs *j)
{
    (void)j;
}

void jobs_wake(struct jobs *j)
{
    (void)j;
    job_wakes++;
}

bool jobs_is_handed_back(struct jobs *j, const struct turn *t)
{
    (void)j;
    assert_int_equal(t->failures, 3);
    return is_handed_back;
}

void hooks_wake(struct hooks *h)
{
    (void)h;
    hook_wakes++;
}

void watch_tell(struct watch *w, const struct job_ref *ref)
{
    (void)w;
    assert_int_equal(ref->turn_no, 7);
    tells++;
}

bool backlog_has_room(struct backlog *b)
{
    (void)b;
    return true;
}

void backlog_place(struct backlog *b, bool is_new, int64_t *position, int64_t *wait_ms)
{
    (void)b;
    *position = is_new;
    *wait_ms = -1;
}

void meter_take(struct meter *m, struct meter_place *p, const struct meter_ask *ask)
{
    (void)m;
    (void)p;
    (void)ask;
    fail();
}

bool core_is_closing(struct core *c)
{
    (void)c;
    return false;
}

/* ---- a job that runs --------------------------------------------------------------------------- */

static struct config config = {
    .history_messages = 20, .history_bytes = 1000, .database_timeout = 1000};
static struct core core;

static void run_job(void)
{
    const struct gate_options gate = {.permits = 1, .most = 2};
    struct claim_job job = {
        .ref = {.turn_no = 7, .attempt = 9}, .words = mem_text("hi"), .failures = 3};
    memset(&core, 0, sizeof core);
    written = NULL;
    called = NULL;
    hook_wakes = job_wakes = tells = 0;
    is_handed_back = false;
    core.config = &config;
    list_init(&core.turns);
    pthread_mutex_init(&core.lock, NULL);
    pthread_cond_init(&core.changed, NULL);
    gate_init(&core.gate, &gate);
    history_init(&core.history, 0);
    prompt_init(&prompt, "demo", "");
    turn_run(&core, &job);
    assert_non_null(called);
}

static void end_call(enum err_kind kind)
{
    struct llm_call *call = &called->call;
    if (kind == ERR_NONE)
        call->text = mem_text("hi there");
    else
        err_set(&call->err, kind, "%s", "as told");
    call->text_len = call->text ? strlen(call->text) : 0;
    call->done(call);
    assert_non_null(written);
}

static void end_job(enum finish_outcome outcome, bool has_next, bool has_webhook)
{
    written->outcome = outcome;
    if (outcome == FINISH_FENCED)
        err_set(&written->err, ERR_CANCELLED, "%s", "as told");
    written->has_next = has_next;
    written->has_webhook = has_webhook;
    written->done(written);
    assert_int_equal(core.turns.count, 0);
    prompt_fini(&prompt);
    history_fini(&core.history);
    gate_fini(&core.gate);
    pthread_cond_destroy(&core.changed);
    pthread_mutex_destroy(&core.lock);
}

/* ---- the tests --------------------------------------------------------------------------------- */

static void what_is_written_of_it(void **state)
{
    (void)state;
    static const struct {
        enum err_kind kind;
        bool is_handed_back;
        enum finish_state state;
        const char *error_code; /* as it counts; NULL: none */
    } rows[] = {
        {ERR_NONE, false, FINISH_COMPLETED, "none"},
        {ERR_MODEL_FAILED, false, FINISH_FAILED, "model_failed"},
        {ERR_MODEL_TIMEOUT, false, FINISH_FAILED, "model_timeout"},
        {ERR_MODEL_FAILED, true, FINISH_HANDED_BACK, "model_failed"},
        {ERR_MODEL_TIMEOUT, true, FINISH_HANDED_BACK, "model_timeout"},
        {ERR_CANCELLED, true, FINISH_HANDED_BACK, NULL},
        {ERR_WORKER_LOST, true, FINISH_HANDED_BACK, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        run_job();
        is_handed_back = rows[i].is_handed_back;
        end_call(rows[i].kind);
        assert_int_equal(written->state, rows[i].state);
        assert_int_equal(written->ref.attempt, 9);
        if (rows[i].error_code)
            assert_string_equal(written->error_code, rows[i].error_code);
        else
            assert_null(written->error_code);
        end_job(FINISH_DONE, false, false);
        assert_int_equal(tells, !rows[i].is_handed_back);
    }
}

/* Nobody is woken for what is not there. */
static void who_is_woken_by_its_end(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        run_job();
        end_call(ERR_NONE);
        end_job(FINISH_DONE, i & 1, i & 2);
        assert_int_equal(job_wakes, (i & 1) != 0);
        assert_int_equal(hook_wakes, (i & 2) != 0);
    }
    run_job();
    end_call(ERR_NONE);
    end_job(FINISH_FENCED, false, false);
    assert_int_equal(job_wakes + hook_wakes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_of_it),
        cmocka_unit_test(who_is_woken_by_its_end),
    };
    return RUN(tests);
}
