#include "llm/webhook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "llm/reactor.h"

#define TOTAL_MS 10000L
#define HEADER_BYTES 400 /* one header of ours: the longest is the signature's, or a job's id */

struct webhooks {
    const struct config *config;
    struct reactor *reactor;
};

struct webhook_transfer {
    struct webhooks *room;
    struct webhook *hook;
    CURL *easy;
    CURLU *url;
    struct curl_slist *headers;
    size_t shard, answer_bytes;
    bool is_refused; /* an address was not public */
};

/* ---- the URL ---- */

static bool is_plain(const char *url)
{
    for (const char *at = url; *at; at++)
        if (*at <= ' ' || *at > '~' || *at == '\\' || *at == '#')
            return false;
    return true;
}

/* Does the list name this host at this port? 443 need not be said. */
static bool is_listed(const char *list, const char *host, const char *port)
{
    size_t host_len = strlen(host);
    for (const char *item = list; *item; item += strcspn(item, ","), item += *item == ',') {
        size_t len = strcspn(item, ",");
        const char *colon = memchr(item, ':', len);
        size_t name_len = colon ? (size_t)(colon - item) : len;
        struct span item_port = {"443", 3};
        if (colon)
            item_port = (struct span){colon + 1, len - name_len - 1};
        if (name_len == host_len && strncasecmp(item, host, host_len) == 0 &&
            item_port.len == strlen(port) && memcmp(item_port.data, port, item_port.len) == 0)
            return true;
    }
    return false;
}

static const char scheme[] = "https://";
#define SCHEME_LEN (sizeof scheme - 1)

/* What curl understood has to be what is written there, so that no two readers of a URL differ. */
static bool is_host_allowed(const char *list, const char *url, CURLU *parsed)
{
    char *host = NULL, *port = NULL;
    bool ok = curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              *host && strncasecmp(url + SCHEME_LEN, host, strlen(host)) == 0 &&
              memchr(":/?", url[SCHEME_LEN + strlen(host)], sizeof ":/?") &&
              is_listed(list, host, port);
    curl_free(host);
    curl_free(port);
    return ok;
}

static bool has_part(CURLU *parsed, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(parsed, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

/* NULL: not to be called. */
static CURLU *parse(const struct config *c, const char *url, struct err *e)
{
    if (strlen(url) > LIMIT_WEBHOOK_URL_BYTES) {
        err_set(e, ERR_BAD_FIELD, "a webhook URL has at most %d bytes", LIMIT_WEBHOOK_URL_BYTES);
        return NULL;
    }
    CURLU *parsed = curl_url();
    if (!parsed)
        abort(); /* out of memory, as in base/mem */
    if (strncasecmp(url, scheme, SCHEME_LEN) != 0 || !is_plain(url) ||
        curl_url_set(parsed, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK ||
        has_part(parsed, CURLUPART_USER) || has_part(parsed, CURLUPART_PASSWORD) ||
        has_part(parsed, CURLUPART_OPTIONS) || has_part(parsed, CURLUPART_FRAGMENT))
        err_set(e, ERR_BAD_FIELD,
                "a webhook URL is an https:// URL in ASCII without user, password and fragment");
    else if (!is_host_allowed(c->webhook_hosts, url, parsed))
        err_set(e, ERR_BAD_FIELD, "webhooks to this host and port are not allowed here");
    else
        return parsed;
    curl_url_cleanup(parsed);
    return NULL;
}

bool webhook_url_is_allowed(const struct config *c, const char *url, struct err *e)
{
    CURLU *parsed = parse(c, url, e);
    curl_url_cleanup(parsed);
    return parsed != NULL;
}

/* ---- the signature ---- */

void webhook_sign(const struct config_key *key, const struct webhook_message *m,
                  char out[WEBHOOK_SIGNATURE_BYTES])
{
    static_assert(WEBHOOK_SIGNATURE_BYTES == 3 + BASE64_TEXT_BYTES(HASH_BYTES), "it fits");
    char time[24];
    int time_len = snprintf(time, sizeof time, ".%lld.", (long long)m->unix_s);
    const struct span parts[] = {{m->id, strlen(m->id)}, {time, (size_t)time_len}, m->body};
    struct span secret = {(const char *)key->bytes, key->len};
    struct hash hash = hash_hmac_sha256(secret, parts, COUNT_OF(parts));
    memcpy(out, "v1,", 3);
    base64_encode(hash.bytes, sizeof hash.bytes, out + 3);
}

/* ---- one transfer; callbacks on the room's thread ---- */

#ifdef HANSARD_FAILPOINTS
/* Test builds only: a CA to trust; then loopback is let through as well. */
static const char *test_ca(void)
{
    return getenv("HANSARD_WEBHOOK_TEST_CA");
}

static bool may_connect(const struct sockaddr *sa)
{
    struct addr a;
    struct addr_cidrs loopback;
    return addr_is_public(sa) || (test_ca() && addr_cidrs_parse("127.0.0.0/8,::1", &loopback) &&
                                  addr_from_sockaddr(sa, &a) && addr_in(&loopback, &a));
}

static void trust_test_ca(CURL *easy)
{
    if (test_ca())
        curl_easy_setopt(easy, CURLOPT_CAINFO, test_ca());
}
#else
static bool may_connect(const struct sockaddr *sa)
{
    return addr_is_public(sa);
}

static void trust_test_ca(CURL *easy)
{
    (void)easy;
}
#endif

/* Here, and not by name: what counts is where the connection goes. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct webhook_transfer *t = arg;
    struct sockaddr_storage copy = {.ss_family = (sa_family_t)address->family};
    bool is_known = purpose == CURLSOCKTYPE_IPCXN &&
                    (address->family == AF_INET || address->family == AF_INET6) &&
                    address->addrlen <= sizeof copy;
    if (is_known)
        memcpy(&copy, &address->addr, address->addrlen);
    if (!is_known || !may_connect((const struct sockaddr *)&copy)) {
        t->is_refused = true;
        return CURL_SOCKET_BAD;
    }
    return reactor_open_socket(t->room->reactor, address);
}

/* Headers and text alike are read, so that the receiver need not wonder, and thrown away. */
static size_t on_bytes(char *bytes, size_t size, size_t count, void *arg)
{
    (void)bytes;
    struct webhook_transfer *t = arg;
    t->answer_bytes += size * count;
    return t->answer_bytes > LIMIT_WEBHOOK_ANSWER_BYTES ? 0 : size * count;
}

static void set_options(struct webhook_transfer *t)
{
    CURL *easy = t->easy;
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "https"); /* curl refuses an empty list */
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    trust_test_ca(easy);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TOTAL_MS);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a resolver that hangs is not waited for */
    /* A receiver's address is looked at when its connection is made, so each gets its own. */
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_bytes);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    reactor_prepare(t->room->reactor, easy);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
}

