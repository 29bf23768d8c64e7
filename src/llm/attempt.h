/* attempt — one request to the model server and what became of it.
 *
 * Does:      sets up an easy handle, takes headers and body within ceilings, says how it ended.
 * Does not:  decide on repeats, wait, or tell the call's owner.
 * Threads:   the model loop's.
 * Owns:      its easy handle and the answer's bytes; handles are kept for the next attempt.
 */
#pragma once

#include "llm/client.h"
#include "llm/due.h"
#include "llm/names.h"
#include "llm/reactor.h"
#include "llm/wire.h"

/* In the order of the values of METRIC_LLM_CALLS. */
enum attempt_result {
    ATTEMPT_OK,
    ATTEMPT_REJECTED, /* a status that a repeat would not change */
    ATTEMPT_HTTP_429,
    ATTEMPT_HTTP_5XX,
    ATTEMPT_CONNECT,
    ATTEMPT_TIMEOUT,
    ATTEMPT_CUT,
    ATTEMPT_GARBAGE,
    ATTEMPT_TOO_LARGE,
    ATTEMPT_CANCELLED, /* its owner wants it no more */
};

/* What the attempts of one loop share. The two lists hold what is in flight, oldest mark_ms first:
 * each list has one constant timeout, so looking at its first one is enough. */
struct attempts {
    const struct config *config;
    const struct llm_server *server;
    struct wire_target target;
    struct reactor *reactor;
    struct list silent;    /* no byte came yet; mark_ms: begun */
    struct list answering; /* bytes came; mark_ms: when they last came fast enough */
    struct list spare;     /* handles without a call */

    /* Addresses for curl's cache, which the shards share: attempts carry the list until one that
     * had it was sent. Two places in turn: the list before may still be in the hands of an attempt
     * that is about to begin. */
    struct names *names; /* NULL: none needed */
    unsigned names_number;
    unsigned names_place; /* 0 or 1 */
    bool are_names_loaded;
    struct buf names_line[2];
    struct curl_slist names_list[2];
};

struct llm_attempt {
    struct list_node node; /* in one of the three lists; in none while waiting to be repeated */
    struct due repeat;
    struct attempts *room;
    struct llm_call *call;
    int64_t until_ms; /* all attempts of this call */
    unsigned era;     /* of the server's health, when it began */

    CURL *easy;
    size_t shard;
    struct buf answer, id_line, trace_line;
    struct curl_slist id_header, trace_header; /* before the shared ones */

    int64_t begun_us, mark_ms;
    size_t mark_bytes;     /* since mark_ms; 0: none ever came */
    size_t waste_bytes;    /* headers, and the text of an error */
    CURLcode code;         /* of the last attempt, for the log */
    long status;           /* 0: none came */
    unsigned names_number; /* of the list it carries; 0: none */
    unsigned sent;         /* times that this attempt's request went out */
    bool is_too_large;
    bool is_too_late;         /* the request was not sent: until_ms had passed */
    bool had_dead_connection; /* the free repeat is used up */
};

/* The rest of the struct is zero, but for config and server. */
MUST_USE bool attempts_init(struct attempts *room, const struct reactor_events *events,
                            struct err *e);
void attempts_fini(struct attempts *room); /* frees the spare handles; all others are back */

/* Options of every request to this server, whatever it asks. */
void attempts_prepare(const struct attempts *room, CURL *easy);
/* The server's addresses, to be sent along (CURLOPT_RESOLVE); NULL: curl knows them, or has to look
 * them up itself. Needs room->names. */
struct curl_slist *attempts_names(struct attempts *room);

/* A handle for the call, from the spare ones if there are any. */
MUST_USE struct llm_attempt *attempt_take(struct attempts *room, struct llm_call *call);
void attempt_return(struct llm_attempt *a); /* its call is over */

/* Sends the request. until_ms is still to come, or nothing goes out: ATTEMPT_TIMEOUT. */
void attempt_begin(struct llm_attempt *a);

/* The transfer ended: counts it and says how. e is set unless it is ATTEMPT_OK; then the call has
 * its answer. */
enum attempt_result attempt_end(struct llm_attempt *a, CURLcode code, struct err *e);
/* The same for a transfer that goes on: it was too slow (ATTEMPT_TIMEOUT) or the loop stops
 * (ATTEMPT_CUT). */
void attempt_give_up(struct llm_attempt *a, enum attempt_result result);

/* Of one that ended as ATTEMPT_TIMEOUT: false when the call had little time left to begin with, or
 * none, so that a server in good health could not have answered either. */
bool attempt_had_fair_time(const struct llm_attempt *a);

/* A connection kept from an earlier call was dead: nothing was answered, and a repeat is in order.
 * Once per call. */
bool attempt_met_dead_connection(struct llm_attempt *a);
