/* A refusal is remembered until it ends, never longer than it may be; who is remembered too long ago makes room. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/thread.h"
#include "core/callers.h"

#define NOW_MS 1000000

static const struct quota nothing = {.policy = ""};
static const struct quota free_tier = {.policy = "free",
                                       .limit = 20,
                                       .window_s = 60,
                                       .remaining = 3,
                                       .reset_ms = 5000,
                                       .tokens_limit = 1000,
                                       .tokens_remaining = 900,
                                       .tokens_reset_ms = 50000};

static struct hash name_of(int i)
{
    return hash_sha256(&i, sizeof i);
}

static void note(struct callers *c, int caller, const struct quota *quota, const struct err *err,
                 int64_t now_ms)
{
    struct hash name = name_of(caller);
    const struct caller_news news = {&name, quota, err, now_ms};
    callers_note(c, &news);
}

static void note_refusal(struct callers *c, int caller, enum err_kind kind, unsigned retry_after_ms)
{
    struct err e = {.kind = ERR_NONE};
    err_set(&e, kind, "%s", "no");
    e.retry_after_ms = retry_after_ms;
    note(c, caller, &nothing, &e, NOW_MS);
}

static void note_quota(struct callers *c, int caller, int64_t now_ms)
{
    const struct err none = {.kind = ERR_NONE};
    note(c, caller, &free_tier, &none, now_ms);
}

/* -1: not refused; else the milliseconds yet to wait. */
static int64_t refused_for(struct callers *c, int caller, int64_t now_ms)
{
    struct hash name = name_of(caller);
    struct err why = {.kind = ERR_NONE};
    struct quota quota;
    const struct caller_ask ask = {.name = &name, .now_ms = now_ms};
    bool is_refused = callers_refuse(c, &ask, &why, &quota);
    assert_int_equal(is_refused, why.kind != ERR_NONE);
    return is_refused ? (int64_t)why.retry_after_ms : -1;
}

static bool repeat_is_refused(struct callers *c, int caller, int64_t now_ms)
{
    struct hash name = name_of(caller);
    struct err why = {.kind = ERR_NONE};
    struct quota quota;
    const struct caller_ask ask = {.name = &name, .may_be_repeat = true, .now_ms = now_ms};
    return callers_refuse(c, &ask, &why, &quota);
}

static void tell(struct callers *c, int caller, int64_t now_ms, struct quota *quota)
{
    struct hash name = name_of(caller);
    struct err why = {.kind = ERR_NONE};
    const struct caller_ask ask = {.name = &name, .now_ms = now_ms};
    (void)!callers_refuse(c, &ask, &why, quota);
}

static void a_refusal_is_remembered_until_it_ends(void **state)
{
    (void)state;
    struct callers c;
    const enum err_kind kinds[] = {ERR_RATE_LIMITED, ERR_OPEN_TURNS};
    callers_init(&c);
    for (int i = 0; i < (int)COUNT_OF(kinds); i++) {
        struct hash name = name_of(i);
        struct err why = {.kind = ERR_NONE};
        struct quota quota;
        const struct caller_ask ask = {.name = &name, .now_ms = NOW_MS + 1500};
        assert_int_equal(refused_for(&c, i, NOW_MS), -1);
        note_refusal(&c, i, kinds[i], 4000);
        assert_true(callers_refuse(&c, &ask, &why, &quota));
        assert_int_equal(why.kind, kinds[i]);
        assert_string_equal(why.detail, "no");
        assert_int_equal(why.retry_after_ms, 2500); /* what is left of it */
        assert_int_equal(refused_for(&c, i, NOW_MS + 3999), 1);
        assert_int_equal(refused_for(&c, i, NOW_MS + 4000), -1);
        assert_int_equal(refused_for(&c, i + 100, NOW_MS), -1); /* nobody else's */
    }
    callers_fini(&c);
}

