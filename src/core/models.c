#include "core/models.h"

#include <stdlib.h>

/* With less time left the fallback is not worth calling. */
#define OTHER_LEAST_MS 200

bool models_open(struct models *m, const struct config *c, const struct llm_events *events,
                 struct err *e)
{
    const struct llm_server servers[MODELS_MOST] = {
        {.name = "primary",
         .index = MODELS_PRIMARY,
         .url = c->llm_url,
         .api_key = c->llm_api_key,
         .url_setting = "HANSARD_LLM_URL",
         .key_setting = "HANSARD_LLM_API_KEY",
         .most = (int)c->llm_concurrency},
        {.name = "fallback",
         .index = MODELS_FALLBACK,
         .url = c->llm_fallback_url,
         .api_key = c->llm_fallback_api_key,
         .url_setting = "HANSARD_LLM_FALLBACK_URL",
         .key_setting = "HANSARD_LLM_FALLBACK_API_KEY",
         .most = (int)c->llm_concurrency},
    };
    const char *names[MODELS_MOST] = {c->llm_model, c->llm_fallback_model[0] ? c->llm_fallback_model
                                                                             : c->llm_model};
    size_t count = c->llm_fallback_url[0] ? MODELS_MOST : 1;
    *m = (struct models){.call_ms = c->llm_total_timeout};
    for (size_t i = 0; i < count; i++) {
        m->servers[i] = llm_open(c, &servers[i], events, e);
        if (!m->servers[i]) {
            models_fini(m);
            return false;
        }
        prompt_init(&m->prompts[i], names[i], c->system_prompt);
    }
    return true;
}

void models_stop(struct models *m)
{
    for (size_t i = 0; i < MODELS_MOST && m->servers[i]; i++)
        llm_stop(m->servers[i]);
}

void models_fini(struct models *m)
{
    for (size_t i = 0; i < MODELS_MOST; i++) {
        llm_close(m->servers[i]);
        prompt_fini(&m->prompts[i]);
    }
}

static bool can_fall_back(const struct models *m)
{
    return m->servers[MODELS_FALLBACK] && llm_state(m->servers[MODELS_FALLBACK]) != LLM_DOWN;
}

int models_bear(const struct models *m)
{
    const struct llm *primary = m->servers[MODELS_PRIMARY];
    if (llm_state(primary) != LLM_UP && can_fall_back(m))
        return llm_limit(m->servers[MODELS_FALLBACK]);
    return llm_limit(primary);
}

bool models_are_in_trouble(const struct models *m)
{
    const struct llm *fallback = m->servers[MODELS_FALLBACK];
    return llm_state(m->servers[MODELS_PRIMARY]) != LLM_UP &&
           (!fallback || llm_state(fallback) != LLM_UP);
}

const struct prompt *models_prompt(const struct models *m)
{
    return &m->prompts[MODELS_PRIMARY];
}

/* While the primary is not up, the fallback is called, but for as many calls as may try the primary. */
static size_t pick(struct models *m, bool *is_trial)
{
    const struct llm *primary = m->servers[MODELS_PRIMARY];
    *is_trial = false;
    if (llm_state(primary) == LLM_UP || !can_fall_back(m))
        return MODELS_PRIMARY;
    *is_trial = atomic_fetch_add(&m->trials, 1) < llm_limit(primary);
    if (*is_trial)
        return MODELS_PRIMARY;
    atomic_fetch_sub(&m->trials, 1);
    return MODELS_FALLBACK;
}

static void submit_to(struct models *m, struct models_call *c, size_t server)
{
    if (server != c->server)
        c->body = prompt_move(&m->prompts[c->server], &m->prompts[server], c->body, &c->body_len);
    c->server = server;
    c->call.body = c->body;
    c->call.body_len = c->body_len;
    llm_submit(m->servers[server], &c->call);
}

void models_submit(struct models *m, struct models_call *c)
{
    submit_to(m, c, pick(m, &c->is_trial));
}

bool models_has_other(struct models *m, struct models_call *c, int64_t now_ms)
{
    enum err_kind why = c->call.err.kind;
    if (c->is_trial)
        atomic_fetch_sub(&m->trials, 1);
    c->is_trial = false;
    return (why == ERR_MODEL_FAILED || why == ERR_MODEL_TIMEOUT) && c->server == MODELS_PRIMARY &&
           can_fall_back(m) && c->call.deadline_ms - now_ms >= OTHER_LEAST_MS &&
           c->call.admitted_ms + m->call_ms - now_ms >= OTHER_LEAST_MS;
}

void models_submit_other(struct models *m, struct models_call *c)
{
    c->attempts += c->call.attempts;
    submit_to(m, c, MODELS_FALLBACK);
}

void models_break_off(struct models *m)
{
    for (size_t i = 0; i < MODELS_MOST && m->servers[i]; i++)
        llm_break_off(m->servers[i]);
}
