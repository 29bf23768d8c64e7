/* Every setting is one row: read, bounded, printed, documented. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/config.h"

static struct config read_ok(char *const *environment)
{
    struct config c;
    struct err e = {.kind = ERR_NONE};
    if (!config_read(&c, environment, &e))
        fail_msg("%s: %s", environment[0] ? environment[0] : "(empty)", e.detail);
    return c;
}

#define ENV(...) ((char *const[]){__VA_ARGS__, NULL})

/* The detail of the refusal of one variable. */
static const char *refusal(const char *variable)
{
    static struct err e;
    struct config c;
    memset(&c, 0x5A, sizeof c);
    err_clear(&e);
    if (config_read(&c, ENV("HOME=/", (char *)variable), &e)) {
        config_free(&c);
        fail_msg("accepted: %.100s", variable);
    }
    assert_int_equal(e.kind, ERR_BAD_FIELD);
    assert_null(c.listen); /* nothing to free */
    return e.detail;
}

static void presets_hold(void **state)
{
    (void)state;
    struct config c = read_ok((char *const[]){NULL});
    assert_string_equal(c.listen, "127.0.0.1:8080");
    assert_int_equal(c.http_threads, 2);
    assert_int_equal(c.llm_concurrency, 10);
    assert_int_equal(c.session_ttl, INT64_C(24) * 3600 * 1000);
    assert_int_equal(c.message_bytes, 32 * 1024);
    assert_int_equal(c.llm_answer_bytes, 1024 * 1024);
    assert_string_equal(c.auth, "optional");
    assert_string_equal(c.log_level, "info");
    assert_string_equal(c.database_url, "");
    assert_int_equal(c.trusted.count, 0);
    config_free(&c);
    assert_null(c.listen);
    config_free(&c); /* twice does no harm */
}

static void values_come_from_the_environment(void **state)
{
    (void)state;
    struct config c = read_ok(
        ENV("PATH=/bin", "HANSARD_LISTEN=[::1]:9000", "HANSARD_LANES=7", "HANSARD_AUTH=required",
            "HANSARD_READ_TIMEOUT=250ms", "HANSARD_SESSION_TTL=365d", "HANSARD_MESSAGE_BYTES=1M",
            "HANSARD_HISTORY_BYTES=65536", "HANSARD_DRAIN_TIMEOUT=0", "HANSARD_QUEUE_LIMIT=0",
            "HANSARD_DRAIN_DELAY=5s", "HANSARD_LLM_URL=https://models.example/v1",
            "HANSARD_SYSTEM_PROMPT=be\nkind = yes", "HANSARD_TRUSTED_PROXIES=10.0.0.0/8, ::1",
            "NOT_HANSARD_X=1", "HANSARD=1"));
    assert_string_equal(c.listen, "[::1]:9000");
    assert_int_equal(c.lanes, 7);
    assert_string_equal(c.auth, "required");
    assert_int_equal(c.read_timeout, 250);
    assert_int_equal(c.session_ttl, INT64_C(31536000000));
    assert_int_equal(c.message_bytes, 1048576);
    assert_int_equal(c.history_bytes, 65536);
    assert_int_equal(c.drain_timeout, 0);
    assert_int_equal(c.drain_delay, 5000);
    assert_int_equal(c.queue_limit, 0);
    assert_string_equal(c.llm_url, "https://models.example/v1");
    assert_string_equal(c.system_prompt, "be\nkind = yes");
    assert_int_equal(c.trusted.count, 2);
    config_free(&c);
}