static void a_long_refusal_is_asked_for_anew(void **state)
{
    (void)state;
    struct callers c;
    callers_init(&c);
    note_refusal(&c, 1, ERR_RATE_LIMITED, 80000000);
    assert_int_equal(refused_for(&c, 1, NOW_MS + CALLERS_REFUSAL_MOST_MS - 1),
                     80000000 - CALLERS_REFUSAL_MOST_MS + 1);
    assert_int_equal(refused_for(&c, 1, NOW_MS + CALLERS_REFUSAL_MOST_MS), -1);
    note_refusal(&c, 2, ERR_RATE_LIMITED, UINT32_MAX);
    assert_int_equal(refused_for(&c, 2, NOW_MS), UINT32_MAX);
    note_refusal(&c, 3, ERR_TOKENS, 80000000); /* of this message; another may fit */
    assert_int_equal(refused_for(&c, 3, NOW_MS + CALLERS_TOKENS_MS - 1),
                     80000000 - CALLERS_TOKENS_MS + 1);
    assert_int_equal(refused_for(&c, 3, NOW_MS + CALLERS_TOKENS_MS), -1);
    callers_fini(&c);
}

static void a_grant_ends_what_is_remembered(void **state)
{
    (void)state;
    struct callers c;
    struct hash name = name_of(1);
    struct quota quota = {.policy = "paid", .limit = 120, .window_s = 60, .remaining = 0};
    const struct err none = {.kind = ERR_NONE};
    const struct caller_news news = {&name, &quota, &none, NOW_MS};
    callers_init(&c);
    note_refusal(&c, 1, ERR_RATE_LIMITED, 4000);
    callers_note(&c, &news); /* a repeat, answered: nothing is left all the same */
    assert_int_equal(refused_for(&c, 1, NOW_MS), 4000);
    quota.remaining = 119; /* of another tier */
    callers_note(&c, &news);
    assert_int_equal(refused_for(&c, 1, NOW_MS), -1);
    callers_fini(&c);
}

static void an_unknown_key_is_looked_up_again_after_a_second(void **state)
{
    (void)state;
    struct callers c;
    callers_init(&c);
    note_refusal(&c, 1, ERR_UNAUTHORIZED, 0);
    assert_int_equal(refused_for(&c, 1, NOW_MS + CALLERS_UNKNOWN_MS - 1), 0);
    assert_int_equal(refused_for(&c, 1, NOW_MS + CALLERS_UNKNOWN_MS), -1);
    callers_fini(&c);
}

static void what_is_not_the_callers_is_not_remembered(void **state)
{
    (void)state;
    struct callers c;
    callers_init(&c);
    for (int kind = ERR_NONE; kind < ERR_KINDS; kind++) {
        bool is_callers = kind == ERR_RATE_LIMITED || kind == ERR_OPEN_TURNS ||
                          kind == ERR_TOKENS || kind == ERR_UNAUTHORIZED;
        const struct err e = {.kind = (enum err_kind)kind, .retry_after_ms = 5000};
        note(&c, kind, &nothing, &e, NOW_MS);
        assert_int_equal(refused_for(&c, kind, NOW_MS) >= 0, is_callers);
    }
    note_refusal(&c, 1000, ERR_RATE_LIMITED, 0); /* over as soon as it was told */
    assert_int_equal(refused_for(&c, 1000, NOW_MS), -1);
    assert_int_equal(c.notes.count, 4);
    callers_fini(&c);
}

static void some_repeats_are_let_through(void **state)
{
    (void)state;
    struct callers c;
    int64_t now_ms = NOW_MS;
    callers_init(&c);
    note_refusal(&c, 1, ERR_RATE_LIMITED, 9000);
    for (int i = 0; i < CALLERS_REPEATS; i++)
        assert_false(repeat_is_refused(&c, 1, now_ms));
    for (int i = 0; i < 50; i++)
        assert_true(repeat_is_refused(&c, 1, now_ms));
    assert_true(repeat_is_refused(&c, 1, now_ms + CALLERS_REPEAT_MS - 1));
    for (int i = 0; i < 10; i++) { /* and one in each time from then on */
        now_ms += CALLERS_REPEAT_MS;
        assert_false(repeat_is_refused(&c, 1, now_ms));
        assert_true(repeat_is_refused(&c, 1, now_ms));
    }
    now_ms += CALLERS_REPEAT_MS * CALLERS_REPEATS; /* rest: as many at once, no more */
    for (int i = 0; i < CALLERS_REPEATS; i++)
        assert_false(repeat_is_refused(&c, 1, now_ms));
    assert_true(repeat_is_refused(&c, 1, now_ms));
    assert_true(refused_for(&c, 1, now_ms) > 0); /* what cannot be a repeat never is */
    callers_fini(&c);
}

