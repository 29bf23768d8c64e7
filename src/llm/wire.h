/* wire — what goes to the model server and what comes back, as text.
 *
 * Does:      checks the configured URL and key, writes headers, reads the answer strictly.
 * Does not:  send or receive.
 * Threads:   any.
 * Owns:      what it gives out belongs to the caller.
 */
#pragma once

#include <curl/curl.h>

#include "base/buf.h"
#include "base/err.h"
#include "llm/client.h"

#define WIRE_HEADER_BYTES 1024 /* one header line of ours, the key's longest included */

/* Where the calls go and what every one of them carries. */
struct wire_target {
    char *url;         /* the server's + "/chat/completions" */
    char *models_url;  /* the server's + "/models" */
    char *host, *port; /* of the URL; an IPv6 address stands in brackets */
    bool is_tls;
    struct curl_slist *headers;
};
/* ERR_BAD_FIELD that names the setting: no http(s) URL, or a key that cannot stand in a header. */
MUST_USE bool wire_target_init(struct wire_target *t, const struct llm_server *s, struct err *e);
void wire_target_fini(struct wire_target *t);

/* "name: value" into an empty buffer; bytes that cannot stand in a header become '_'. */
void wire_header(struct buf *line, const char *name, const char *value);

struct wire_answer {
    char *text; /* choices[0].message.content: UTF-8 without NUL; free() it */
    size_t text_len;
    char *model;                              /* NULL: not told; free() it */
    int32_t prompt_tokens, completion_tokens; /* -1: not told */
};
/* ERR_MODEL_FAILED otherwise, and nothing to free. */
MUST_USE bool wire_read_answer(const char *bytes, size_t len, struct wire_answer *out,
                               struct err *e);
