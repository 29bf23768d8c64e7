/* script — how a call is to misbehave, as told by words in its last message.
 *
 * Does:      reads [[delay 2000]] and its like out of a text; unknown words are only text.
 * Does not:  act on them.
 * Threads:   any.
 * Owns:      nothing; copies what it keeps.
 */
#pragma once

#include "base/defs.h"

/* word, field, what it does. Numbers; a field that no word set holds -1. */
#define SCRIPT_NUMBERS(X)                                                                          \
    X("delay", delay_ms, "milliseconds before the answer begins")                                  \
    X("tps", tokens_per_second, "pace of the answer")                                              \
    X("tokens", tokens, "length of the answer")                                                    \
    X("big", big_bytes, "length of the answer in bytes")                                           \
    X("status", status, "HTTP status; a second number: only for the first so many equal calls")    \
    X("cut", cut, "drop the connection after so many events (bytes when not streaming)")           \
    X("stall", stall, "begin the answer, then say nothing more")                                   \
    X("garbage", garbage, "an answer that is not JSON")

struct script {
#define SCRIPT_FIELD(word, field, help) int64_t field;
    SCRIPT_NUMBERS(SCRIPT_FIELD)
#undef SCRIPT_FIELD
    int64_t status_times;  /* second number of [[status]] */
    char retry_after[128]; /* [[retry-after text]] goes into the header as it is; "" none */
    char redirect[512];    /* [[redirect url]]: a 302 to it; "" none */
};

void script_read(struct span text, struct script *out);
