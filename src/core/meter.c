#include "core/meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "db/store.h"

#define ASK_MOST 1000 /* turns in one call, and as many ahead */
#define NUMBER_TEXT_BYTES 12

struct meter_caller {
    struct list_node node;
    struct meter *meter;
    struct hash name;
    char key_hash[2 * HASH_BYTES + 3]; /* "\\x…"; "": anonymous */
    char address[LIMIT_ADDRESS_BYTES];
    char turns_text[NUMBER_TEXT_BYTES], ahead_text[NUMBER_TEXT_BYTES];
    struct call_item item;
    struct timer timer;         /* does anybody still come? */
    bool is_asked;              /* lock: a call is on its way */
    bool is_timed;              /* lock: the timer is set */
    struct list waiting, asked; /* lock; meter_place */
    int ahead;                  /* lock: taken, and not yet used */
    int64_t ahead_until_ms;     /* lock */
    int64_t span;               /* lock: of METER_SPAN_MS, in which comers are counted */
    int came, came_before;      /* lock: in this span and the one before */
};

void meter_init(struct meter *m, struct db *db, struct timers *timers)
{
    *m = (struct meter){.db = db, .timers = timers};
    pthread_mutex_init(&m->lock, NULL);
    list_init(&m->callers);
}

void meter_fini(struct meter *m)
{
    for (struct list_node *n; (n = list_take_first(&m->callers));) {
        struct meter_caller *c = CONTAINER_OF(n, struct meter_caller, node);
        free(c->item.text);
        free(c);
    }
    pthread_mutex_destroy(&m->lock);
}

static struct meter_caller *find_locked(struct meter *m, const struct hash *name)
{
    for (struct list_node *n = list_first(&m->callers); n; n = list_next(&m->callers, n)) {
        struct meter_caller *c = CONTAINER_OF(n, struct meter_caller, node);
        if (memcmp(c->name.bytes, name->bytes, HASH_BYTES) == 0)
            return c;
    }
    return NULL;
}

static void on_done(struct call_item *item);
static void on_time(struct timer *timer);

static struct meter_caller *make_locked(struct meter *m, const struct meter_ask *ask)
{
    struct meter_caller *c = mem_zero(sizeof *c);
    c->meter = m;
    c->name = *ask->name;
    c->item.done = on_done;
    c->timer.fire = on_time;
    snprintf(c->address, sizeof c->address, "%s", ask->address);
    if (ask->key_hash) {
        memcpy(c->key_hash, "\\x", 2);
        hash_hex(ask->key_hash, c->key_hash + 2);
    }
    list_init(&c->waiting);
    list_init(&c->asked);
    list_append(&m->callers, &c->node);
    return c;
}

/* Threads that looked at the clock before a span ended may be late: they count in the next one. */
static void count_locked(struct meter_caller *c, int64_t now_ms)
{
    int64_t span = now_ms / METER_SPAN_MS;
    if (span > c->span) {
        c->came_before = span == c->span + 1 ? c->came : 0;
        c->came = 0;
        c->span = span;
    }
    c->came++;
}

/* Those that wait are asked for, and ahead as many as came in the span before. */
static void prepare_locked(struct meter_caller *c, int64_t now_ms)
{
    int64_t age = now_ms / METER_SPAN_MS - c->span; /* of the last count, in spans */
    int expected = age <= 0 ? c->came_before : age == 1 ? c->came : 0;
    while (c->waiting.count > 0 && c->asked.count < ASK_MOST)
        list_append(&c->asked, list_take_first(&c->waiting));
    snprintf(c->turns_text, sizeof c->turns_text, "%zu", c->asked.count);
    snprintf(c->ahead_text, sizeof c->ahead_text, "%d", expected < ASK_MOST ? expected : ASK_MOST);
    c->is_asked = true;
    c->item.deadline_ms =
        CONTAINER_OF(list_first(&c->asked), struct meter_place, node)->deadline_ms;
    const struct store_quota quota = {.key_hash_hex = c->key_hash[0] ? c->key_hash : NULL,
                                      .address = c->address,
                                      .turns = c->turns_text,
                                      .ahead = c->ahead_text};
    store_take_quota(&c->item, &quota);
}

/* "{granted,retry_after_ms,ahead}"; NULL: not limited. */
struct meter_answer {
    bool is_limited;
    int granted, retry_after_ms, ahead;
};

static struct meter_answer read_answer(const char *text)
{
    struct meter_answer a = {.is_limited = text != NULL};
    if (text && sscanf(text, "{%d,%d,%d}", &a.granted, &a.retry_after_ms, &a.ahead) != 3)
        a = (struct meter_answer){.is_limited =
                                      false}; /* another release's; accept_turns will say */
    return a;
}

