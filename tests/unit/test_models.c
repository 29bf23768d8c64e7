/* Which model server a call goes to, in every state of the two, and how many calls they bear: with servers that are in
 * the state they are told to be in. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/models.h"

#define BEGIN_MS 1000000
#define CALL_MS 5000

/* ---- stand-ins: two servers -------------------------------------------------------------------- */

struct llm {
    enum llm_state state;
    int limit;
    const char *url;
    struct llm_call *last; /* the last that was submitted */
    int calls;
    bool is_open, has_stopped;
};

static struct llm servers[MODELS_MOST];
static size_t openings_that_succeed;

struct llm *llm_open(const struct config *c, const struct llm_server *s,
                     const struct llm_events *events, struct err *e)
{
    (void)events;
    assert_true(s->index < MODELS_MOST);
    assert_int_equal(s->most, c->llm_concurrency);
    if (openings_that_succeed == 0) {
        err_set(e, ERR_INTERNAL, "%s", "as told");
        return NULL;
    }
    openings_that_succeed--;
    servers[s->index] =
        (struct llm){.state = LLM_UP, .limit = s->most, .url = s->url, .is_open = true};
    return &servers[s->index];
}

void llm_stop(struct llm *l)
{
    l->has_stopped = true;
}

void llm_close(struct llm *l)
{
    if (l)
        l->is_open = false;
}

void llm_submit(struct llm *l, struct llm_call *call)
{
    l->last = call;
    l->calls++;
}

void llm_break_off(struct llm *l)
{
    (void)l;
}

int llm_limit(const struct llm *l)
{
    return l->limit;
}

enum llm_state llm_state(const struct llm *l)
{
    return l->state;
}

/* ---- a pair of them ---------------------------------------------------------------------------- */

static void fill(struct config *c, bool has_fallback)
{
    static char url[] = "http://first", other_url[] = "http://second", key[] = "", model[] = "a",
                other_model[] = "the other", prompt[] = "be kind";
    *c = (struct config){.llm_url = url,
                         .llm_api_key = key,
                         .llm_model = model,
                         .llm_fallback_url = has_fallback ? other_url : key,
                         .llm_fallback_api_key = key,
                         .llm_fallback_model = has_fallback ? other_model : key,
                         .llm_concurrency = 10,
                         .llm_total_timeout = CALL_MS,
                         .system_prompt = prompt};
}

static void open_models(struct models *m, bool has_fallback)
{
    struct config c;
    struct err e = {.kind = ERR_NONE};
    const struct llm_events events = {.changed = NULL};
    fill(&c, has_fallback);
    memset(servers, 0, sizeof servers);
    openings_that_succeed = MODELS_MOST;
    assert_true(models_open(m, &c, &events, &e));
}

static void close_models(struct models *m)
{
    assert_int_equal(m->trials, 0);
    models_fini(m);
    assert_false(servers[MODELS_PRIMARY].is_open || servers[MODELS_FALLBACK].is_open);
}

static void set(size_t server, enum llm_state state, int limit)
{
    servers[server].state = state;
    servers[server].limit = limit;
}

/* One that has time enough. */
static void submit(struct models *m, struct models_call *c)
{
    *c = (struct models_call){.call = {.deadline_ms = BEGIN_MS + CALL_MS, .admitted_ms = BEGIN_MS}};
    c->body = prompt_build(models_prompt(m), (struct span){"", 0}, "hi", &c->body_len);
    models_submit(m, c);
    assert_ptr_equal(servers[c->server].last, &c->call);
}

/* How it ended, after so many attempts. Is there another server for it? */
static bool end(struct models *m, struct models_call *c, enum err_kind kind, int32_t attempts)
{
    c->call.attempts = attempts;
    c->call.err = (struct err){.kind = ERR_NONE};
    if (kind != ERR_NONE)
        err_set(&c->call.err, kind, "%s", "as told");
    return models_has_other(m, c, BEGIN_MS + 100);
}

static void over(struct models *m, struct models_call *c)
{
    assert_false(end(m, c, ERR_NONE, 1));
    free(c->body);
}

/* ---- opening ----------------------------------------------------------------------------------- */

static void opened_and_closed(void **state)
{
    (void)state;
    struct models m;
    open_models(&m, true);
    assert_string_equal(servers[MODELS_PRIMARY].url, "http://first");
    assert_string_equal(servers[MODELS_FALLBACK].url, "http://second");
    models_stop(&m);
    assert_true(servers[MODELS_PRIMARY].has_stopped && servers[MODELS_FALLBACK].has_stopped);
    close_models(&m);
    open_models(&m, false);
    assert_false(servers[MODELS_FALLBACK].is_open);
    models_stop(&m);
    assert_true(servers[MODELS_PRIMARY].has_stopped);
    close_models(&m);
}

