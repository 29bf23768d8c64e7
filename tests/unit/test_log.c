/* One JSON object a line, whatever is logged. */
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/thread.h"

/* Standard error goes into a socket that keeps the borders of each write. */
static int reader, saved_stderr;

static void catch_lines(void)
{
    int pair[2], size = 1 << 20;
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    saved_stderr = dup(STDERR_FILENO);
    dup2(pair[1], STDERR_FILENO);
    close(pair[1]);
    reader = pair[0];
}

static void let_go(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(reader);
}

static char line[20000];
static size_t line_len;

/* The next write, parsed; NULL: there was none. */
static json_t *next_line(void)
{
    ssize_t n = recv(reader, line, sizeof line - 1, MSG_DONTWAIT);
    if (n < 0)
        return NULL;
    line_len = (size_t)n;
    line[n] = '\0';
    assert_int_equal(line[n - 1], '\n');
    assert_ptr_equal(strchr(line, '\n'), line + n - 1); /* one line a write */
    json_error_t error;
    json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        let_go();
        fail_msg("%s: %.300s", error.text, line);
    }
    return root;
}

static const char *text_of(json_t *root, const char *name)
{
    const char *text = json_string_value(json_object_get(root, name));
    return text ? text : "(none)";
}

static int setup(void **state)
{
    (void)state;
    log_setup(LOG_DEBUG, "worker-7");
    catch_lines();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    let_go();
    return 0;
}

static void a_line_has_its_fields_in_order(void **state)
{
    (void)state;
    char before[25], after[25];
    clock_format(clock_unix_ms(), before);
    LOG(LOG_WARN, "turn", LOG_TEXT("code", "busy"), LOG_INT("ms", -12), LOG_TEXT("none", NULL));
    clock_format(clock_unix_ms(), after);
    json_t *root = next_line();
    const char *time = text_of(root, "time");
    assert_true(strcmp(before, time) <= 0 && strcmp(time, after) <= 0);
    char expected[300];
    snprintf(expected, sizeof expected,
             "{\"time\":\"%s\",\"level\":\"warn\",\"event\":\"turn\",\"worker\":\"worker-7\","
             "\"code\":\"busy\",\"ms\":-12,\"none\":\"\"}\n",
             time);
    assert_string_equal(line, expected);
    json_decref(root);
    assert_null(next_line());
}

static void levels_below_are_not_written(void **state)
{
    (void)state;
    const char *const names[] = {"debug", "info", "warn", "error"};
    for (int least = LOG_DEBUG; least <= LOG_ERROR; least++) {
        log_setup((enum log_level)least, NULL);
        for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
            LOG((enum log_level)level, "event");
            assert_int_equal(log_is_on((enum log_level)level), level >= least);
            json_t *root = next_line();
            assert_int_equal(root != NULL, level >= least);
            if (root) {
                assert_string_equal(text_of(root, "level"), names[level]);
                assert_null(json_object_get(root, "worker"));
            }
            json_decref(root);
        }
    }
}

static void fields_are_not_computed_when_off(void **state)
{
    (void)state;
    int computed = 0;
    log_setup(LOG_ERROR, NULL);
    LOG(LOG_INFO, "event", LOG_INT("n", ++computed));
    assert_int_equal(computed, 0);
}

static void what_is_logged_cannot_forge_a_line(void **state)
{
    (void)state;
    LOG(LOG_INFO, "x\",\"level\":\"error", LOG_TEXT("t", "a\n{\"event\":\"forged\"}\r\t\x01\\"));
    json_t *root = next_line();
    assert_string_equal(text_of(root, "level"), "info");
    assert_string_equal(text_of(root, "t"), "a\n{\"event\":\"forged\"}\r\t\x01\\");
    json_decref(root);
}

static void bytes_that_are_not_utf8_are_replaced(void **state)
{
    (void)state;
    LOG(LOG_INFO, "event", LOG_TEXT("t", "a\xFF\xC3\xA9\xE2\x82z"));
    json_t *root = next_line();
    assert_string_equal(text_of(root, "t"), "a?\xC3\xA9??z");
    assert_null(json_object_get(root, "truncated"));
    json_decref(root);
}

