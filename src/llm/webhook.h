/* webhook — POSTs to receivers that callers have named.
 *
 * Does:      checks URLs against the configured hosts; signs (Standard Webhooks); sends several at once over
 *            https, to public addresses only, on connections of their own; says how each ended.
 * Does not:  follow redirects, use proxies, keep what a receiver answers, repeat anything, know jobs.
 * Threads:   webhook_url_is_allowed, webhook_sign and webhooks_wake from any; the rest on one thread.
 * Owns:      its handles; a webhook only from webhooks_send until done or webhooks_abort.
 */
#pragma once

#include "base/config.h"
#include "base/err.h"

/* Is this a URL that may be called? https, a host of HANSARD_WEBHOOK_HOSTS at its port, nobody's
 * password, no fragment, within LIMIT_WEBHOOK_URL_BYTES. false: ERR_BAD_FIELD says why. */
MUST_USE bool webhook_url_is_allowed(const struct config *c, const char *url, struct err *e);

struct webhook_message {
    const char *id; /* the same for every attempt; visible ASCII */
    int64_t unix_s; /* of this attempt */
    struct span body;
};
/* "v1," and the base64 of HMAC-SHA256 over "id.time.body". */
#define WEBHOOK_SIGNATURE_BYTES 48 /* with NUL */
void webhook_sign(const struct config_key *key, const struct webhook_message *m,
                  char out[WEBHOOK_SIGNATURE_BYTES]);

enum webhook_result {
    WEBHOOK_DELIVERED, /* answered with 2xx */
    WEBHOOK_FAILED,
    WEBHOOK_GONE /* answered with 410: its receiver wants no more */
};

struct webhook {
    void (*done)(struct webhook *); /* once, from webhooks_run */
    const char *id, *url;           /* borrowed until done */
    struct span body;               /* so is this */

    enum webhook_result result;
    long status;        /* of the answer; 0: none came */
    const char *reason; /* why there is none; a constant */

    struct webhook_transfer *transfer; /* the room's own */
};

struct webhooks;
/* Borrows the configuration until webhooks_close. */
MUST_USE struct webhooks *webhooks_open(const struct config *c, struct err *e);
void webhooks_close(struct webhooks *w); /* nothing is on its way any more; NULL is fine */

/* false: the URL is not allowed, and nothing is sent. */
MUST_USE bool webhooks_send(struct webhooks *w, struct webhook *hook, struct err *e);
void webhooks_abort(struct webhooks *w, struct webhook *hook); /* on its way: done is not called */
/* Sends, until something has ended, webhooks_wake was called, or the monotonic time has come. */
void webhooks_run(struct webhooks *w, int64_t until_ms);
void webhooks_wake(struct webhooks *w);