static void repeats_of_who_is_not_refused_cost_nothing(void **state)
{
    (void)state;
    struct callers c;
    callers_init(&c);
    note_quota(&c, 1, NOW_MS);
    for (int i = 0; i < 50; i++)
        assert_false(repeat_is_refused(&c, 1, NOW_MS));
    note_refusal(&c, 1, ERR_RATE_LIMITED, 9000);
    for (int i = 0; i < CALLERS_REPEATS; i++)
        assert_false(repeat_is_refused(&c, 1, NOW_MS));
    assert_true(repeat_is_refused(&c, 1, NOW_MS));
    callers_fini(&c);
}

static void the_quota_is_told_with_the_time_that_passed(void **state)
{
    (void)state;
    struct callers c;
    struct quota q;
    callers_init(&c);
    tell(&c, 1, NOW_MS, &q);
    assert_int_equal(q.policy[0], 0);
    note_quota(&c, 1, NOW_MS);
    tell(&c, 1, NOW_MS + 2000, &q);
    assert_string_equal(q.policy, "free");
    assert_int_equal(q.remaining, 3);
    assert_int_equal(q.reset_ms, 3000);
    assert_int_equal(q.tokens_remaining, 900);
    assert_int_equal(q.tokens_reset_ms, 48000);
    tell(&c, 1, NOW_MS + 5000, &q);
    assert_int_equal(q.reset_ms, 0);
    tell(&c, 1, NOW_MS + INT64_C(100000000000), &q);
    assert_int_equal(q.reset_ms + q.tokens_reset_ms, 0);
    /* A refusal without a quota leaves what was known; one with it does not. */
    note_refusal(&c, 1, ERR_RATE_LIMITED, 5000);
    tell(&c, 1, NOW_MS, &q);
    assert_string_equal(q.policy, "free");
    callers_fini(&c);
}

static void what_was_noted_after_the_clock_was_read_is_not_more_than_it_was(void **state)
{
    (void)state;
    struct callers c;
    struct quota q = free_tier;
    const struct err none = {.kind = ERR_NONE};
    callers_init(&c);
    q.reset_ms = 0;
    q.tokens_reset_ms = INT32_MAX;
    note(&c, 1, &q, &none, NOW_MS);
    tell(&c, 1, NOW_MS - 20, &q);
    assert_int_equal(q.reset_ms, 0);
    assert_int_equal(q.tokens_reset_ms, INT32_MAX);
    callers_fini(&c);
}

static void the_longest_unused_is_forgotten(void **state)
{
    (void)state;
    struct callers c;
    callers_init(&c);
    for (int i = 0; i < CALLERS_MOST; i++)
        note_refusal(&c, i, ERR_RATE_LIMITED, 9000);
    assert_int_equal(c.notes.count, CALLERS_MOST);
    assert_true(refused_for(&c, 0, NOW_MS) > 0); /* asked for: used */
    note_refusal(&c, 1, ERR_RATE_LIMITED, 9000); /* noted again: used, and no second note */
    assert_int_equal(c.notes.count, CALLERS_MOST);
    for (int i = 0; i < 100; i++)
        note_refusal(&c, CALLERS_MOST + i, ERR_RATE_LIMITED, 9000);
    assert_int_equal(c.notes.count, CALLERS_MOST);
    assert_true(refused_for(&c, 0, NOW_MS) > 0);
    assert_true(refused_for(&c, 1, NOW_MS) > 0);
    for (int i = 2; i < 102; i++)
        assert_int_equal(refused_for(&c, i, NOW_MS), -1);
    for (int i = 102; i < CALLERS_MOST + 100; i++)
        assert_true(refused_for(&c, i, NOW_MS) > 0);
    callers_fini(&c);
}

/* Anybody may send any key. If one that reads like an address named the caller at that address, whoever
 * sent it could have him refused, for the key is unknown. */