static void add_header(struct webhook_transfer *t, const char *name, const char *value)
{
    char line[HEADER_BYTES];
    int len = snprintf(line, sizeof line, *value ? "%s: %s" : "%s:%s", name, value);
    assert(len > 0 && (size_t)len < sizeof line && !strpbrk(line, "\r\n"));
    (void)len;
    struct curl_slist *longer = curl_slist_append(t->headers, line);
    if (!longer)
        abort(); /* out of memory, as in base/mem */
    t->headers = longer;
}

static void set_request(struct webhook_transfer *t)
{
    const struct webhook *hook = t->hook;
    const struct webhook_message m = {
        .id = hook->id, .unix_s = clock_unix_ms() / 1000, .body = hook->body};
    char time[24], signature[WEBHOOK_SIGNATURE_BYTES];
    snprintf(time, sizeof time, "%lld", (long long)m.unix_s);
    webhook_sign(&t->room->config->webhook_key, &m, signature);
    add_header(t, "Content-Type", "application/json");
    add_header(t, "User-Agent", "hansard");
    add_header(t, "Expect", ""); /* curl would ask first whether it may send a long body */
    add_header(t, "webhook-id", m.id);
    add_header(t, "webhook-timestamp", time);
    add_header(t, "webhook-signature", signature);
    curl_easy_setopt(t->easy, CURLOPT_CURLU, t->url);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(t->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)hook->body.len);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, hook->body.data);
}

static void free_transfer(struct webhook_transfer *t)
{
    t->hook->transfer = NULL;
    curl_easy_cleanup(t->easy);
    curl_url_cleanup(t->url);
    curl_slist_free_all(t->headers);
    free(t);
}

/* By the status, whatever became of the text after it. */
static void judge(struct webhook_transfer *t, CURLcode code)
{
    struct webhook *hook = t->hook;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &hook->status);
    hook->result = hook->status >= 200 && hook->status <= 299 ? WEBHOOK_DELIVERED
                   : hook->status == 410                      ? WEBHOOK_GONE
                                                              : WEBHOOK_FAILED;
    hook->reason = hook->status != 0 ? "answered"
                   : t->is_refused   ? "an address is not public"
                                     : curl_easy_strerror(code);
}

static void on_end(void *arg, CURL *easy, CURLcode code)
{
    (void)arg;
    struct webhook_transfer *t = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
    struct webhook *hook = t->hook;
    judge(t, code);
    free_transfer(t);
    hook->done(hook);
}

/* ---- the room ---- */

struct webhooks *webhooks_open(const struct config *c, struct err *e)
{
    struct webhooks *w = mem_zero(sizeof *w);
    const struct reactor_events events = {.ended = on_end, .arg = w};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort(); /* out of memory, or a broken OpenSSL */
    w->config = c;
    w->reactor = reactor_open(&events, true, e);
    if (w->reactor)
        return w;
    curl_global_cleanup();
    free(w);
    return NULL;
}

void webhooks_close(struct webhooks *w)
{
    if (!w)
        return;
    reactor_close(w->reactor);
    curl_global_cleanup();
    free(w);
}

bool webhooks_send(struct webhooks *w, struct webhook *hook, struct err *e)
{
    CURLU *url = parse(w->config, hook->url, e);
    if (!url)
        return false;
    struct webhook_transfer *t = mem_zero(sizeof *t);
    *t = (struct webhook_transfer){.room = w, .hook = hook, .url = url, .easy = curl_easy_init()};
    if (!t->easy)
        abort(); /* out of memory, as in base/mem */
    hook->transfer = t;
    hook->status = 0;
    hook->reason = NULL;
    set_options(t);
    set_request(t);
    t->shard = reactor_add(w->reactor, t->easy);
    return true;
}

void webhooks_abort(struct webhooks *w, struct webhook *hook)
{
    reactor_remove(w->reactor, hook->transfer->easy, hook->transfer->shard);
    hook->result = WEBHOOK_FAILED;
    hook->reason = "this worker is stopping";
    free_transfer(hook->transfer);
}

void webhooks_run(struct webhooks *w, int64_t until_ms)
{
    reactor_run(w->reactor, until_ms);
}

void webhooks_wake(struct webhooks *w)
{
    reactor_wake(w->reactor);
}
