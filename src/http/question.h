/* question — a message to a conversation, from the request to its turn.
 *
 * Does:      reads the body of POST /chat and POST /jobs, checks it, submits the turn.
 * Does not:  build answers.
 * Threads:   the exchange's loop.
 * Owns:      nothing; the texts of the request go to the turn.
 */
#pragma once

#include "http/exchange.h"

/* Answered at once when it is refused; else finish builds the answer, from x->turn. is_job: it is
 * to be queued. */
void question_take(struct exchange *x, bool is_job, void (*finish)(struct exchange *));
