#include "core/sealer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "db/store.h"

#define SETTLED_MS "60000" /* a message of this age is committed, or never will be */
#define MOST 20000
#define MOST_LEAST 100
#define LOOK_MS INT64_C(300000)
#define AGAIN_MS 10000 /* after a failure */
#define NEXT_MS 200    /* there may be more to seal */
#define KEEP_TRIES 3

void sealer_init(struct sealer *s, const struct config *c)
{
    struct err e = {.kind = ERR_NONE};
    *s = (struct sealer){.interval_ms = c->seal_interval, .most = MOST};
    if (c->seal_key && *c->seal_key) {
        s->key = seal_key_private(c->seal_key, "HANSARD_SEAL_KEY", &e);
        assert(s->key);
    }
    snprintf(s->every, sizeof s->every, "%" PRId64, s->interval_ms);
    metrics_set(METRIC_SEAL_AGE, 0, -1);
}

void sealer_fini(struct sealer *s)
{
    seal_key_free(s->key);
}

/* "\x…", as PostgreSQL reads bytes. */
static void bytes_text(const uint8_t *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    *out++ = '\\';
    *out++ = 'x';
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

void sealer_ask(struct sealer *s, struct call_item *item)
{
    if (!s->has_to_keep) {
        snprintf(s->most_text, sizeof s->most_text, "%d", s->most);
        store_seal(item, s->every, SETTLED_MS, s->most_text);
        return;
    }
    snprintf(s->no, sizeof s->no, "%" PRId64, s->made.no);
    bytes_text(s->made.hash.bytes, HASH_BYTES, s->hash);
    bytes_text(s->made.signature, SEAL_SIGNATURE_BYTES, s->signature);
    const struct store_signature signature = {
        .seal_no = s->no, .hash = s->hash, .signature = s->signature, .key_id = s->made.key_id};
    store_sign_seal(item, &signature);
}

/* The line that is worth keeping elsewhere: at once, whatever becomes of the rest. */
static void tell(const struct seal *s)
{
    char root[2 * HASH_BYTES + 1], previous[2 * HASH_BYTES + 1], hash[2 * HASH_BYTES + 1];
    char signature[2 + 2 * SEAL_SIGNATURE_BYTES + 1];
    hash_hex(&s->root, root);
    hash_hex(&s->previous, previous);
    hash_hex(&s->hash, hash);
    bytes_text(s->signature, SEAL_SIGNATURE_BYTES, signature);
    const struct log_field fields[] = {LOG_INT("seal_no", s->no),
                                       LOG_INT("sealed_us", s->sealed_us),
                                       LOG_INT("from_us", s->from_us),
                                       LOG_INT("to_us", s->to_us),
                                       LOG_INT("heads", s->heads),
                                       LOG_TEXT("root", root),
                                       LOG_TEXT("previous", previous),
                                       LOG_TEXT("hash", hash),
                                       LOG_TEXT("signature", signature + 2),
                                       LOG_TEXT("key_id", s->key_id)};
    /* Whatever the level: it is evidence, no chatter. */
    log_write(LOG_INFO, "sealed", fields, COUNT_OF(fields) - (s->is_signed ? 0 : 2));
}

static int64_t seal_made(struct sealer *s, const struct call_item *item)
{
    struct err e = {.kind = ERR_NONE};
    bool ok = seal_read(item->text, item->text_len, &s->made, &e);
    struct hash hash = seal_hash(&s->made);
    if (!ok || memcmp(&hash, &s->made.hash, sizeof hash) != 0) {
        LOG(LOG_ERROR, "seal_does_not_fit", LOG_TEXT("detail", e.detail));
        return LOOK_MS;
    }
    if (s->key)
        seal_sign(s->key, &s->made);
    tell(&s->made);
    s->has_to_keep = s->made.is_signed;
    s->keep_tries = 0;
    s->has_age = true;
    s->sealed_ms = clock_mono_ms();
    return s->has_to_keep ? 0 : NEXT_MS;
}

static int64_t signature_kept(struct sealer *s, const struct call_item *item)
{
    s->has_to_keep = item->err.kind != ERR_NONE && ++s->keep_tries < KEEP_TRIES;
    if (s->has_to_keep)
        return AGAIN_MS;
    if (item->err.kind != ERR_NONE || !item->text || strcmp(item->text, "t") != 0)
        LOG(LOG_WARN, "signature_not_kept", LOG_INT("seal_no", s->made.no));
    return NEXT_MS;
}

static int64_t not_sealed(struct sealer *s, const struct call_item *item)
{
    if (item->err.kind == ERR_DB_DOWN)
        return AGAIN_MS;
    log_err(LOG_WARN, "not_sealed", &item->err);
    s->most = s->most / 2 < MOST_LEAST ? MOST_LEAST : s->most / 2; /* it may take too long */
    return AGAIN_MS;
}

/* "{"age_s": 12}": there is nothing to seal now, and the newest seal is so old; -1: there is none. */
static bool read_age(struct sealer *s, const struct call_item *item)
{
    long long age_s;
    if (sscanf(item->text, "{\"age_s\": %lld}", &age_s) != 1)
        return false;
    s->has_age = age_s != -1;
    s->sealed_ms = clock_mono_ms() - 1000 * (int64_t)age_s;
    return true;
}

static int64_t call_ended(struct sealer *s, const struct call_item *item)
{
    if (s->has_to_keep)
        return signature_kept(s, item);
    if (item->err.kind != ERR_NONE)
        return not_sealed(s, item);
    s->most = s->most < MOST / 2 ? s->most * 2 : MOST;
    if (item->text && !read_age(s, item))
        return seal_made(s, item);
    int64_t look_ms = s->interval_ms < LOOK_MS ? s->interval_ms : LOOK_MS;
    return look_ms / 2 + random_below((uint32_t)look_ms);
}

int64_t sealer_ended(struct sealer *s, const struct call_item *item)
{
    int64_t wait_ms = call_ended(s, item);
    metrics_set(METRIC_SEAL_AGE, 0, s->has_age ? (clock_mono_ms() - s->sealed_ms) / 1000 : -1);
    return wait_ms;
}
