/* fuzz_webhook — URLs that callers give for webhooks.
 *
 * Run by `make fuzz`, or alone: build/fuzz/fuzz_webhook -max_total_time=60 [corpus folder].
 * The input is a URL. What is allowed is read once more, by the simplest reader there can be, and has to lead to a
 * listed host at its port for that one, too.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "llm/webhook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_allowed(const char *url)
{
    static const char *const hosts[] = {"hooks.example", "10.0.0.1", "b.example:8443"};
    assert(strlen(url) <= LIMIT_WEBHOOK_URL_BYTES && strncasecmp(url, "https://", 8) == 0);
    for (const char *at = url; *at; at++)
        assert(*at > ' ' && *at < 0x7F && *at != '\\' && *at != '#');
    const char *authority = url + 8;
    size_t len = strcspn(authority, "/?");
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        size_t name_len = strcspn(hosts[i], ":");
        if (len < name_len || strncasecmp(authority, hosts[i], name_len) != 0)
            continue;
        long wanted = hosts[i][name_len] ? 8443 : 443, port = 443;
        if (len > name_len) {
            assert(authority[name_len] == ':');
            assert(strspn(authority + name_len + 1, "0123456789") == len - name_len - 1);
            if (len > name_len + 1)
                port = strtol(authority + name_len + 1, NULL, 10);
        }
        assert(port == wanted);
        return;
    }
    assert(!"a host that is not listed");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct config some = {.webhook_hosts = "hooks.example,10.0.0.1,b.example:8443"};
    static const struct config none = {.webhook_hosts = ""};
    char *url = malloc(size + 1);
    struct err e = {.kind = ERR_NONE};
    if (size)
        memcpy(url, data, size);
    url[size] = '\0';
    if (webhook_url_is_allowed(&some, url, &e))
        check_allowed(url);
    else
        assert(e.kind == ERR_BAD_FIELD && e.detail[0]);
    err_clear(&e);
    bool is_allowed = webhook_url_is_allowed(&none, url, &e);
    assert(!is_allowed);
    (void)is_allowed;
    free(url);
    return 0;
}
