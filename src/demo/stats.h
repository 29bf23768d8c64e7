/* stats — what the demo model saw, for tests to ask.
 *
 * Does:      counts calls, those in flight and their high-water mark; remembers the last calls;
 *            tells how often one message came.
 * Does not:  keep whole texts.
 * Threads:   any; one lock, held for a few copies.
 * Owns:      a fixed ring and a fixed table.
 */
#pragma once

#include "demo/scan.h"

struct stats_call {
    const struct scan *scan;
    uint64_t messages_hash;   /* stats_hash(scan->messages) */
    struct span last_content; /* unescaped */
    const char *traceparent;  /* NULL: none; so are the next */
    const char *authorization;
    const char *idempotency_key;
};

/* A call begins. Returns how many calls before it carried the same last message. */
unsigned stats_enter(const struct stats_call *call);

/* It ended: its last byte is about to be handed over, or its client left. */
void stats_leave(bool client_left);

void stats_reset(void); /* all but what is in flight now */
unsigned stats_in_flight(void);

/* JSON texts for the caller to free. */
MUST_USE char *stats_json(size_t *len);
MUST_USE char *stats_last_json(size_t *len);

/* In the manner of FNV-1a, over words of eight bytes: quick; good for telling texts apart only. */
uint64_t stats_hash(struct span text);
