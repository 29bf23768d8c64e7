/* prompt — history and question as the request the model gets.
 *
 * Does:      puts the system prompt first, then what the database gave, then the question.
 * Does not:  choose what of the history is shown (accept_turns does), or parse it.
 * Threads:   any, once it is made.
 * Owns:      the part that all requests begin with.
 */
#pragma once

#include "base/defs.h"

struct prompt {
    char *opening; /* {"model":"…","messages":[{"role":"system",…}, */
    size_t opening_len;
};

void prompt_init(struct prompt *p, const char *model, const char *system_prompt);
void prompt_fini(struct prompt *p);

/* The body of the request, to be freed. history: members of "messages" with a comma behind each, as
 * a passage has them; may be empty. */
MUST_USE char *prompt_build(const struct prompt *p, struct span history, const char *question,
                            size_t *len);

/* A body that was built with one, as the other would have built it. Takes the body. */
MUST_USE char *prompt_move(const struct prompt *from, const struct prompt *to, char *body,
                           size_t *len);
