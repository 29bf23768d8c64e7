/* Where a webhook may go, and how its receiver knows it. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/clock.h"
#include "llm/webhook.h"

#define HOSTS "hooks.example,other.example:8443,10.0.0.1,a.example:443"
static const struct config config = {.webhook_hosts = HOSTS};

static void expect_allowed(const char *url)
{
    struct err e = {.kind = ERR_NONE};
    if (!webhook_url_is_allowed(&config, url, &e))
        fail_msg("refused: %s: %s", url, e.detail);
}

static const char *refusal(const char *url)
{
    static struct err e;
    err_clear(&e);
    if (webhook_url_is_allowed(&config, url, &e))
        fail_msg("allowed: %s", url);
    assert_int_equal(e.kind, ERR_BAD_FIELD);
    return e.detail;
}

static void urls_of_listed_hosts(void **state)
{
    (void)state;
    const char *const urls[] = {
        "https://hooks.example",
        "https://hooks.example/",
        "https://hooks.example:443/a/b?c=d&e=%20",
        "https://hooks.example?a=b",
        "HTTPS://HOOKS.example/A",
        "https://other.example:8443/x",
        "https://a.example/",
        "https://a.example:443/",
        "https://10.0.0.1/", /* by name; its address is refused when it is called */
        "https://hooks.example/a@b:c",
        "https://hooks.example:/",
        "https://hooks.example/../..//x",
    };
    for (size_t i = 0; i < COUNT_OF(urls); i++)
        expect_allowed(urls[i]);
}

static void hosts_that_are_not_listed(void **state)
{
    (void)state;
    const char *const urls[] = {
        "https://example/",
        "https://hooks.example.evil.example/",
        "https://xhooks.example/",
        "https://hooks.exampl",
        "https://hooks.example./",
        "https://hooks.example:8443/",
        "https://hooks.example:80/",
        "https://other.example/",
        "https://other.example:443/",
        "https://other.example:844/",
        "https://other.example:84430/",
        "https://a.example:8443/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://0xa000001/",
        "https://167772161/",
        "https://10.1/",
        "https://012.0.0.1/",
        "https://hooks%2eexample/",
        "https://hook%73.example/",
        "https://hooks.example%00.evil.example/",
        "https://hooks.example,other.example:8443/",
        "https://evil.example/?https://hooks.example/",
    };
    for (size_t i = 0; i < COUNT_OF(urls); i++)
        (void)refusal(urls[i]);
}

static void shapes_that_are_refused(void **state)
{
    (void)state;
    const char *const urls[] = {
        "",
        "hooks.example",
        "//hooks.example/",
        "https:hooks.example",
        "https:/hooks.example",
        "https:///hooks.example",
        "https:////hooks.example",
        "https://",
        "https:///",
        "https://:443/",
        "http://hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "https+http://hooks.example/",
        " https://hooks.example/",
        "https://hooks.example/ ",
        "https://hooks.example/a b",
        "https://hooks.example/\t",
        "https://hooks.example/\r\nX: y",
        "https://hooks.example/\x7F",
        "https://hooks.example/\xC3\xA4",
        "https://h\xC3\xB6oks.example/",
        "https://user@hooks.example/",
        "https://user:password@hooks.example/",
        "https://:@hooks.example/",
        "https://@hooks.example/",
        "https://hooks.example@evil.example/",
        "https://evil.example\\@hooks.example/",
        "https://hooks.example\\@evil.example/",
        "https://hooks.example\\.evil.example/",
        "https://hooks.example#@evil.example/",
        "https://evil.example#@hooks.example/",
        "https://evil.example?@hooks.example/",
        "https://hooks.example/#",
        "https://hooks.example/#a",
        "https://hooks.example:0/",
        "https://hooks.example:443x/",
        "https://hooks.example:-443/",
        "https://hooks.example:65979/", /* 443 + 65536 */
        "https://hooks.example:443:443/",
    };
    for (size_t i = 0; i < COUNT_OF(urls); i++)
        (void)refusal(urls[i]);
}

