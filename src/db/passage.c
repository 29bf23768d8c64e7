#include "db/passage.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

void passage_fini(struct passage *p)
{
    free(p->json);
    free(p->turns);
    *p = (struct passage){.json = NULL};
}

bool passage_add_json(struct buf *out, struct span words, struct span answer)
{
    return words.data && answer.data && buf_puts(out, "{\"role\":\"user\",\"content\":") &&
           json_add_text(out, words.data, words.len) &&
           buf_puts(out, "},{\"role\":\"assistant\",\"content\":") &&
           json_add_text(out, answer.data, answer.len) && buf_puts(out, "},");
}

void passage_append(struct passage *p, const struct passage *more)
{
    if (more->count == 0)
        return;
    p->json = mem_grow(p->json, p->len + more->len);
    memcpy(p->json + p->len, more->json, more->len);
    p->len += more->len;
    p->turns = mem_grow(p->turns, (p->count + more->count) * sizeof *p->turns);
    memcpy(p->turns + p->count, more->turns, more->count * sizeof *p->turns);
    p->count += more->count;
}

void passage_append_turn(struct passage *p, struct span words, struct span answer)
{
    struct buf out;
    struct passage_turn size = {.text_bytes = (uint32_t)(words.len + answer.len)};
    struct passage turn = {.turns = &size, .count = 1};
    buf_init(&out, (words.len + answer.len) * 6 + 128);
    bool fits = passage_add_json(&out, words, answer);
    assert(fits);
    turn.json = buf_take(&out, &turn.len);
    size.json_bytes = (uint32_t)turn.len;
    passage_append(p, &turn);
    free(turn.json);
}

void passage_trim(struct passage *p, size_t most_turns, size_t most_text_bytes)
{
    size_t kept = 0, text_bytes = 0, json_bytes = 0;
    while (kept < p->count && kept < most_turns) {
        const struct passage_turn *t = &p->turns[p->count - 1 - kept];
        text_bytes += t->text_bytes;
        if (text_bytes > most_text_bytes)
            break;
        json_bytes += t->json_bytes;
        kept++;
    }
    if (kept == p->count)
        return;
    memmove(p->json, p->json + (p->len - json_bytes), json_bytes);
    memmove(p->turns, p->turns + (p->count - kept), kept * sizeof *p->turns);
    p->len = json_bytes;
    p->count = kept;
}
