/* passage — some turns of a conversation as the model is shown them.
 *
 * Does:      keeps them as ready JSON with the size of each, so that old ones can be cut off whole.
 * Does not:  know which turns they are, or read JSON.
 * Threads:   one at a time.
 * Owns:      its bytes and sizes.
 */
#pragma once

#include "base/buf.h"

struct passage_turn {
    uint32_t json_bytes;
    uint32_t text_bytes; /* of the words alone: what ceilings count */
};

struct passage {
    char *
        json; /* {"role":"user",…},{"role":"assistant",…}, with a comma behind each; NULL: nothing */
    size_t len;
    struct passage_turn *turns;
    size_t count;
};

void passage_fini(struct passage *p); /* empty afterwards */
void passage_append(struct passage *p, const struct passage *more);
void passage_append_turn(struct passage *p, struct span words, struct span answer);
/* Cuts off the oldest turns until at most so many, of at most so many bytes of text, are left. */
void passage_trim(struct passage *p, size_t most_turns, size_t most_text_bytes);

/* One turn as JSON, with its commas. false: out is full. */
bool passage_add_json(struct buf *out, struct span words, struct span answer);
