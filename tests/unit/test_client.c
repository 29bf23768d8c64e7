/* Calls to a model server that goes away and comes back, and calls whose time is over: the client
 * against a server of one thread, in this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "llm/attempt.h"
#include "llm/health.h"

#define PATIENCE_MS 20000

/* ---- the model server ---- */

struct server {
    in_port_t port;
    char url[64];
    int listener;
    pthread_t thread;
    atomic_bool is_stopping;
    atomic_bool fails;               /* answers calls with 500, and probes as ever */
    atomic_int calls, probes, keyed; /* what came; with the key */
};

static int listen_on(in_port_t *port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = *port};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = a.sin_port;
    return fd;
}

static void say(int fd, const char *status, const char *body)
{
    char text[400];
    int len = snprintf(text, sizeof text,
                       "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status,
                       strlen(body), body);
    (void)!send(fd, text, (size_t)len, MSG_NOSIGNAL);
}

/* Requests are short: the first bytes are the whole. */
static void answer(struct server *s, int fd)
{
    char text[2000];
    ssize_t len = recv(fd, text, sizeof text - 1, 0);
    if (len <= 0)
        return;
    text[len] = '\0';
    s->keyed += strstr(text, "Authorization: Bearer sk-1\r\n") != NULL;
    if (strncmp(text, "GET /v1/models ", 15) == 0) {
        s->probes++;
        say(fd, "404 Not Found", "no such thing");
        return;
    }
    s->calls++;
    if (s->fails)
        say(fd, "500 Internal Server Error", "");
    else
        say(fd, "200 OK", "{\"choices\":[{\"message\":{\"content\":\"hello\"}}]}");
}

static void *run_server(void *arg)
{
    struct server *s = arg;
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0 || s->is_stopping) {
            close(fd);
            return NULL;
        }
        answer(s, fd);
        close(fd);
    }
}

/* On the port it had before, if it had one. */
static void start_server(struct server *s)
{
    s->is_stopping = false;
    s->listener = listen_on(&s->port);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d/v1", ntohs(s->port));
    assert_int_equal(pthread_create(&s->thread, NULL, run_server, s), 0);
}

static void stop_server(struct server *s)
{
    s->is_stopping = true;
    shutdown(s->listener, SHUT_RDWR); /* ends accept */
    pthread_join(s->thread, NULL);
    close(s->listener);
}

/* ---- the client ---- */

static const struct config config = {.llm_connect_timeout = 5000,
                                     .llm_first_byte_timeout = 10000,
                                     .llm_stall_timeout = 10000,
                                     .llm_total_timeout = 20000,
                                     .llm_answer_bytes = 4096,
                                     .request_timeout = 20000};

static atomic_int changes;

static void on_changed(void *arg)
{
    (void)arg;
    changes++;
}

static struct llm *open_client(const char *name, size_t index, const struct server *s, int most)
{
    const struct llm_server target = {.name = name,
                                      .index = index,
                                      .url = s->url,
                                      .api_key = "sk-1",
                                      .url_setting = "URL",
                                      .key_setting = "KEY",
                                      .most = most};
    const struct llm_events events = {.changed = on_changed};
    struct err e = {0};
    struct llm *l = llm_open(&config, &target, &events, &e);
    assert_non_null(l);
    return l;
}

struct asked {
    struct llm_call call;
    atomic_bool is_done;
};

static void on_done(struct llm_call *call)
{
    CONTAINER_OF(call, struct asked, call)->is_done = true;
}

static void submit(struct llm *l, struct asked *a, int64_t admitted_ms)
{
    a->is_done = false;
    a->call = (struct llm_call){.done = on_done,
                                .deadline_ms = clock_mono_ms() + PATIENCE_MS,
                                .admitted_ms = admitted_ms,
                                .body = "{}",
                                .body_len = 2,
                                .request_id = "r"};
    llm_submit(l, &a->call);
}

static enum err_kind wait_for(struct asked *a)
{
    while (!a->is_done)
        usleep(1000);
    free(a->call.text);
    free(a->call.model);
    return a->call.err.kind;
}

static enum err_kind ask(struct llm *l)
{
    struct asked a;
    submit(l, &a, clock_mono_ms());
    return wait_for(&a);
}