static void tell(struct list *asked, const struct meter_answer *a, const struct err *failure)
{
    int granted = a->granted;
    struct err why = *failure;
    if (why.kind == ERR_NONE && a->is_limited) {
        err_set(&why, ERR_RATE_LIMITED, "%s", "");
        why.retry_after_ms = a->retry_after_ms > 0 ? (unsigned)a->retry_after_ms : 0;
    }
    for (struct list_node *n; (n = list_take_first(asked));) {
        struct meter_place *p = CONTAINER_OF(n, struct meter_place, node);
        if (why.kind == ERR_NONE || granted-- > 0)
            p->granted(p, a->is_limited);
        else
            p->refused(p, &why);
    }
}

static void move_all(struct list *from, struct list *to)
{
    for (struct list_node *n; (n = list_take_first(from));)
        list_append(to, n);
}

/* Who came meanwhile is served from what was taken ahead. */
static int serve_locked(struct meter_caller *c, struct list *served)
{
    int count = 0;
    for (; c->ahead > 0 && c->waiting.count > 0; c->ahead--, count++)
        list_append(served, list_take_first(&c->waiting));
    return count;
}

/* What is to be done next with a caller of whom no call is on its way. */
enum meter_next { METER_ASKS, METER_WAITS, METER_IS_OVER };

static enum meter_next choose_next_locked(struct meter_caller *c, int64_t now_ms)
{
    struct meter *m = c->meter;
    c->is_asked = false;
    if (c->waiting.count > 0) {
        prepare_locked(c, now_ms);
        return METER_ASKS;
    }
    /* As long as somebody comes, it is remembered how many do. */
    if (!c->is_timed && now_ms / METER_SPAN_MS - c->span < 2) {
        c->is_timed = true;
        timer_start(m->timers, &c->timer, now_ms + METER_SPAN_MS);
    }
    if (c->is_timed)
        return METER_WAITS;
    list_remove(&m->callers, &c->node);
    return METER_IS_OVER;
}

static void go_on(struct meter_caller *c, enum meter_next next)
{
    if (next == METER_ASKS)
        db_submit_call(c->meter->db, &c->item);
    else if (next == METER_IS_OVER)
        free(c);
}

static void on_done(struct call_item *item)
{
    struct meter_caller *c = CONTAINER_OF(item, struct meter_caller, item);
    struct meter *m = c->meter;
    struct err failure = item->err;
    struct meter_answer answer = read_answer(item->text);
    struct list asked, served;
    list_init(&asked);
    list_init(&served);
    free(item->text);
    item->text = NULL;
    pthread_mutex_lock(&m->lock);
    move_all(&c->asked, &asked);
    int64_t now_ms = clock_mono_ms();
    c->ahead = answer.ahead > 0 ? answer.ahead : 0; /* nobody was asked for while there was some */
    c->ahead_until_ms = now_ms + METER_SPAN_MS;
    int ahead = serve_locked(c, &served);
    enum meter_next next = choose_next_locked(c, now_ms);
    pthread_mutex_unlock(&m->lock);
    go_on(c, next);
    tell(&asked, &answer, &failure);
    const struct meter_answer taken = {.is_limited = true, .granted = ahead};
    tell(&served, &taken, &(struct err){.kind = ERR_NONE});
}

static void on_time(struct timer *timer)
{
    struct meter_caller *c = CONTAINER_OF(timer, struct meter_caller, timer);
    struct meter *m = c->meter;
    enum meter_next next = METER_WAITS; /* for the call that is on its way */
    pthread_mutex_lock(&m->lock);
    c->is_timed = false;
    if (!c->is_asked)
        next = choose_next_locked(c, clock_mono_ms());
    pthread_mutex_unlock(&m->lock);
    go_on(c, next);
}

void meter_take(struct meter *m, struct meter_place *p, const struct meter_ask *ask)
{
    bool is_paid = false, has_to_ask = false;
    pthread_mutex_lock(&m->lock);
    struct meter_caller *c = find_locked(m, ask->name);
    if (!c)
        c = make_locked(m, ask);
    count_locked(c, ask->now_ms);
    if (ask->now_ms >= c->ahead_until_ms)
        c->ahead = 0;
    if (c->ahead > 0) {
        c->ahead--;
        is_paid = true;
    } else {
        p->deadline_ms = ask->deadline_ms;
        list_append(&c->waiting, &p->node);
        has_to_ask = !c->is_asked;
        if (has_to_ask)
            prepare_locked(c, ask->now_ms);
    }
    pthread_mutex_unlock(&m->lock);
    if (is_paid)
        p->granted(p, true);
    else if (has_to_ask)
        db_submit_call(m->db, &c->item);
}