static void every_unit_counts(void **state)
{
    (void)state;
    const struct {
        const char *variable;
        int64_t ms;
    } durations[] = {
        {"HANSARD_SESSION_TTL=1000ms", 1000},
        {"HANSARD_SESSION_TTL=10s", 10000},
        {"HANSARD_SESSION_TTL=5m", 300000},
        {"HANSARD_SESSION_TTL=24h", 86400000},
        {"HANSARD_SESSION_TTL=90d", INT64_C(7776000000)},
    };
    for (size_t i = 0; i < COUNT_OF(durations); i++) {
        struct config c = read_ok(ENV((char *)durations[i].variable));
        assert_int_equal(c.session_ttl, durations[i].ms);
        config_free(&c);
    }
    struct config c = read_ok(ENV("HANSARD_HISTORY_BYTES=16M"));
    assert_int_equal(c.history_bytes, 16777216);
    config_free(&c);
    c = read_ok(ENV("HANSARD_HISTORY_BYTES=3k"));
    assert_int_equal(c.history_bytes, 3072);
    config_free(&c);
}

static void bounds_are_exact_and_named(void **state)
{
    (void)state;
    struct config c = read_ok(ENV("HANSARD_LANES=1", "HANSARD_READ_TIMEOUT=100ms"));
    config_free(&c);
    c = read_ok(ENV("HANSARD_LANES=64", "HANSARD_READ_TIMEOUT=600s"));
    config_free(&c);
    assert_string_equal(refusal("HANSARD_LANES=0"),
                        "HANSARD_LANES must be from 1 to 64 (connections)");
    assert_string_equal(refusal("HANSARD_LANES=65"),
                        "HANSARD_LANES must be from 1 to 64 (connections)");
    assert_string_equal(refusal("HANSARD_READ_TIMEOUT=99ms"),
                        "HANSARD_READ_TIMEOUT must be from 100ms to 10m (duration)");
    assert_string_equal(refusal("HANSARD_READ_TIMEOUT=11m"),
                        "HANSARD_READ_TIMEOUT must be from 100ms to 10m (duration)");
    assert_string_equal(refusal("HANSARD_LLM_ANSWER_BYTES=1023"),
                        "HANSARD_LLM_ANSWER_BYTES must be from 1k to 64M (bytes)");
    assert_string_equal(refusal("HANSARD_LLM_ANSWER_BYTES=65M"),
                        "HANSARD_LLM_ANSWER_BYTES must be from 1k to 64M (bytes)");
    assert_string_equal(refusal("HANSARD_AUTH=maybe"),
                        "HANSARD_AUTH must be one of optional|required");
}

static void malformed_numbers_are_refused(void **state)
{
    (void)state;
    const char *const texts[] = {
        "HANSARD_LANES=",
        "HANSARD_LANES=x",
        "HANSARD_LANES=-1",
        "HANSARD_LANES=+1",
        "HANSARD_LANES= 1",
        "HANSARD_LANES=1 ",
        "HANSARD_LANES=1k",
        "HANSARD_LANES=0x1",
        "HANSARD_LANES=1.0",
        "HANSARD_LANES=99999999999999999999999",
        "HANSARD_READ_TIMEOUT=1",
        "HANSARD_READ_TIMEOUT=s",
        "HANSARD_READ_TIMEOUT=1 s",
        "HANSARD_READ_TIMEOUT=1S",
        "HANSARD_READ_TIMEOUT=1sx",
        "HANSARD_READ_TIMEOUT=1y",
        "HANSARD_READ_TIMEOUT=",
        "HANSARD_READ_TIMEOUT=106751991168d", /* 2^63 ms and more: must not wrap into bounds */
        "HANSARD_READ_TIMEOUT=18446744073709552s",
        "HANSARD_MESSAGE_BYTES=1K",
        "HANSARD_MESSAGE_BYTES=1kb",
        "HANSARD_MESSAGE_BYTES=9007199254740993k",
        "HANSARD_AUTH=",
        "HANSARD_AUTH=option",
        "HANSARD_AUTH=optional|required",
        "HANSARD_AUTH=|",
        "HANSARD_AUTH=Optional",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        size_t name_len = strcspn(texts[i], "=");
        assert_int_equal(strncmp(refusal(texts[i]), texts[i], name_len), 0);
    }
}

