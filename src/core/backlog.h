/* backlog — how many jobs are queued in all, about.
 *
 * Does:      counts them every two seconds, or up to ten when counting takes long, and adds what this
 *            worker queued since, takes off what it began; says where a new one stands, and about when it will begin.
 * Does not:  hold jobs, or decide what a caller may have (accept_turns does).
 * Threads:   any.
 * Owns:      its call.
 */
#pragma once

#include <pthread.h>

#include "base/timer.h"
#include "db/item.h"

struct core;

struct backlog {
    struct core *core;
    struct timer timer;
    struct call_item item;
    int64_t asked_us; /* the call's */
    pthread_mutex_t lock;
    int64_t queued; /* lock: as counted, and what came since */
    int64_t calls;  /* lock: that all workers make at once */
    int64_t since;  /* lock: queued here since the count was asked for */
};

void backlog_init(struct backlog *b, struct core *core);
void backlog_fini(struct backlog *b);

void backlog_began(struct backlog *b, size_t jobs); /* so many run here now */
bool backlog_has_room(struct backlog *b);
/* The place of one that is queued (is_new: just now), and when it begins, in ms; -1: not known. */
void backlog_place(struct backlog *b, bool is_new, int64_t *position, int64_t *wait_ms);