static void no_key_names_an_address(void **state)
{
    (void)state;
    const char *const addresses[] = {"203.0.113.7", "2001:db8::/64"};
    for (size_t i = 0; i < COUNT_OF(addresses); i++) {
        struct hash key = hash_sha256(addresses[i], strlen(addresses[i]));
        struct hash by_key = callers_name(&key, addresses[i]);
        struct hash by_address = callers_name(NULL, addresses[i]);
        struct hash again = callers_name(NULL, addresses[i]);
        assert_memory_equal(by_key.bytes, key.bytes, HASH_BYTES);
        assert_memory_not_equal(by_key.bytes, by_address.bytes, HASH_BYTES);
        assert_memory_equal(again.bytes, by_address.bytes, HASH_BYTES);
    }
    struct hash a = callers_name(NULL, addresses[0]), b = callers_name(NULL, addresses[1]);
    assert_memory_not_equal(a.bytes, b.bytes, HASH_BYTES);
}

static bool is_hot(struct callers *c, int caller, int64_t at_ms)
{
    struct hash name = name_of(caller);
    struct quota unused;
    return callers_is_hot(c, &name, at_ms, &unused);
}

static void who_asks_much_in_a_second_is_hot_for_a_while(void **state)
{
    (void)state;
    struct callers c;
    callers_init(&c);
    for (int i = 0; i < 2 * CALLERS_HOT; i++)
        assert_false(is_hot(&c, 1, NOW_MS)); /* whose limit is not known */
    note_quota(&c, 1, NOW_MS);
    for (int i = 1; i < CALLERS_HOT; i++)
        assert_false(is_hot(&c, 1, NOW_MS + i));
    assert_false(is_hot(&c, 1, NOW_MS + 1000)); /* counted anew in each second */
    for (int i = 2; i < CALLERS_HOT; i++)
        assert_false(is_hot(&c, 1, NOW_MS + 1999));
    assert_true(is_hot(&c, 1, NOW_MS + 1999));
    assert_true(is_hot(&c, 1, NOW_MS + 1999 + CALLERS_HOT_MS - 1));
    assert_false(is_hot(&c, 1, NOW_MS + 1999 + CALLERS_HOT_MS));
    struct quota q = {.policy = "free"}; /* without a limit there is nothing to take */
    const struct err none = {.kind = ERR_NONE};
    note(&c, 2, &q, &none, NOW_MS);
    for (int i = 0; i < 2 * CALLERS_HOT; i++)
        assert_false(is_hot(&c, 2, NOW_MS));
    callers_fini(&c);
}

/* Few names, many threads: notes are made, used and read at once. */
struct racer {
    pthread_t thread;
    struct callers *callers;
    int seed;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    for (int i = 0; i < 4000; i++) {
        int caller = (i * 7 + r->seed) % 50;
        if (i % 3 == 0)
            note_quota(r->callers, caller, NOW_MS + i);
        else if (i % 3 == 1)
            note_refusal(r->callers, caller, ERR_RATE_LIMITED, 100);
        else
            (void)!repeat_is_refused(r->callers, caller, NOW_MS + i);
    }
    return NULL;
}

static void many_at_once(void **state)
{
    (void)state;
    struct callers c;
    struct racer racers[4];
    callers_init(&c);
    for (int i = 0; i < (int)COUNT_OF(racers); i++) {
        racers[i] = (struct racer){.callers = &c, .seed = i};
        racers[i].thread = thread_start("racer", race, &racers[i]);
    }
    for (size_t i = 0; i < COUNT_OF(racers); i++)
        pthread_join(racers[i].thread, NULL);
    assert_int_equal(c.notes.count, 50);
    callers_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_is_remembered_until_it_ends),
        cmocka_unit_test(a_long_refusal_is_asked_for_anew),
        cmocka_unit_test(a_grant_ends_what_is_remembered),
        cmocka_unit_test(an_unknown_key_is_looked_up_again_after_a_second),
        cmocka_unit_test(what_is_not_the_callers_is_not_remembered),
        cmocka_unit_test(some_repeats_are_let_through),
        cmocka_unit_test(repeats_of_who_is_not_refused_cost_nothing),
        cmocka_unit_test(the_quota_is_told_with_the_time_that_passed),
        cmocka_unit_test(what_was_noted_after_the_clock_was_read_is_not_more_than_it_was),
        cmocka_unit_test(the_longest_unused_is_forgotten),
        cmocka_unit_test(no_key_names_an_address),
        cmocka_unit_test(who_asks_much_in_a_second_is_hot_for_a_while),
        cmocka_unit_test(many_at_once),
    };
    return RUN(tests);
}