static void unknown_names_are_errors(void **state)
{
    (void)state;
    assert_string_equal(refusal("HANSARD_LANE=4"), "HANSARD_LANE is not a setting");
    assert_string_equal(refusal("HANSARD_LANESS=4"), "HANSARD_LANESS is not a setting");
    assert_string_equal(refusal("HANSARD_=4"), "HANSARD_ is not a setting");
    assert_string_equal(refusal("HANSARD_lanes=4"), "HANSARD_lanes is not a setting");
#ifdef HANSARD_FAILPOINTS
    struct config c = read_ok(ENV("HANSARD_FAILPOINT=x", "HANSARD_WEBHOOK_TEST_CA=x"));
    config_free(&c);
#else
    assert_string_equal(refusal("HANSARD_FAILPOINT=x"), "HANSARD_FAILPOINT is not a setting");
    assert_string_equal(refusal("HANSARD_WEBHOOK_TEST_CA=x"),
                        "HANSARD_WEBHOOK_TEST_CA is not a setting");
#endif
}

#define WEBHOOK_SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" /* 24 bytes */
static void webhooks_need_hosts_and_a_secret(void **state)
{
    (void)state;
    struct config c = read_ok(ENV("HOME=/"));
    assert_int_equal(c.webhook_key.len, 0);
    config_free(&c);
    c = read_ok(ENV("HANSARD_WEBHOOK_HOSTS=hooks.example,b.example:8443,10.0.0.1:65535",
                    "HANSARD_WEBHOOK_SECRET=" WEBHOOK_SECRET));
    assert_int_equal(c.webhook_key.len, 24);
    assert_memory_equal(c.webhook_key.bytes, "\x31\xf2\x90\xf6", 4);
    config_free(&c);
    assert_int_equal(c.webhook_key.bytes[0], 0);
    c = read_ok(ENV("HANSARD_WEBHOOK_SECRET=" WEBHOOK_SECRET)); /* before hosts are known */
    config_free(&c);

    const char *const hosts[] = {
        ",",   "a,",        ",a",      "a,,b",  "a, b", "a b",      "A",        "a:",
        ":1",  "a:0",       "a:65536", "a:1:2", "a:-1", "a:1x",     "a:000001", "*",
        "*.a", "https://a", "a/b",     "[::1]", "a@b",  "\xC3\xA4", "a_b",
    };
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        char line[200];
        snprintf(line, sizeof line, "HANSARD_WEBHOOK_HOSTS=%s", hosts[i]);
        if (!strstr(refusal(line), "HANSARD_WEBHOOK_HOSTS must be"))
            fail_msg("refused for another reason: %s", line);
    }
    const char *const secrets[] = {
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa==",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw=",
        "whsec_"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    };
    for (size_t i = 0; i < COUNT_OF(secrets); i++) {
        char line[200];
        struct err e = {.kind = ERR_NONE};
        snprintf(line, sizeof line, "HANSARD_WEBHOOK_SECRET=%s", secrets[i]);
        assert_false(config_read(&c, ENV("HANSARD_WEBHOOK_HOSTS=a", line), &e));
        assert_string_equal(e.detail,
                            "HANSARD_WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64");
    }
    assert_non_null(strstr(refusal("HANSARD_WEBHOOK_SECRET=short"), "must be whsec_"));
}

static void texts_have_bounds_in_bytes(void **state)
{
    (void)state;
    char text[400] = "HANSARD_LLM_MODEL=";
    size_t head = strlen(text);
    memset(text + head, 'm', 200);
    struct config c = read_ok(ENV(text));
    assert_int_equal(strlen(c.llm_model), 200);
    config_free(&c);
    text[head + 200] = 'm';
    assert_string_equal(refusal(text), "HANSARD_LLM_MODEL must have from 1 to 200 bytes");
    assert_string_equal(refusal("HANSARD_LLM_MODEL="),
                        "HANSARD_LLM_MODEL must have from 1 to 200 bytes");
    assert_string_equal(refusal("HANSARD_SYSTEM_PROMPT=\xFF"),
                        "HANSARD_SYSTEM_PROMPT must be valid UTF-8");
}

