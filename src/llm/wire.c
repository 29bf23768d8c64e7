#include "llm/wire.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/version.h"

#define MODEL_NAME_BYTES 200

/* ---- the request ---- */

static bool read_url(const struct llm_server *s, struct wire_target *t, struct err *e)
{
    bool ok = false;
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *unwanted = NULL;
    if (!parts || curl_url_set(parts, CURLUPART_URL, s->url, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        err_set(e, ERR_BAD_FIELD, "%s is not a URL", s->url_setting);
        goto out;
    }
    if (curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
        err_set(e, ERR_BAD_FIELD, "%s must begin with http:// or https://", s->url_setting);
        goto out;
    }
    if (curl_url_get(parts, CURLUPART_QUERY, &unwanted, 0) == CURLUE_OK ||
        curl_url_get(parts, CURLUPART_FRAGMENT, &unwanted, 0) == CURLUE_OK ||
        curl_url_get(parts, CURLUPART_USER, &unwanted, 0) == CURLUE_OK) {
        err_set(e, ERR_BAD_FIELD, "%s must have no user, query or fragment", s->url_setting);
        goto out;
    }
    if (curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK) {
        err_set(e, ERR_BAD_FIELD, "%s has no port", s->url_setting);
        goto out;
    }
    t->is_tls = strcmp(scheme, "https") == 0;
    t->host = mem_text(host);
    t->port = mem_text(port);
    ok = true;
out:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(unwanted);
    curl_url_cleanup(parts);
    return ok;
}

static bool is_header_text(const char *text)
{
    for (; *text; text++)
        if (*text < 0x21 || *text > 0x7e)
            return false;
    return true;
}

static bool add_header(struct curl_slist **list, const char *line, struct err *e)
{
    struct curl_slist *grown = curl_slist_append(*list, line);
    if (!grown)
        return err_set(e, ERR_INTERNAL, "out of memory");
    *list = grown;
    return true;
}

/* "Expect:" keeps curl from waiting for "100 Continue" before a large body. */
static bool add_fixed_headers(struct curl_slist **list, struct err *e)
{
    return add_header(list, "Content-Type: application/json", e) &&
           add_header(list, "Accept: application/json", e) &&
           add_header(list, "User-Agent: hansard/" HANSARD_VERSION, e) &&
           add_header(list, "Expect:", e);
}

static char *join(const char *base, const char *path)
{
    struct buf text;
    size_t len = strlen(base);
    buf_init(&text, len + strlen(path));
    while (len > 0 && base[len - 1] == '/')
        len--;
    buf_add(&text, base, len);
    buf_puts(&text, path);
    return buf_take(&text, &len);
}

static bool add_key(struct curl_slist **list, const struct llm_server *s, struct err *e)
{
    if (!s->api_key || !s->api_key[0])
        return true;
    if (!is_header_text(s->api_key))
        return err_set(e, ERR_BAD_FIELD, "%s may hold visible ASCII characters only",
                       s->key_setting);
    struct buf line;
    buf_init(&line, WIRE_HEADER_BYTES + sizeof "Authorization: Bearer ");
    buf_puts(&line, "Authorization: Bearer ");
    buf_puts(&line, s->api_key);
    bool ok = add_header(list, line.data, e);
    buf_fini(&line);
    return ok;
}

bool wire_target_init(struct wire_target *t, const struct llm_server *s, struct err *e)
{
    *t = (struct wire_target){0};
    if (!read_url(s, t, e) || !add_fixed_headers(&t->headers, e) || !add_key(&t->headers, s, e)) {
        wire_target_fini(t);
        return false;
    }
    t->url = join(s->url, "/chat/completions");
    t->models_url = join(s->url, "/models");
    return true;
}

void wire_target_fini(struct wire_target *t)
{
    curl_slist_free_all(t->headers);
    free(t->url);
    free(t->models_url);
    free(t->host);
    free(t->port);
    *t = (struct wire_target){0};
}

void wire_header(struct buf *line, const char *name, const char *value)
{
    buf_puts(line, name);
    buf_add(line, ": ", 2);
    size_t start = line->len;
    buf_puts(line, value);
    for (size_t i = start; i < line->len; i++)
        if (line->data[i] < 0x21 || line->data[i] > 0x7e)
            line->data[i] = '_';
}

/* ---- the answer ---- */

static int32_t read_count(const json_t *usage, const char *name)
{
    const json_t *value = json_object_get(usage, name);
    if (!json_is_integer(value))
        return -1;
    json_int_t n = json_integer_value(value);
    return n >= 0 && n <= INT32_MAX ? (int32_t)n : -1;
}

/* The words of the answer, borrowed from the document; NULL and e set when there are none. */
static const json_t *find_content(const json_t *root, struct err *e)
{
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    const json_t *message = json_object_get(choice, "message");
    const json_t *content = json_object_get(message, "content");
    if (json_is_string(content))
        return content;
    if (!json_is_object(choice))
        err_set(e, ERR_MODEL_FAILED, "the model's answer has no choices");
    else if (!json_is_object(message))
        err_set(e, ERR_MODEL_FAILED, "the model's answer has no message");
    else if (json_array_size(json_object_get(message, "tool_calls")) > 0)
        err_set(e, ERR_MODEL_FAILED, "the model called a tool instead of answering");
    else if (json_is_string(json_object_get(message, "refusal")))
        err_set(e, ERR_MODEL_FAILED, "the model refused to answer");
    else
        err_set(e, ERR_MODEL_FAILED, "the model's message has no text");
    return NULL;
}

bool wire_read_answer(const char *bytes, size_t len, struct wire_answer *out, struct err *e)
{
    bool ok = false;
    json_t *root = NULL;
    *out = (struct wire_answer){.prompt_tokens = -1, .completion_tokens = -1};

    if (len == 0) {
        err_set(e, ERR_MODEL_FAILED, "the model server sent an empty answer");
        goto out;
    }
    struct err cause = {0};
    root = json_read(bytes, len, &cause);
    if (!root) {
        err_set(e, ERR_MODEL_FAILED, "the model's answer is not valid JSON: %s", cause.detail);
        goto out;
    }
    const json_t *content = find_content(root, e);
    if (!content)
        goto out;
    out->text_len = json_string_length(content);
    out->text = mem_copy(json_string_value(content), out->text_len);

    const json_t *usage = json_object_get(root, "usage");
    out->prompt_tokens = read_count(usage, "prompt_tokens");
    out->completion_tokens = read_count(usage, "completion_tokens");
    const json_t *model = json_object_get(root, "model");
    size_t model_len = json_string_length(model);
    if (model_len > 0 && model_len <= MODEL_NAME_BYTES)
        out->model = mem_copy(json_string_value(model), model_len);
    ok = true;
out:
    json_decref(root);
    return ok;
}
