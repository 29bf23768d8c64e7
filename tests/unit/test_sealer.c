/* What a worker makes of a seal: signs it, tells it once, has the signature kept, and goes on. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "core/sealer.h"

#define PRIVATE "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define ROOT "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
#define HOUR_MS 3600000

static char private_key[] = PRIVATE;
static char line[4096]; /* what was logged */
static int err_pipe[2], err_kept;

/* ---- standard error, caught ------------------------------------------------------------------ */

static void catch_log(void)
{
    assert_int_equal(pipe(err_pipe), 0);
    err_kept = dup(STDERR_FILENO);
    dup2(err_pipe[1], STDERR_FILENO);
    close(err_pipe[1]);
}

static void end_catch(void)
{
    dup2(err_kept, STDERR_FILENO);
    close(err_kept);
    ssize_t len = read(err_pipe[0], line, sizeof line - 1);
    line[len > 0 ? len : 0] = '\0';
    close(err_pipe[0]);
}

/* ---- a seal as the database gives it --------------------------------------------------------- */

static void make_json(char *out, size_t size, bool fits)
{
    struct seal s = {
        .no = 7, .sealed_us = 3000000, .from_us = 1000000, .to_us = 2000000, .heads = 2};
    char hash[2 * HASH_BYTES + 1];
    assert_true(hash_from_hex(ROOT, 64, &s.root));
    s.hash = seal_hash(&s);
    s.hash.bytes[0] ^= !fits;
    hash_hex(&s.hash, hash);
    snprintf(
        out, size,
        "{\"seal_no\":7,\"sealed_us\":3000000,\"from_us\":1000000,\"to_us\":2000000,\"heads\":2,"
        "\"root\":\"" ROOT "\",\"previous\":\"" ZEROS "\",\"hash\":\"%s\"}",
        hash);
}

static int64_t give(struct sealer *s, struct call_item *item, enum err_kind kind, char *text)
{
    item->err = (struct err){.kind = ERR_NONE};
    if (kind != ERR_NONE)
        err_set(&item->err, kind, "as told");
    item->text = text;
    item->text_len = text ? strlen(text) : 0;
    catch_log();
    int64_t wait_ms = sealer_ended(s, item);
    end_catch();
    return wait_ms;
}

static void open_sealer(struct sealer *s, bool has_key)
{
    static char none[] = "";
    const struct config c = {.seal_interval = HOUR_MS, .seal_key = has_key ? private_key : none};
    sealer_init(s, &c);
}

static void is_asked(struct sealer *s, struct call_item *item, const char *function)
{
    *item = (struct call_item){.sql = NULL};
    sealer_ask(s, item);
    assert_non_null(strstr(item->sql, function));
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void signs_and_tells_and_keeps(void **state)
{
    (void)state;
    struct sealer s;
    struct call_item item;
    struct seal told;
    struct err e = {.kind = ERR_NONE};
    char json[1024], yes[] = "t";
    make_json(json, sizeof json, true);
    open_sealer(&s, true);
    is_asked(&s, &item, "hansard_api.seal(");
    assert_string_equal(item.param[0].data, "3600000");
    assert_string_equal(item.param[1].data, "60000");
    assert_string_equal(item.param[2].data, "20000");
    assert_int_equal(give(&s, &item, ERR_NONE, json), 0);
    assert_non_null(strstr(line, "\"event\":\"sealed\""));
    assert_null(strstr(line, PRIVATE));
    assert_true(seal_read(line, strlen(line), &told, &e));
    assert_true(seal_is_signed_by(&told, s.key));

    is_asked(&s, &item, "hansard_api.sign_seal(");
    assert_string_equal(item.param[0].data, "7");
    assert_memory_equal(item.param[1].data, "\\x", 2);
    assert_int_equal(strlen(item.param[2].data), 2 + 128);
    assert_string_equal(item.param[3].data, seal_key_id(s.key));
    assert_in_range(give(&s, &item, ERR_NONE, yes), 1, 1000);
    assert_string_equal(line, "");
    is_asked(&s, &item, "hansard_api.seal(");
    sealer_fini(&s);
}

static void without_a_key(void **state)
{
    (void)state;
    struct sealer s;
    struct call_item item;
    char json[1024];
    make_json(json, sizeof json, true);
    open_sealer(&s, false);
    is_asked(&s, &item, "hansard_api.seal(");
    assert_in_range(give(&s, &item, ERR_NONE, json), 1, 1000);
    assert_non_null(strstr(line, "\"event\":\"sealed\""));
    assert_null(strstr(line, "signature"));
    is_asked(&s, &item, "hansard_api.seal(");
    sealer_fini(&s);
}

static void what_does_not_fit_is_not_signed(void **state)
{
    (void)state;
    struct sealer s;
    struct call_item item;
    char json[1024], nonsense[] = "{}";
    make_json(json, sizeof json, false);
    open_sealer(&s, true);
    is_asked(&s, &item, "hansard_api.seal(");
    assert_true(give(&s, &item, ERR_NONE, json) > 1000);
    assert_non_null(strstr(line, "seal_does_not_fit"));
    assert_true(give(&s, &item, ERR_NONE, nonsense) > 1000);
    assert_non_null(strstr(line, "seal_does_not_fit"));
    is_asked(&s, &item, "hansard_api.seal(");
    sealer_fini(&s);
}

static void a_signature_is_tried_three_times(void **state)
{
    (void)state;
    struct sealer s;
    struct call_item item;
    char json[1024];
    make_json(json, sizeof json, true);
    open_sealer(&s, true);
    is_asked(&s, &item, "hansard_api.seal(");
    assert_int_equal(give(&s, &item, ERR_NONE, json), 0);
    for (int i = 0; i < 3; i++) {
        is_asked(&s, &item, "hansard_api.sign_seal(");
        (void)give(&s, &item, ERR_DB_DOWN, NULL);
        assert_int_equal(strstr(line, "signature_not_kept") != NULL, i == 2);
    }
    is_asked(&s, &item, "hansard_api.seal(");
    sealer_fini(&s);
}

static void what_takes_too_long_gets_smaller(void **state)
{
    (void)state;
    struct sealer s;
    struct call_item item;
    char json[1024];
    open_sealer(&s, false);
    is_asked(&s, &item, "hansard_api.seal(");
    (void)give(&s, &item, ERR_DB_DOWN, NULL);
    is_asked(&s, &item, "hansard_api.seal(");
    assert_string_equal(item.param[2].data, "20000");
    (void)give(&s, &item, ERR_INTERNAL, NULL);
    is_asked(&s, &item, "hansard_api.seal(");
    assert_string_equal(item.param[2].data, "10000");
    for (int i = 0; i < 20; i++)
        (void)give(&s, &item, ERR_INTERNAL, NULL);
    is_asked(&s, &item, "hansard_api.seal(");
    assert_string_equal(item.param[2].data, "100");

    /* ... and larger again with each that ended, up to what it was. */
    static const char *const sizes[] = {"200",  "400",   "800",   "1600", "3200",
                                        "6400", "12800", "20000", "20000"};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char age[] = "{\"age_s\": 1}";
        make_json(json, sizeof json, true);
        (void)give(&s, &item, ERR_NONE, i % 2 ? json : age);
        is_asked(&s, &item, "hansard_api.seal(");
        assert_string_equal(item.param[2].data, sizes[i]);
    }
    sealer_fini(&s);
}