static void a_url_has_an_exact_ceiling(void **state)
{
    (void)state;
    char url[LIMIT_WEBHOOK_URL_BYTES + 2] = "https://hooks.example/";
    size_t head = strlen(url);
    memset(url + head, 'a', LIMIT_WEBHOOK_URL_BYTES - head);
    expect_allowed(url);
    url[LIMIT_WEBHOOK_URL_BYTES] = 'a';
    assert_string_equal(refusal(url), "a webhook URL has at most 2000 bytes");
}

static void without_hosts_nothing_is_allowed(void **state)
{
    (void)state;
    const struct config none = {.webhook_hosts = ""};
    struct err e = {.kind = ERR_NONE};
    assert_false(webhook_url_is_allowed(&none, "https://hooks.example/", &e));
    err_clear(&e);
    assert_false(webhook_url_is_allowed(&none, "https:///", &e));
}

/* The example of the specification's reference libraries. */
static void the_published_signature(void **state)
{
    (void)state;
    static const char body[] = "{\"test\": 2432232314}";
    struct config_key key;
    char signature[WEBHOOK_SIGNATURE_BYTES];
    assert_true(
        base64_decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", sizeof key.bytes, key.bytes, &key.len));
    const struct webhook_message m = {.id = "msg_p5jXN8AQM9LWM0D4loKWxJek",
                                      .unix_s = 1614265330,
                                      .body = {body, sizeof body - 1}};
    webhook_sign(&key, &m, signature);
    assert_string_equal(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

/* ---- sending: loopback is not public, whatever its name is ---- */

static int ended;

static void on_done(struct webhook *hook)
{
    (void)hook;
    ended++;
}

static int listen_on_loopback(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static void no_connection_is_made_to_loopback(void **state)
{
    (void)state;
    const char *const names[] = {"localhost", "127.0.0.1"};
    char hosts[100], url[100];
    int port, fd = listen_on_loopback(&port);
    struct err e = {.kind = ERR_NONE};
    snprintf(hosts, sizeof hosts, "localhost:%d,127.0.0.1:%d", port, port);
    struct config c = {.webhook_hosts = hosts, .webhook_key = {.len = 24}};
    struct webhooks *room = webhooks_open(&c, &e);
    assert_non_null(room);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(url, sizeof url, "https://%s:%d/", names[i], port);
        struct webhook hook = {.done = on_done, .id = "1", .url = url, .body = {"{}", 2}};
        ended = 0;
        assert_true(webhooks_send(room, &hook, &e));
        while (!ended)
            webhooks_run(room, clock_mono_ms() + 1000);
        assert_int_equal(hook.result, WEBHOOK_FAILED);
        assert_int_equal(hook.status, 0);
        assert_string_equal(hook.reason, "an address is not public");
        assert_null(hook.transfer);
    }
    assert_int_equal(accept(fd, NULL, NULL), -1);
    struct webhook other = {.done = on_done, .id = "1", .url = "https://hooks.example/"};
    ended = 0;
    assert_false(webhooks_send(room, &other, &e));
    assert_int_equal(e.kind, ERR_BAD_FIELD);
    assert_int_equal(ended, 0);
    webhooks_close(room);
    webhooks_close(NULL);
    close(fd);
}

int main(void)
{
    unsetenv("HANSARD_WEBHOOK_TEST_CA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_of_listed_hosts),
        cmocka_unit_test(hosts_that_are_not_listed),
        cmocka_unit_test(shapes_that_are_refused),
        cmocka_unit_test(a_url_has_an_exact_ceiling),
        cmocka_unit_test(without_hosts_nothing_is_allowed),
        cmocka_unit_test(the_published_signature),
        cmocka_unit_test(no_connection_is_made_to_loopback),
    };
    return RUN(tests);
}