static void a_refusal_never_tells_a_secret(void **state)
{
    (void)state;
    char text[2100] = "HANSARD_LLM_API_KEY=swordfish";
    memset(text + strlen(text), 'x', 1500);
    assert_null(strstr(refusal(text), "sword"));
    assert_null(strstr(refusal("HANSARD_LLM_API_KEY=swordfish\r\nX-Evil: 1"), "sword"));
    assert_null(strstr(refusal("HANSARD_DATABASE_URL=swordfish\xFF"), "sword"));
}

static void shapes_are_checked(void **state)
{
    (void)state;
    const char *const wrong[] = {
        "HANSARD_LISTEN=8080",
        "HANSARD_LISTEN=host",
        "HANSARD_LISTEN=host:",
        "HANSARD_LISTEN=host:x",
        "HANSARD_LISTEN=host:65536",
        "HANSARD_LISTEN=host:0",
        "HANSARD_LISTEN=host:123456",
        "HANSARD_LISTEN=::1:8080",
        "HANSARD_LISTEN=[::1]8080",
        "HANSARD_LISTEN=[::1:80",
        "HANSARD_LISTEN=[host]:80",
        "HANSARD_LISTEN=[1.2.3.4]:80",
        "HANSARD_LISTEN=a b:80",
        "HANSARD_LISTEN=http://host:80",
        "HANSARD_LISTEN=h\nost:80",
        "HANSARD_LLM_URL=host/v1",
        "HANSARD_LLM_URL=ftp://host",
        "HANSARD_LLM_URL=http://",
        "HANSARD_LLM_URL=http:///v1",
        "HANSARD_LLM_URL=HTTP//host",
        "HANSARD_LLM_URL=http://h/v1?x",
        "HANSARD_LLM_URL=http://h/#a",
        "HANSARD_LLM_URL=http://h /v1",
        "HANSARD_LLM_URL=http://h\r\n",
        "HANSARD_LLM_MODEL=a\nb",
        "HANSARD_LLM_API_KEY=a\tb",
        "HANSARD_LLM_API_KEY=a\x7f",
        "HANSARD_LLM_MODEL=a\xC2\x85",
        "HANSARD_TRUSTED_PROXIES=nginx",
        "HANSARD_TRUSTED_PROXIES=10.0.0.0/33",
        "HANSARD_LLM_FALLBACK_URL=ftp://host",
        "HANSARD_LLM_FALLBACK_URL=http://h/?x",
        "HANSARD_LLM_FALLBACK_MODEL=a\nb",
        "HANSARD_LLM_FALLBACK_API_KEY=a\tb",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        size_t name_len = strcspn(wrong[i], "=");
        assert_int_equal(strncmp(refusal(wrong[i]), wrong[i], name_len), 0);
    }
    const char *const right[] = {
        "HANSARD_LISTEN=0.0.0.0:80",   "HANSARD_LISTEN=localhost:1",
        "HANSARD_LISTEN=:8080",        "HANSARD_LISTEN=[::]:65535",
        "HANSARD_LLM_URL=http://h",    "HANSARD_LLM_URL=",
        "HANSARD_LLM_URL=https://h",   "HANSARD_LLM_URL=http://[::1]:80/v1",
        "HANSARD_LLM_FALLBACK_URL=",   "HANSARD_LLM_FALLBACK_URL=https://h/v1",
        "HANSARD_LLM_FALLBACK_MODEL=",
    };
    for (size_t i = 0; i < COUNT_OF(right); i++) {
        struct config c = read_ok(ENV((char *)right[i]));
        config_free(&c);
    }
}

static char *printed(const struct config *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (c)
        config_print(c, f);
    else
        config_document(f);
    fclose(f);
    return text;
}