static void tells_how_old_the_newest_seal_is(void **state)
{
    (void)state;
    struct sealer s;
    struct call_item item;
    char json[1024], none[] = "{\"age_s\": -1}", old[] = "{\"age_s\": 7200}";
    char early[] = "{\"age_s\": -86400}";
    make_json(json, sizeof json, true);
    open_sealer(&s, false);
    assert_int_equal(metrics_get(METRIC_SEAL_AGE, 0), -1);
    (void)give(&s, &item, ERR_DB_DOWN, NULL);
    assert_int_equal(metrics_get(METRIC_SEAL_AGE, 0), -1);
    (void)give(&s, &item, ERR_NONE, none);
    assert_int_equal(metrics_get(METRIC_SEAL_AGE, 0), -1);
    assert_in_range(give(&s, &item, ERR_NONE, old), 150000, 450000);
    assert_in_range(metrics_get(METRIC_SEAL_AGE, 0), 7200, 7205);
    /* It gets older while the database says nothing. */
    s.sealed_ms -= 60000;
    (void)give(&s, &item, ERR_DB_DOWN, NULL);
    assert_in_range(metrics_get(METRIC_SEAL_AGE, 0), 7260, 7265);
    (void)give(&s, &item, ERR_NONE, json);
    assert_in_range(metrics_get(METRIC_SEAL_AGE, 0), 0, 5);
    (void)give(&s, &item, ERR_NONE, early);
    assert_in_range(metrics_get(METRIC_SEAL_AGE, 0) + 86400, 0, 5);
    assert_string_equal(line, "");
    sealer_fini(&s);
}

static void looks_again_when_there_is_nothing(void **state)
{
    (void)state;
    struct sealer s;
    struct call_item item;
    open_sealer(&s, false);
    for (int i = 0; i < 50; i++) {
        is_asked(&s, &item, "hansard_api.seal(");
        assert_in_range(give(&s, &item, ERR_NONE, NULL), 150000, 450000);
    }
    assert_string_equal(line, "");
    sealer_fini(&s);
}

int main(void)
{
    json_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_and_tells_and_keeps),
        cmocka_unit_test(without_a_key),
        cmocka_unit_test(what_does_not_fit_is_not_signed),
        cmocka_unit_test(a_signature_is_tried_three_times),
        cmocka_unit_test(what_takes_too_long_gets_smaller),
        cmocka_unit_test(tells_how_old_the_newest_seal_is),
        cmocka_unit_test(looks_again_when_there_is_nothing),
    };
    return RUN(tests);
}
