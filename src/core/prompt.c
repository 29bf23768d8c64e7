#include "core/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* Its parts have passed their ceilings before. */
#define BODY_BYTES ((size_t)1 << 31)

void prompt_init(struct prompt *p, const char *model, const char *system_prompt)
{
    struct buf out;
    buf_init(&out, BODY_BYTES);
    buf_puts(&out, "{\"model\":");
    json_add_text(&out, model, strlen(model));
    buf_puts(&out, ",\"messages\":[");
    if (system_prompt[0]) {
        buf_puts(&out, "{\"role\":\"system\",\"content\":");
        json_add_text(&out, system_prompt, strlen(system_prompt));
        buf_puts(&out, "},");
    }
    p->opening = buf_take(&out, &p->opening_len);
}

void prompt_fini(struct prompt *p)
{
    free(p->opening);
}

char *prompt_build(const struct prompt *p, struct span history, const char *question, size_t *len)
{
    struct buf out;
    size_t question_len = strlen(question);
    buf_init(&out, BODY_BYTES);
    bool fits = buf_reserve(&out, p->opening_len + history.len + question_len + question_len / 8 +
                                      64) != NULL;
    fits = fits && buf_add(&out, p->opening, p->opening_len) &&
           buf_add(&out, history.data, history.len) &&
           buf_puts(&out, "{\"role\":\"user\",\"content\":") &&
           json_add_text(&out, question, question_len) && buf_puts(&out, "}]}");
    assert(fits);
    return buf_take(&out, len);
}

char *prompt_move(const struct prompt *from, const struct prompt *to, char *body, size_t *len)
{
    struct buf out;
    assert(*len >= from->opening_len);
    buf_init(&out, BODY_BYTES);
    bool fits = buf_add(&out, to->opening, to->opening_len) &&
                buf_add(&out, body + from->opening_len, *len - from->opening_len);
    assert(fits);
    free(body);
    return buf_take(&out, len);
}
