#include "core/job_ref.h"

#include <stdio.h>
#include <string.h>

#define UUID_LEN (UUID_TEXT_BYTES - 1)
#define DIGITS 10 /* of INT32_MAX */

void job_ref_format(const struct job_ref *ref, char out[JOB_REF_TEXT_BYTES])
{
    uuid_format(&ref->conversation, out);
    snprintf(out + UUID_LEN, JOB_REF_TEXT_BYTES - UUID_LEN, "-%d", (int)ref->turn_no);
}

static bool read_turn_no(struct span digits, int32_t *out)
{
    int64_t value = 0;
    if (digits.len == 0 || digits.len > DIGITS || digits.data[0] == '0')
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return false;
        value = value * 10 + (digits.data[i] - '0');
    }
    *out = (int32_t)value;
    return value <= INT32_MAX;
}

bool job_ref_parse(struct span text, struct job_ref *out)
{
    size_t at = UUID_LEN + 1;
    return text.len > at && uuid_parse(text.data, UUID_LEN, &out->conversation) &&
           text.data[UUID_LEN] == '-' &&
           read_turn_no((struct span){text.data + at, text.len - at}, &out->turn_no);
}

bool job_ref_equals(const struct job_ref *a, const struct job_ref *b)
{
    return a->turn_no == b->turn_no &&
           memcmp(&a->conversation, &b->conversation, sizeof a->conversation) == 0;
}

uint32_t job_ref_hash(const struct job_ref *ref)
{
    uint32_t random; /* the end of a UUIDv7 is */
    memcpy(&random, ref->conversation.bytes + 12, sizeof random);
    uint32_t mixed = random ^ (uint32_t)ref->turn_no * UINT32_C(0x9E3779B1);
    return mixed ^ mixed >> 16;
}