static void all_or_none_is_opened(void **state)
{
    (void)state;
    for (size_t fine = 0; fine < MODELS_MOST; fine++) {
        struct models m;
        struct config c;
        struct err e = {.kind = ERR_NONE};
        const struct llm_events events = {.changed = NULL};
        fill(&c, true);
        memset(servers, 0, sizeof servers);
        openings_that_succeed = fine;
        assert_false(models_open(&m, &c, &events, &e));
        assert_int_equal(e.kind, ERR_INTERNAL);
        assert_false(servers[MODELS_PRIMARY].is_open || servers[MODELS_FALLBACK].is_open);
    }
}

/* ---- which one --------------------------------------------------------------------------------- */

static const enum llm_state states[] = {LLM_UP, LLM_TRIAL, LLM_DOWN};
static const int limits[] = {10, 1, 0};

static void every_combination(void **state)
{
    (void)state;
    /* Of the first call, and of one that comes while that is on its way. Rows: the primary up, on trial, down. */
    static const size_t first[3][3] = {{0, 0, 0}, {0, 0, 0}, {1, 1, 0}};
    static const size_t second[3][3] = {{0, 0, 0}, {1, 1, 0}, {1, 1, 0}};
    static const int bear[3][3] = {{10, 10, 10}, {7, 7, 1}, {7, 7, 0}};
    for (size_t p = 0; p < 3; p++) {
        for (size_t f = 0; f < 3; f++) {
            struct models m;
            struct models_call one, other;
            open_models(&m, true);
            set(MODELS_PRIMARY, states[p], limits[p]);
            set(MODELS_FALLBACK, states[f], 7);
            assert_int_equal(models_bear(&m), bear[p][f]);
            assert_int_equal(models_are_in_trouble(&m), p > 0 && f > 0);
            submit(&m, &one);
            submit(&m, &other);
            assert_int_equal(one.server, first[p][f]);
            assert_int_equal(other.server, second[p][f]);
            assert_int_equal(one.is_trial, p == 1 && f < 2);
            assert_false(other.is_trial);
            over(&m, &one);
            over(&m, &other);
            close_models(&m);
        }
    }
}

static void without_a_fallback(void **state)
{
    (void)state;
    for (size_t p = 0; p < 3; p++) {
        struct models m;
        struct models_call c;
        open_models(&m, false);
        set(MODELS_PRIMARY, states[p], limits[p]);
        assert_int_equal(models_bear(&m), limits[p]);
        assert_int_equal(models_are_in_trouble(&m), p > 0);
        submit(&m, &c);
        assert_int_equal(c.server, MODELS_PRIMARY);
        assert_false(end(&m, &c, ERR_MODEL_FAILED, 1));
        free(c.body);
        close_models(&m);
    }
}

static void as_many_trials_as_may_try(void **state)
{
    (void)state;
    struct models m;
    struct models_call c[6];
    open_models(&m, true);
    set(MODELS_PRIMARY, LLM_TRIAL, 2);
    for (int i = 0; i < 4; i++) {
        submit(&m, &c[i]);
        assert_int_equal(c[i].server, i < 2 ? MODELS_PRIMARY : MODELS_FALLBACK);
    }
    assert_int_equal(m.trials, 2);
    over(&m, &c[2]); /* not one of them */
    assert_int_equal(m.trials, 2);
    submit(&m, &c[2]);
    assert_int_equal(c[2].server, MODELS_FALLBACK);
    set(MODELS_PRIMARY, LLM_TRIAL, 3);
    submit(&m, &c[4]);
    assert_true(c[4].is_trial);
    over(&m, &c[0]); /* it goes back when the call ends */
    assert_int_equal(m.trials, 2);
    submit(&m, &c[0]);
    assert_true(c[0].is_trial);
    assert_true(end(&m, &c[1], ERR_MODEL_FAILED, 1)); /* ... however it does */
    assert_int_equal(m.trials, 2);
    models_submit_other(&m, &c[1]);
    assert_int_equal(c[1].server, MODELS_FALLBACK);
    over(&m, &c[1]); /* and once only */
    assert_int_equal(m.trials, 2);
    set(MODELS_PRIMARY, LLM_UP, 2);
    submit(&m, &c[5]);
    assert_int_equal(c[5].server, MODELS_PRIMARY);
    assert_false(c[5].is_trial);
    for (int i = 0; i < 6; i++)
        if (i != 1)
            over(&m, &c[i]);
    close_models(&m);
}

/* ---- and then the other ------------------------------------------------------------------------ */

static void only_after_failures_of_the_model(void **state)
{
    (void)state;
    for (int kind = 0; kind < ERR_KINDS; kind++) {
        for (size_t f = 0; f < 3; f++) {
            struct models m;
            struct models_call c;
            open_models(&m, true);
            set(MODELS_FALLBACK, states[f], limits[f]);
            submit(&m, &c);
            assert_int_equal(end(&m, &c, (enum err_kind)kind, 1),
                             (kind == ERR_MODEL_FAILED || kind == ERR_MODEL_TIMEOUT) && f < 2);
            free(c.body);
            close_models(&m);
        }
    }
}