/* Milliseconds until it has this limit. */
static int64_t wait_for_limit(const struct llm *l, int limit)
{
    int64_t begun_ms = clock_mono_ms();
    while (llm_limit(l) != limit) {
        usleep(1000);
        assert_true(clock_mono_ms() - begun_ms < PATIENCE_MS);
    }
    return clock_mono_ms() - begun_ms;
}

static void bring_down(struct llm *l)
{
    while (llm_state(l) != LLM_DOWN)
        assert_int_equal(ask(l), ERR_MODEL_FAILED);
    assert_int_equal(llm_limit(l), 0);
}

static int64_t attempts(void)
{
    int64_t sum = 0;
    for (size_t i = 0; i <= ATTEMPT_TOO_LARGE; i++)
        sum += metrics_get(METRIC_LLM_CALLS, i);
    return sum;
}

/* ---- tests ---- */

static void test_server_goes_and_comes_back(void **state)
{
    (void)state;
    struct server s = {.port = 0};
    start_server(&s);
    struct llm *l = open_client("primary", 0, &s, 3);
    assert_int_equal(llm_limit(l), 3);
    assert_int_not_equal(llm_state(l), LLM_DOWN);
    assert_int_equal(metrics_get(METRIC_LLM_UP, 0), 1);
    assert_int_equal(ask(l), ERR_NONE);
    stop_server(&s);
    bring_down(l);
    assert_true(changes > 0);
    assert_int_equal(metrics_get(METRIC_LLM_UP, 0), 0);
    assert_int_equal(metrics_get(METRIC_LLM_LIMIT, 0), 0);

    int64_t before = attempts();
    int told = changes;
    start_server(&s);
    assert_in_range(wait_for_limit(l, 1), 0, 1999); /* any answer to a probe will do */
    assert_int_not_equal(llm_state(l), LLM_DOWN);
    assert_int_equal(metrics_get(METRIC_LLM_UP, 0), 0); /* on trial */
    assert_int_equal(changes, told + 1);
    assert_int_equal(attempts(), before); /* a probe is not one */
    assert_true(metrics_get(METRIC_LLM_PROBES, 0) > 0);
    assert_int_equal(s.probes + s.calls, s.keyed);

    assert_int_equal(ask(l), ERR_NONE);
    assert_int_equal(llm_limit(l), 2);
    assert_int_equal(metrics_get(METRIC_LLM_UP, 0), 1);
    int probes = s.probes;
    usleep(2 * HEALTH_PROBE_MS * 1000);
    assert_int_equal(s.probes, probes); /* they end with the trouble */
    llm_close(l);
    stop_server(&s);
}

static void test_trial_that_fails_is_not_repeated_at_once(void **state)
{
    (void)state;
    struct server s = {.port = 0};
    s.fails = true;
    start_server(&s);
    struct llm *l = open_client("primary", 0, &s, 3);
    bring_down(l);
    (void)wait_for_limit(l, 1);
    assert_int_equal(ask(l), ERR_MODEL_FAILED);
    assert_int_equal(llm_state(l), LLM_DOWN);
    int64_t begun_ms = clock_mono_ms();
    s.fails = false;
    (void)wait_for_limit(l, 1);
    assert_in_range(clock_mono_ms() - begun_ms, HEALTH_TRIAL_PAUSE_MS / 2, 1999);
    assert_int_equal(ask(l), ERR_NONE);
    assert_int_equal(llm_limit(l), 2);
    llm_close(l);
    stop_server(&s);
}

static void test_two_servers_know_nothing_of_each_other(void **state)
{
    (void)state;
    struct server up = {.port = 0}, away = {.port = 0};
    start_server(&up);
    start_server(&away);
    stop_server(&away);
    struct llm *first = open_client("primary", 0, &away, 3);
    struct llm *second = open_client("fallback", 1, &up, 5);
    bring_down(first);
    assert_int_equal(ask(second), ERR_NONE);
    assert_int_equal(llm_limit(second), 5);
    assert_int_equal(metrics_get(METRIC_LLM_UP, 0), 0);
    assert_int_equal(metrics_get(METRIC_LLM_UP, 1), 1);
    llm_close(first); /* with a probe due, or under way */
    assert_int_equal(ask(second), ERR_NONE);
    llm_close(second);
    stop_server(&up);
}