static void a_long_text_is_cut_and_says_so(void **state)
{
    (void)state;
    const char *const patterns[] = {"x", "\x01", "\xE2\x82\xAC", "\xFF", "\"\xC3\xA9"};
    for (size_t p = 0; p < COUNT_OF(patterns); p++) {
        static char text[30001];
        size_t n = strlen(patterns[p]);
        for (size_t i = 0; i < 30000; i++)
            text[i] = patterns[p][i % n];
        LOG(LOG_INFO, "event", LOG_TEXT("before", "b"), LOG_TEXT("t", text),
            LOG_TEXT("after", "a"));
        json_t *root = next_line();
        assert_in_range(line_len, 4096, 8192);
        assert_true(json_is_true(json_object_get(root, "truncated")));
        assert_string_equal(text_of(root, "before"), "b");
        assert_true(strlen(text_of(root, "t")) > 600);
        json_decref(root);
    }
}

static void a_text_that_just_fits_is_whole(void **state)
{
    (void)state;
    static char text[8192];
    bool was_whole = false, was_cut = false;
    for (size_t len = 7900; len < 8190; len++) {
        memset(text, 'x', len);
        text[len] = '\0';
        LOG(LOG_INFO, "event", LOG_TEXT("t", text));
        json_t *root = next_line();
        bool whole = strcmp(text_of(root, "t"), text) == 0;
        assert_in_range(line_len, 4096, 8192);
        assert_int_equal(json_object_get(root, "truncated") == NULL, whole);
        was_whole |= whole;
        was_cut |= !whole;
        json_decref(root);
    }
    assert_true(was_whole && was_cut);
}

static void many_fields_end_at_the_ceiling(void **state)
{
    (void)state;
    struct log_field fields[600];
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        static char names[600][16];
        snprintf(names[i], sizeof names[i], "field%zu", i);
        fields[i] = i % 2 ? LOG_INT(names[i], INT64_MIN) : LOG_TEXT(names[i], "0123456789");
    }
    log_write(LOG_INFO, "event", fields, COUNT_OF(fields));
    json_t *root = next_line();
    assert_in_range(line_len, 7000, 8192);
    assert_true(json_is_true(json_object_get(root, "truncated")));
    assert_string_equal(text_of(root, "field0"), "0123456789");
    json_decref(root);
}

static void a_long_worker_name_is_cut(void **state)
{
    (void)state;
    char name[100];
    for (size_t i = 0; i < 99; i += 3)
        memcpy(name + i, "\xE2\x82\xAC", 3);
    name[99] = '\0';
    log_setup(LOG_INFO, name);
    LOG(LOG_INFO, "event");
    json_t *root = next_line();
    assert_int_equal(strlen(text_of(root, "worker")), 63);
    json_decref(root);
}

static void an_error_has_code_and_detail(void **state)
{
    (void)state;
    struct err e = {.kind = ERR_NONE};
    err_set(&e, ERR_DB_DOWN, "lane %d", 3);
    log_err(LOG_ERROR, "lane", &e);
    json_t *root = next_line();
    assert_string_equal(text_of(root, "event"), "lane");
    assert_string_equal(text_of(root, "level"), "error");
    assert_string_equal(text_of(root, "code"), "database_unavailable");
    assert_string_equal(text_of(root, "detail"), "lane 3");
    json_decref(root);
    log_setup(LOG_ERROR, NULL);
    log_err(LOG_WARN, "lane", &e);
    assert_null(next_line());
}

static void *log_often(void *arg)
{
    for (int i = 0; i < 50; i++)
        LOG(LOG_INFO, "event", LOG_TEXT("who", arg), LOG_INT("i", i));
    return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
    (void)state;
    pthread_t threads[3];
    char *const names[3] = {"one", "two", "three"};
    int seen = 0;
    for (size_t i = 0; i < 3; i++)
        threads[i] = thread_start("logger", log_often, names[i]);
    while (seen < 150) {
        json_t *root = next_line();
        if (!root)
            continue;
        assert_string_equal(text_of(root, "event"), "event");
        json_decref(root);
        seen++;
    }
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    json_setup();
    const struct CMUnitTest tests[] = {
        TEST(a_line_has_its_fields_in_order),
        TEST(levels_below_are_not_written),
        TEST(fields_are_not_computed_when_off),
        TEST(what_is_logged_cannot_forge_a_line),
        TEST(bytes_that_are_not_utf8_are_replaced),
        TEST(a_long_text_is_cut_and_says_so),
        TEST(a_text_that_just_fits_is_whole),
        TEST(many_fields_end_at_the_ceiling),
        TEST(a_long_worker_name_is_cut),
        TEST(an_error_has_code_and_detail),
        TEST(threads_do_not_mix_their_lines),
    };
    return RUN(tests);
}