static void not_the_other_way_round(void **state)
{
    (void)state;
    struct models m;
    struct models_call c;
    open_models(&m, true);
    set(MODELS_PRIMARY, LLM_DOWN, 0);
    submit(&m, &c);
    assert_int_equal(c.server, MODELS_FALLBACK);
    set(MODELS_PRIMARY, LLM_UP, 10);
    assert_false(end(&m, &c, ERR_MODEL_FAILED, 3));
    free(c.body);
    submit(&m, &c);
    assert_true(end(&m, &c, ERR_MODEL_FAILED, 3));
    models_submit_other(&m, &c);
    assert_false(end(&m, &c, ERR_MODEL_FAILED, 3)); /* nor twice */
    free(c.body);
    close_models(&m);
}

static void with_time_left(void **state)
{
    (void)state;
    struct models m;
    struct models_call c;
    open_models(&m, true);
    submit(&m, &c);
    assert_true(end(&m, &c, ERR_MODEL_TIMEOUT, 1));
    int64_t last_ms = BEGIN_MS + CALL_MS - 200;
    assert_true(models_has_other(&m, &c, last_ms));
    c.call.deadline_ms--;
    assert_false(models_has_other(&m, &c, last_ms));
    assert_true(models_has_other(&m, &c, last_ms - 1));
    c.call.deadline_ms += 1 + CALL_MS;
    assert_true(models_has_other(&m, &c, last_ms));
    assert_false(models_has_other(&m, &c, last_ms + 1)); /* since it was admitted */
    c.call.admitted_ms++;
    assert_true(models_has_other(&m, &c, last_ms + 1));
    assert_false(models_has_other(&m, &c, last_ms + 2));
    free(c.body);
    close_models(&m);
}

static void attempts_of_both_are_told_apart(void **state)
{
    (void)state;
    struct models m;
    struct models_call c;
    open_models(&m, true);
    submit(&m, &c);
    assert_int_equal(c.attempts, 0);
    assert_true(end(&m, &c, ERR_MODEL_FAILED, 3));
    models_submit_other(&m, &c);
    assert_int_equal(c.attempts, 3);
    assert_false(end(&m, &c, ERR_NONE, 2));
    assert_int_equal(c.attempts + c.call.attempts, 5);
    assert_int_equal(servers[MODELS_PRIMARY].calls, 1);
    assert_int_equal(servers[MODELS_FALLBACK].calls, 1);
    free(c.body);
    close_models(&m);
}

static void the_body_names_its_model(void **state)
{
    (void)state;
    static const char rest[] = "\",\"messages\":[{\"role\":\"system\",\"content\":\"be kind\"},"
                               "{\"role\":\"user\",\"content\":\"hi\"}]}";
    char first[200], other[200];
    snprintf(first, sizeof first, "{\"model\":\"a%s", rest);
    snprintf(other, sizeof other, "{\"model\":\"the other%s", rest);
    for (int is_down = 0; is_down < 2; is_down++) {
        struct models m;
        struct models_call c;
        open_models(&m, true);
        if (is_down)
            set(MODELS_PRIMARY, LLM_DOWN, 0);
        submit(&m, &c);
        if (!is_down) {
            assert_string_equal(c.call.body, first);
            assert_int_equal(c.call.body_len, strlen(first));
            assert_true(end(&m, &c, ERR_MODEL_FAILED, 1));
            models_submit_other(&m, &c);
        }
        assert_int_equal(c.server, MODELS_FALLBACK);
        assert_ptr_equal(c.call.body, c.body);
        assert_string_equal(c.call.body, other);
        assert_int_equal(c.call.body_len, strlen(other));
        assert_int_equal(c.body_len, strlen(other));
        over(&m, &c);
        close_models(&m);
    }
}

static void the_same_model_when_none_is_named(void **state)
{
    (void)state;
    struct models m;
    struct models_call c;
    struct config config;
    struct err e = {.kind = ERR_NONE};
    const struct llm_events events = {.changed = NULL};
    static char none[] = "";
    fill(&config, true);
    config.llm_fallback_model = none;
    memset(servers, 0, sizeof servers);
    openings_that_succeed = MODELS_MOST;
    assert_true(models_open(&m, &config, &events, &e));
    set(MODELS_PRIMARY, LLM_DOWN, 0);
    submit(&m, &c);
    assert_int_equal(c.server, MODELS_FALLBACK);
    assert_memory_equal(c.call.body, "{\"model\":\"a\",", 13);
    over(&m, &c);
    close_models(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opened_and_closed),
        cmocka_unit_test(all_or_none_is_opened),
        cmocka_unit_test(every_combination),
        cmocka_unit_test(without_a_fallback),
        cmocka_unit_test(as_many_trials_as_may_try),
        cmocka_unit_test(only_after_failures_of_the_model),
        cmocka_unit_test(not_the_other_way_round),
        cmocka_unit_test(with_time_left),
        cmocka_unit_test(attempts_of_both_are_told_apart),
        cmocka_unit_test(the_body_names_its_model),
        cmocka_unit_test(the_same_model_when_none_is_named),
    };
    return RUN(tests);
}
