/* probe — is there anybody at the model server's address?
 *
 * Does:      one GET {base}/models at a time, with the key, on a connection of its own; says with
 *            what status it was answered.
 * Does not:  decide when to ask or what the answer means (llm/health does); read the answer's text.
 * Threads:   the model loop's.
 * Owns:      its easy handle.
 */
#pragma once

#include "llm/attempt.h"

struct probe {
    struct attempts *room;
    CURL *easy;
    size_t shard, bytes;
    bool is_running;
};

void probe_init(struct probe *p, struct attempts *room);
void probe_fini(struct probe *p); /* aborts it if it runs */

/* Its transfer ends in the reactor's `ended`. false: no address of the server is known. */
MUST_USE bool probe_begin(struct probe *p, int64_t timeout_ms);
/* Of a transfer that has ended: the answer's status; 0: none came. */
long probe_end(struct probe *p);
