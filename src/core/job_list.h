/* job_list — several jobs, as the database is told of them.
 *
 * Does:      writes conversations, turn numbers and attempts as the text of arrays, an element a job.
 * Does not:  know which jobs, or what is asked about them.
 * Threads:   one at a time.
 * Owns:      the texts, kept from one begin to the next.
 */
#pragma once

#include "base/buf.h"
#include "core/job_ref.h"

struct job_list {
    struct buf conversations, turn_nos, attempts; /* uuid[], int[], int[]; after job_list_end */
    size_t count;
};

void job_list_init(struct job_list *l);
void job_list_fini(struct job_list *l);

void job_list_begin(struct job_list *l); /* empties */
void job_list_add(struct job_list *l, const struct job_ref *ref, int32_t attempt);
void job_list_end(struct job_list *l);