static void printing_masks_secrets(void **state)
{
    (void)state;
    struct config c = read_ok(
        ENV("HANSARD_DATABASE_URL=postgresql://u:swordfish@h/d", "HANSARD_READ_TIMEOUT=1500ms",
            "HANSARD_SYSTEM_PROMPT=two\nlines\x1b", "HANSARD_MESSAGE_BYTES=2047"));
    char *text = printed(&c);
    assert_null(strstr(text, "swordfish"));
    assert_non_null(strstr(text, "HANSARD_DATABASE_URL=******\n"));
    assert_non_null(strstr(text, "HANSARD_LLM_API_KEY=\n")); /* not set, and seen to be */
    assert_non_null(strstr(text, "HANSARD_READ_TIMEOUT=1500ms\n"));
    assert_non_null(strstr(text, "HANSARD_MESSAGE_BYTES=2047\n"));
    assert_non_null(strstr(text, "HANSARD_SESSION_TTL=1d\n"));
    assert_non_null(strstr(text, "HANSARD_SYSTEM_PROMPT=two\\nlines\\x1b\n"));
    free(text);
    config_free(&c);
}

/* What is printed can be given again, and gives the same. */
static void printing_reads_back(void **state)
{
    (void)state;
    struct config first = read_ok(ENV("HANSARD_DRAIN_TIMEOUT=0", "HANSARD_LANES=9"));
    char *text = printed(&first), *copy = strdup(text), *environment[100] = {NULL};
    size_t count = 0;
    for (char *at = copy, *line; (line = strsep(&at, "\n")) && *line;)
        environment[count++] = line;
    struct config second = read_ok(environment);
    char *again = printed(&second);
    assert_string_equal(text, again);
    assert_int_equal(second.lanes, 9);
#define COUNT_ROW(kind, field, variable, least, most, preset, unit, help) +1
    assert_int_equal(count, 0 CONFIG_LIST(COUNT_ROW));
#undef COUNT_ROW
    free(text);
    free(copy);
    free(again);
    config_free(&first);
    config_free(&second);
}

static void the_document_has_every_row(void **state)
{
    (void)state;
    char *text = printed(NULL);
    assert_int_equal(strncmp(text, "# Configuration\n\n", 17), 0);
    assert_non_null(strstr(text, "hansard config --markdown"));
    assert_non_null(strstr(text, "\n|---|---|---|---|---|\n"));
#define FIND_ROW(kind, field, variable, least, most, preset, unit, help)                           \
    assert_non_null(strstr(text, "\n| `" variable "` | "));                                        \
    assert_non_null(strstr(text, " | " unit " | " help " |\n"));
    CONFIG_LIST(FIND_ROW)
#undef FIND_ROW
    assert_non_null(strstr(text, "| `HANSARD_LANES` | `4` | 1 to 64 | connections | "));
    assert_non_null(strstr(text, "| `HANSARD_AUTH` | `optional` | optional, required | choice | "));
    assert_non_null(strstr(text, "| `HANSARD_LLM_URL` | (empty) | 0 to 2000 bytes | URL | "));
    assert_non_null(strstr(text, "| `HANSARD_READ_TIMEOUT` | `10s` | 100ms to 10m | duration | "));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_hold),
        cmocka_unit_test(values_come_from_the_environment),
        cmocka_unit_test(every_unit_counts),
        cmocka_unit_test(bounds_are_exact_and_named),
        cmocka_unit_test(malformed_numbers_are_refused),
        cmocka_unit_test(unknown_names_are_errors),
        cmocka_unit_test(webhooks_need_hosts_and_a_secret),
        cmocka_unit_test(texts_have_bounds_in_bytes),
        cmocka_unit_test(a_refusal_never_tells_a_secret),
        cmocka_unit_test(shapes_are_checked),
        cmocka_unit_test(printing_masks_secrets),
        cmocka_unit_test(printing_reads_back),
        cmocka_unit_test(the_document_has_every_row),
    };
    return RUN(tests);
}
