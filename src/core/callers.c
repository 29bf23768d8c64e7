#include "core/callers.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void callers_init(struct callers *c)
{
    pthread_mutex_init(&c->lock, NULL);
    table_init(&c->table, CALLERS_MOST);
    list_init(&c->notes);
}

void callers_fini(struct callers *c)
{
    for (struct list_node *n; (n = list_take_first(&c->notes));)
        free(CONTAINER_OF(n, struct caller_note, node));
    table_fini(&c->table);
    pthread_mutex_destroy(&c->lock);
}

struct hash callers_name(const struct hash *key_hash, const char *address)
{
    /* A key may read like an address, which is the hash of another caller then: the NUL, which no
     * key has, keeps them apart. */
    struct span parts[] = {{"\0", 1}, {address, strlen(address)}};
    return key_hash ? *key_hash : hash_sha256_parts(parts, COUNT_OF(parts));
}

static struct caller_note *find_locked(const struct callers *c, const struct hash *name)
{
    struct table_node *n = table_find(&c->table, name);
    return n ? CONTAINER_OF(n, struct caller_note, named) : NULL;
}

static struct caller_note *make_locked(struct callers *c, const struct hash *name)
{
    struct list_node *oldest = list_first(&c->notes);
    if (oldest && c->notes.count >= CALLERS_MOST) {
        struct caller_note *forgotten = CONTAINER_OF(oldest, struct caller_note, node);
        table_remove(&c->table, &forgotten->named);
        list_remove(&c->notes, oldest);
        free(forgotten);
    }
    struct caller_note *note = mem_zero(sizeof *note);
    table_add(&c->table, &note->named, name);
    list_append(&c->notes, &note->node);
    return note;
}

static void use_locked(struct callers *c, struct caller_note *note)
{
    list_remove(&c->notes, &note->node);
    list_append(&c->notes, &note->node);
}

/* Who asks may have looked at the clock before what it asks for was noted. */
static int32_t less(int32_t ms, int64_t passed_ms)
{
    if (passed_ms <= 0)
        return ms;
    return passed_ms >= ms ? 0 : ms - (int32_t)passed_ms;
}

static void tell_quota(const struct caller_note *note, int64_t now_ms, struct quota *out)
{
    *out = note->quota;
    out->reset_ms = less(out->reset_ms, now_ms - note->told_ms);
    out->tokens_reset_ms = less(out->tokens_reset_ms, now_ms - note->told_ms);
}

static bool let_repeat_through_locked(struct caller_note *note, int64_t now_ms)
{
    if (note->repeats_ms < now_ms)
        note->repeats_ms = now_ms;
    if (note->repeats_ms - now_ms > (CALLERS_REPEATS - 1) * (int64_t)CALLERS_REPEAT_MS)
        return false;
    note->repeats_ms += CALLERS_REPEAT_MS;
    return true;
}

bool callers_refuse(struct callers *c, const struct caller_ask *ask, struct err *why,
                    struct quota *quota)
{
    bool is_refused = false;
    *quota = (struct quota){.policy = ""};
    pthread_mutex_lock(&c->lock);
    struct caller_note *note = find_locked(c, ask->name);
    if (note) {
        use_locked(c, note);
        tell_quota(note, ask->now_ms, quota);
        is_refused = ask->now_ms < note->known_until_ms &&
                     !(ask->may_be_repeat && let_repeat_through_locked(note, ask->now_ms));
    }
    if (is_refused) {
        *why = note->refusal;
        int64_t left_ms = note->refused_until_ms - ask->now_ms;
        why->retry_after_ms = left_ms > 0 ? (unsigned)left_ms : 0;
    }
    pthread_mutex_unlock(&c->lock);
    return is_refused;
}

bool callers_is_hot(struct callers *c, const struct hash *name, int64_t now_ms, struct quota *quota)
{
    int64_t second = now_ms / 1000;
    bool is_hot = false;
    pthread_mutex_lock(&c->lock);
    struct caller_note *note = find_locked(c, name);
    if (note) {
        note->asks = note->second == second ? note->asks + 1 : 1;
        note->second = second;
        if (note->asks >= CALLERS_HOT)
            note->hot_until_ms = now_ms + CALLERS_HOT_MS;
        is_hot = note->quota.limit > 0 && now_ms < note->hot_until_ms;
        if (is_hot)
            tell_quota(note, now_ms, quota);
    }
    pthread_mutex_unlock(&c->lock);
    return is_hot;
}

/* For how long the database need not be asked. 0: it is no refusal, or not of the caller as such. */
static int64_t known_ms(const struct err *e)
{
    switch (e->kind) {
    case ERR_TOKENS: /* a shorter message may fit, and open turns may give some back */
        return e->retry_after_ms < CALLERS_TOKENS_MS ? e->retry_after_ms : CALLERS_TOKENS_MS;
    case ERR_RATE_LIMITED:
    case ERR_OPEN_TURNS:
        return e->retry_after_ms < CALLERS_REFUSAL_MOST_MS ? e->retry_after_ms
                                                           : CALLERS_REFUSAL_MOST_MS;
    case ERR_UNAUTHORIZED:
        return CALLERS_UNKNOWN_MS;
    default:
        return 0;
    }
}

void callers_note(struct callers *c, const struct caller_news *news)
{
    int64_t refused_ms = known_ms(news->err);
    bool has_quota = news->quota->policy[0] != 0;
    if (!has_quota && refused_ms == 0)
        return;
    pthread_mutex_lock(&c->lock);
    struct caller_note *note = find_locked(c, news->name);
    if (note)
        use_locked(c, note);
    else
        note = make_locked(c, news->name);
    if (has_quota) {
        note->quota = *news->quota;
        note->told_ms = news->now_ms;
    }
    if (news->err->kind == ERR_NONE && news->quota->remaining > 0)
        note->known_until_ms = 0; /* his tier has changed */
    if (refused_ms > 0) {
        note->refusal = *news->err;
        note->known_until_ms = news->now_ms + refused_ms;
        note->refused_until_ms = news->now_ms + news->err->retry_after_ms;
    }
    pthread_mutex_unlock(&c->lock);
}
