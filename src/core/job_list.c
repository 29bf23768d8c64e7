#include "core/job_list.h"

#define TEXT_BYTES ((size_t)1 << 24) /* 450,000 jobs: more than a worker can run */

void job_list_init(struct job_list *l)
{
    buf_init(&l->conversations, TEXT_BYTES);
    buf_init(&l->turn_nos, TEXT_BYTES);
    buf_init(&l->attempts, TEXT_BYTES);
    l->count = 0;
}

void job_list_fini(struct job_list *l)
{
    buf_fini(&l->conversations);
    buf_fini(&l->turn_nos);
    buf_fini(&l->attempts);
}

void job_list_begin(struct job_list *l)
{
    buf_reset(&l->conversations);
    buf_reset(&l->turn_nos);
    buf_reset(&l->attempts);
    l->count = 0;
}

void job_list_add(struct job_list *l, const struct job_ref *ref, int32_t attempt)
{
    char mark = l->count == 0 ? '{' : ',';
    char id[UUID_TEXT_BYTES];
    uuid_format(&ref->conversation, id);
    bool fits = buf_printf(&l->conversations, "%c%s", mark, id) &&
                buf_printf(&l->turn_nos, "%c%d", mark, (int)ref->turn_no) &&
                buf_printf(&l->attempts, "%c%d", mark, (int)attempt);
    assert(fits);
    l->count++;
}

void job_list_end(struct job_list *l)
{
    const char *end = l->count == 0 ? "{}" : "}";
    bool fits = buf_puts(&l->conversations, end) && buf_puts(&l->turn_nos, end) &&
                buf_puts(&l->attempts, end);
    assert(fits);
}
