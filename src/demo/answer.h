/* answer — what the demo model says, as one JSON object or as events.
 *
 * Does:      makes the text; renders it whole or one token at a time.
 * Does not:  know of time or connections.
 * Threads:   any; an answer belongs to one call.
 * Owns:      its text, until answer_fini.
 */
#pragma once

#include "demo/scan.h"
#include "demo/script.h"

#define ANSWER_TOKEN_BYTES 1000 /* longest piece that travels in one event */
#define ANSWER_EVENT_BYTES (6 * ANSWER_TOKEN_BYTES + 1024) /* room that any event fits in */

struct answer {
    char *text;
    size_t len;
    size_t sent;     /* bytes of text already given out as events */
    unsigned stage;  /* of the stream */
    unsigned tokens; /* in the whole text */
    unsigned prompt_tokens;
    uint64_t id;
    char model[128]; /* raw JSON text between the quotes */
    bool include_usage;
    bool garbage;
};

/* Says what it saw ("echo N: first bytes of the last user message"), or as much as the script asks.
 * The id stands for the question. */
void answer_init(struct answer *a, uint64_t id, const struct scan *scan,
                 const struct script *script);
void answer_fini(struct answer *a);

MUST_USE char *answer_json(const struct answer *a, size_t *len); /* for the caller to free */

/* Writes the next event into out (ANSWER_EVENT_BYTES); 0 when the stream is over.
 * *token: the event carries a token, so a pace applies to it. */
size_t answer_event(struct answer *a, char *out, bool *token);

bool answer_is_over(const struct answer *a); /* the last event has been given out */

/* JSON string escapes; out has room for 6 bytes a byte. Returns the length. */
size_t answer_escape(struct span text, char *out);

/* How many of the first `most` bytes make whole characters. */
size_t answer_cut_utf8(struct span text, size_t most);