static void test_closing_changes_nothing(void **state)
{
    (void)state;
    struct server s = {.port = 0};
    s.listener = listen_on(&s.port); /* nobody accepts: calls hang */
    snprintf(s.url, sizeof s.url, "http://127.0.0.1:%d/v1", ntohs(s.port));
    struct llm *l = open_client("primary", 0, &s, 10);
    static struct asked hanging[2 * HEALTH_FAILURES];
    for (size_t i = 0; i < COUNT_OF(hanging); i++)
        submit(l, &hanging[i], clock_mono_ms());
    usleep(50000);
    int told = changes;
    int64_t down = metrics_get(METRIC_LLM_STATE_CHANGES, HEALTH_DOWN);
    llm_close(l);
    for (size_t i = 0; i < COUNT_OF(hanging); i++)
        assert_int_equal(wait_for(&hanging[i]), ERR_WORKER_LOST);
    assert_int_equal(changes, told);
    assert_int_equal(metrics_get(METRIC_LLM_STATE_CHANGES, HEALTH_DOWN), down);
    close(s.listener);
}

static void test_time_runs_from_the_permit(void **state)
{
    (void)state;
    struct server s = {.port = 0};
    start_server(&s);
    struct llm *l = open_client("primary", 0, &s, 3);
    struct asked a;
    submit(l, &a, clock_mono_ms() - config.llm_total_timeout);
    assert_int_equal(wait_for(&a), ERR_MODEL_TIMEOUT);
    assert_int_equal(a.call.attempts, 0);
    submit(l, &a, clock_mono_ms() - config.llm_total_timeout + 5000);
    assert_int_equal(wait_for(&a), ERR_NONE);
    assert_int_equal(s.calls, 1);
    assert_int_equal(llm_limit(l), 3); /* no fault of the server */
    llm_close(l);
    stop_server(&s);
}

/* ---- one attempt, whose time is over when its connection is there ---- */

static struct {
    CURLcode code;
    bool is_over;
} transfer;

static void on_end(void *arg, CURL *easy, CURLcode code)
{
    (void)arg;
    (void)easy;
    transfer.code = code;
    transfer.is_over = true;
}

static void test_nothing_is_sent_after_its_time(void **state)
{
    (void)state;
    struct server s = {.port = 0};
    s.listener = listen_on(&s.port);
    snprintf(s.url, sizeof s.url, "http://127.0.0.1:%d/v1", ntohs(s.port));
    const struct llm_server target = {.name = "primary", .url = s.url, .most = 1};
    const struct reactor_events events = {.ended = on_end};
    struct attempts room = {.config = &config, .server = &target};
    struct err e = {0};
    assert_true(attempts_init(&room, &events, &e));
    struct llm_call call = {.body = "{}", .body_len = 2, .request_id = "r"};
    struct llm_attempt *a = attempt_take(&room, &call);
    a->until_ms = clock_mono_ms() + 5000;
    attempt_begin(a);
    a->until_ms = clock_mono_ms(); /* as if this process had slept in between */
    while (!transfer.is_over)
        reactor_run(room.reactor, clock_mono_ms() + 100);
    assert_int_equal(transfer.code, CURLE_ABORTED_BY_CALLBACK);
    assert_int_equal(attempt_end(a, transfer.code, &e), ATTEMPT_TIMEOUT);
    assert_int_equal(e.kind, ERR_MODEL_TIMEOUT);
    assert_false(attempt_had_fair_time(a));
    attempt_return(a);
    attempts_fini(&room);

    char byte;
    int fd = accept(s.listener, NULL, NULL);
    assert_true(fd >= 0);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
    close(s.listener);
}

int main(void)
{
    json_setup();
    log_setup(LOG_ERROR, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_goes_and_comes_back),
        cmocka_unit_test(test_trial_that_fails_is_not_repeated_at_once),
        cmocka_unit_test(test_two_servers_know_nothing_of_each_other),
        cmocka_unit_test(test_closing_changes_nothing),
        cmocka_unit_test(test_time_runs_from_the_permit),
        cmocka_unit_test(test_nothing_is_sent_after_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
