/* job_ref — which job: the name it has outside.
 *
 * Does:      reads and writes "<conversation>-<turn number>".
 * Does not:  know whether there is such a job.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include "base/ids.h"

#define JOB_REF_TEXT_BYTES (UUID_TEXT_BYTES + 11) /* with NUL */

struct job_ref {
    struct uuid conversation;
    int32_t turn_no; /* from 1 */
};

void job_ref_format(const struct job_ref *ref, char out[JOB_REF_TEXT_BYTES]);
/* The whole text; a turn number without leading zeros. */
MUST_USE bool job_ref_parse(struct span text, struct job_ref *out);

bool job_ref_equals(const struct job_ref *a, const struct job_ref *b);
uint32_t job_ref_hash(const struct job_ref *ref); /* even enough for any power of two of buckets */
