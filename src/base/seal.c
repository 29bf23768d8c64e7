#include "base/seal.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"

#define SECRET_BYTES 32
#define LABEL "hansard seal 1"
#define SIGNED_LABEL "hansard seal signature 1"

struct seal_key {
    EVP_PKEY *evp;
    char id[SEAL_KEY_ID_BYTES];
};

struct hash seal_hash(const struct seal *s)
{
    uint8_t numbers[4 * 8 + 4];
    uint8_t *end = pack_be(numbers, (uint64_t)s->no, 8);
    end = pack_be(end, (uint64_t)s->sealed_us, 8);
    end = pack_be(end, (uint64_t)s->from_us, 8);
    end = pack_be(end, (uint64_t)s->to_us, 8);
    pack_be(end, (uint32_t)s->heads, 4);
    const struct span parts[] = {{LABEL, sizeof LABEL - 1},
                                 {(const char *)numbers, sizeof numbers},
                                 {(const char *)s->root.bytes, HASH_BYTES},
                                 {(const char *)s->previous.bytes, HASH_BYTES}};
    return hash_sha256_joined(parts, COUNT_OF(parts));
}

void seal_leaf(const struct uuid *conversation, int32_t messages, const struct hash *head,
               uint8_t out[SEAL_LEAF_BYTES])
{
    memcpy(out, conversation->bytes, 16);
    pack_be(out + 16, (uint32_t)messages, 4);
    memcpy(out + 20, head->bytes, HASH_BYTES);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_number(const json_t *object, const char *name, int64_t most, int64_t *out)
{
    const json_t *value = json_object_get(object, name);
    *out = json_integer_value(value);
    return json_is_integer(value) && *out >= 0 && *out <= most;
}

static bool read_hash(const json_t *object, const char *name, struct hash *out)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) &&
           hash_from_hex(json_string_value(value), json_string_length(value), out);
}

static bool read_signature(const json_t *object, struct seal *s)
{
    const json_t *signature = json_object_get(object, "signature");
    const json_t *key_id = json_object_get(object, "key_id");
    struct hash halves[2];
    s->is_signed = signature != NULL;
    if (!s->is_signed)
        return true;
    if (json_string_length(signature) != 2 * sizeof s->signature ||
        json_string_length(key_id) != SEAL_KEY_ID_BYTES - 1)
        return false;
    const char *text = json_string_value(signature);
    for (size_t i = 0; i < COUNT_OF(halves); i++)
        if (!hash_from_hex(text + 2 * i * HASH_BYTES, 2 * sizeof halves[i].bytes, &halves[i]))
            return false;
    memcpy(s->signature, halves, sizeof s->signature);
    memcpy(s->key_id, json_string_value(key_id), sizeof s->key_id);
    return true;
}

bool seal_read(const char *json, size_t len, struct seal *out, struct err *e)
{
    int64_t heads = 0;
    *out = (struct seal){.no = 0};
    json_t *object = json_read(json, len, e);
    bool ok = object && read_number(object, "seal_no", INT64_MAX, &out->no) &&
              read_number(object, "sealed_us", INT64_MAX, &out->sealed_us) &&
              read_number(object, "from_us", INT64_MAX, &out->from_us) &&
              read_number(object, "to_us", INT64_MAX, &out->to_us) &&
              read_number(object, "heads", INT32_MAX, &heads) &&
              read_hash(object, "root", &out->root) &&
              read_hash(object, "previous", &out->previous) &&
              read_hash(object, "hash", &out->hash) && read_signature(object, out);
    out->heads = (int32_t)heads;
    json_decref(object);
    return ok || err_set(e, ERR_BAD_JSON, "not a seal");
}

/* ---- keys ------------------------------------------------------------------------------------ */

static bool read_base64(const char *text, size_t len, struct hash *out)
{
    unsigned char bytes[SECRET_BYTES + 1];
    bool ok = len == 44 && text[43] == '=' && text[42] != '=' &&
              EVP_DecodeBlock(bytes, (const unsigned char *)text, 44) == sizeof bytes;
    if (ok)
        memcpy(out->bytes, bytes, sizeof out->bytes);
    explicit_bzero(bytes, sizeof bytes);
    return ok;
}

typedef EVP_PKEY *(*make_key)(int type, ENGINE *, const unsigned char *, size_t);

static struct seal_key *read_key(const char *text, const char *setting, make_key make,
                                 struct err *e)
{
    struct hash raw, id;
    struct seal_key *k = NULL;
    unsigned char public[SECRET_BYTES];
    size_t len = sizeof public;
    char hex[2 * HASH_BYTES + 1];
    if (!hash_from_hex(text, strlen(text), &raw) && !read_base64(text, strlen(text), &raw)) {
        err_set(e, ERR_BAD_FIELD, "%s must be 32 bytes, as 64 hexadecimal digits or in base64",
                setting);
        return NULL;
    }
    EVP_PKEY *evp = make(EVP_PKEY_ED25519, NULL, raw.bytes, sizeof raw.bytes);
    explicit_bzero(&raw, sizeof raw);
    if (!evp || !EVP_PKEY_get_raw_public_key(evp, public, &len) || len != sizeof public) {
        EVP_PKEY_free(evp);
        err_set(e, ERR_BAD_FIELD, "%s is not an Ed25519 key", setting);
        return NULL;
    }
    id = hash_sha256(public, sizeof public);
    hash_hex(&id, hex);
    k = mem_zero(sizeof *k);
    k->evp = evp;
    memcpy(k->id, hex, sizeof k->id - 1);
    return k;
}

struct seal_key *seal_key_private(const char *text, const char *setting, struct err *e)
{
    return read_key(text, setting, EVP_PKEY_new_raw_private_key, e);
}

struct seal_key *seal_key_public(const char *text, const char *setting, struct err *e)
{
    return read_key(text, setting, EVP_PKEY_new_raw_public_key, e);
}

void seal_key_free(struct seal_key *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->evp); /* wipes what is private */
    free(k);
}

const char *seal_key_id(const struct seal_key *k)
{
    return k->id;
}

/* ---- signatures ------------------------------------------------------------------------------ */

#define SIGNED_BYTES (sizeof SIGNED_LABEL - 1 + HASH_BYTES)
static void signed_bytes(const struct seal *s, uint8_t out[SIGNED_BYTES])
{
    memcpy(out, SIGNED_LABEL, sizeof SIGNED_LABEL - 1);
    memcpy(out + sizeof SIGNED_LABEL - 1, s->hash.bytes, HASH_BYTES);
}

void seal_sign(const struct seal_key *k, struct seal *s)
{
    uint8_t bytes[SIGNED_BYTES];
    size_t len = sizeof s->signature;
    signed_bytes(s, bytes);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || !EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->evp) ||
        !EVP_DigestSign(ctx, s->signature, &len, bytes, sizeof bytes) || len != sizeof s->signature)
        abort(); /* out of memory */
    EVP_MD_CTX_free(ctx);
    memcpy(s->key_id, k->id, sizeof s->key_id);
    s->is_signed = true;
}

bool seal_is_signed_by(const struct seal *s, const struct seal_key *k)
{
    uint8_t bytes[SIGNED_BYTES];
    if (!s->is_signed || strcmp(s->key_id, k->id) != 0)
        return false;
    signed_bytes(s, bytes);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || !EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->evp))
        abort(); /* out of memory */
    bool ok = EVP_DigestVerify(ctx, s->signature, sizeof s->signature, bytes, sizeof bytes) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}
