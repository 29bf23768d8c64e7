/* prompt — history and question as the request the model gets.
 *
 * Does:      puts the system prompt first, then what the database gave, then the question.
 * Does not:  choose what of the history is shown (accept_turns does), or parse it.
 * Threads:   any, once it is made.
 * Owns:      the part that all requests begin with.
 */
#pragma once

#include "base/config.h"

struct prompt {
    char *opening; /* {"model":"…","messages":[{"role":"system",…}, */
    size_t opening_len;
};

void prompt_init(struct prompt *p, const struct config *c);
void prompt_fini(struct prompt *p);

/* The body of the request, to be freed. history: members of "messages" with a comma behind each, as
 * a passage has them; may be empty. */
MUST_USE char *prompt_build(const struct prompt *p, struct span history, const char *question,
                            size_t *len);
