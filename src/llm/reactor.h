/* reactor — many curl transfers on one epoll.
 *
 * Does:      spreads transfers over multi handles of a bounded size (curl looks through all
 *            connections of a multi handle for each transfer that begins), waits for all of them at
 *            once, closes those long unused.
 * Does not:  know requests, retries or calls.
 * Threads:   one; reactor_wake from any.
 * Owns:      the multi handles, their connections and what they share; an easy handle only between
 *            add and the end.
 */
#pragma once

#include <curl/curl.h>

#include "base/err.h"

struct reactor;

struct reactor_events {
    /* A transfer ended and its handle has been removed; other transfers may be added and removed
     * from here. */
    void (*ended)(void *arg, CURL *easy, CURLcode code);
    void *arg;
};

MUST_USE struct reactor *reactor_open(const struct reactor_events *events, bool is_tls,
                                      struct err *e);
/* Every transfer has ended or been removed, and the easy handles are gone. */
void reactor_close(struct reactor *r);

/* Options that every easy handle needs before its first add. */
void reactor_prepare(struct reactor *r, CURL *easy);

/* For an easy handle with a CURLOPT_OPENSOCKETFUNCTION of its own. */
curl_socket_t reactor_open_socket(struct reactor *r, const struct curl_sockaddr *address);

/* Gives the shard that reactor_remove wants back. The transfer begins in the next reactor_run. */
size_t reactor_add(struct reactor *r, CURL *easy);
/* Gives up a transfer that has not ended. */
void reactor_remove(struct reactor *r, CURL *easy, size_t shard);

/* Waits for something to do, for reactor_wake, or until the monotonic time; then does it. */
void reactor_run(struct reactor *r, int64_t until_ms);
/* Monotonic, as of the end of the last wait: costs nothing, the same for all that follows. */
int64_t reactor_now_ms(const struct reactor *r);
void reactor_wake(struct reactor *r);
