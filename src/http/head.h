/* head — takes a request's head in: screen, route, caller.
 *
 * Does:      fills the exchange; tells refusals that must close at once from those that can wait
 *            for the body's end.
 * Does not:  answer.
 * Threads:   the exchange's loop.
 * Owns:      nothing.
 */
#pragma once

#include "http/exchange.h"

/* false: answer x->err at once and close. true: go on reading; x->err may hold a refusal for the
 * end. */
MUST_USE bool head_take(struct exchange *x, const struct exchange_call *call);
