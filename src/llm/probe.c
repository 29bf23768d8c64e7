#include "llm/probe.h"

#include <stdlib.h>

/* Headers and text alike. A server that says more has been reached. */
static size_t on_bytes(char *bytes, size_t size, size_t count, void *arg)
{
    (void)bytes;
    struct probe *p = arg;
    size_t len = size * count;
    p->bytes += len;
    return p->bytes > LIMIT_LLM_PROBE_BYTES ? 0 : len;
}

void probe_init(struct probe *p, struct attempts *room)
{
    *p = (struct probe){.room = room, .easy = curl_easy_init()};
    if (!p->easy)
        abort(); /* out of memory, as in base/mem */
    attempts_prepare(room, p->easy);
    curl_easy_setopt(p->easy, CURLOPT_URL, room->target.models_url);
    curl_easy_setopt(p->easy, CURLOPT_HTTPHEADER, room->target.headers);
    /* What is asked is whether a new connection is answered, not whether an old one still is; and
     * a call should not be given one that a probe has left in the middle of an answer. */
    curl_easy_setopt(p->easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(p->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(p->easy, CURLOPT_HEADERFUNCTION, on_bytes);
    curl_easy_setopt(p->easy, CURLOPT_HEADERDATA, p);
    curl_easy_setopt(p->easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(p->easy, CURLOPT_WRITEDATA, p);
}

void probe_fini(struct probe *p)
{
    if (p->is_running)
        reactor_remove(p->room->reactor, p->easy, p->shard);
    curl_easy_cleanup(p->easy);
    *p = (struct probe){.room = NULL};
}

bool probe_begin(struct probe *p, int64_t timeout_ms)
{
    struct attempts *room = p->room;
    assert(!p->is_running);
    if (room->names) {
        curl_easy_setopt(p->easy, CURLOPT_RESOLVE, attempts_names(room));
        if (room->names_number == 0)
            return false; /* curl would ask the resolver, and wait for it with the loop in hand */
    }
    p->bytes = 0;
    curl_easy_setopt(p->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    p->is_running = true;
    p->shard = reactor_add(room->reactor, p->easy);
    return true;
}

long probe_end(struct probe *p)
{
    long status = 0;
    p->is_running = false;
    curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}
