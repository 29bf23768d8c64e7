#include "demo/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CREATED "1700000000" /* a fixed time: the same question gives the same bytes */
#define ECHO_BYTES 80UL
#define BIG_MAX 268435456
#define TOKENS_MAX 10000000

enum stage { STAGE_ROLE, STAGE_TOKENS, STAGE_FINISH, STAGE_USAGE, STAGE_DONE, STAGE_OVER };

static const char *const words[] = {
    "The ", "house ", "resolved ", "that ", "every ",  "word ",   "be ",    "kept ",
    "as ",  "it ",    "was ",      "said ", "before ", "anyone ", "could ", "answer. ",
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

size_t answer_escape(struct span text, char *out)
{
    static const char hex[] = "0123456789abcdef";
    char *o = out;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char ch = (unsigned char)text.data[i];
        if (ch == '"' || ch == '\\') {
            *o++ = '\\';
            *o++ = (char)ch;
        } else if (ch == '\n') {
            *o++ = '\\';
            *o++ = 'n';
        } else if (ch < ' ') {
            memcpy(o, "\\u00", 4);
            o[4] = hex[ch >> 4];
            o[5] = hex[ch & 15];
            o += 6;
        } else {
            *o++ = (char)ch;
        }
    }
    return (size_t)(o - out);
}

size_t answer_cut_utf8(struct span text, size_t most)
{
    size_t len = text.len < most ? text.len : most;
    while (len > 0 && len < text.len && ((unsigned char)text.data[len] & 0xC0) == 0x80)
        len--;
    return len;
}

/* A token ends after a space, or at ANSWER_TOKEN_BYTES. */
static size_t token_length(const struct answer *a, size_t from)
{
    struct span rest = {a->text + from, a->len - from};
    size_t most = answer_cut_utf8(rest, ANSWER_TOKEN_BYTES);
    const char *space = memchr(rest.data, ' ', most);
    return space != NULL ? (size_t)(space - rest.data) + 1 : most;
}

static void make_words(struct answer *a, int64_t count)
{
    if (count > TOKENS_MAX)
        count = TOKENS_MAX;
    a->text = must(malloc((size_t)count * 10 + 1));
    for (int64_t i = 0; i < count; i++) {
        const char *word = words[(size_t)i % COUNT_OF(words)];
        size_t len = strlen(word);
        memcpy(a->text + a->len, word, len);
        a->len += len;
    }
}

static void make_echo(struct answer *a, const struct scan *scan)
{
    char *said = must(malloc(scan->last_user.len + 1));
    size_t len = scan_unescape(scan->last_user, said);
    len = answer_cut_utf8((struct span){said, len}, ECHO_BYTES);
    a->text = must(malloc(len + 32));
    a->len = (size_t)sprintf(a->text, "echo %u: ", scan->message_count);
    memcpy(a->text + a->len, said, len);
    a->len += len;
    free(said);
}

void answer_init(struct answer *a, uint64_t id, const struct scan *scan,
                 const struct script *script)
{
    *a = (struct answer){
        .prompt_tokens = (unsigned)(scan->messages.len / 4),
        .id = id,
        .include_usage = scan->include_usage,
        .garbage = script->garbage > 0,
    };
    size_t model_len = scan->model.len < sizeof a->model ? scan->model.len : 0;
    memcpy(a->model, scan->model.data, model_len);
    a->model[model_len] = '\0';
    if (script->big_bytes >= 0) {
        a->len = (size_t)(script->big_bytes < BIG_MAX ? script->big_bytes : BIG_MAX);
        a->text = must(malloc(a->len + 1));
        memset(a->text, 'x', a->len);
    } else if (script->tokens >= 0) {
        make_words(a, script->tokens);
    } else {
        make_echo(a, scan);
    }
    for (size_t at = 0; at < a->len; at += token_length(a, at))
        a->tokens++;
}

void answer_fini(struct answer *a)
{
    free(a->text);
    a->text = NULL;
}

static int usage(const struct answer *a, char *out, size_t room)
{
    return snprintf(out, room,
                    "{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%u}",
                    a->prompt_tokens, a->tokens, a->prompt_tokens + a->tokens);
}

char *answer_json(const struct answer *a, size_t *len)
{
    static const char broken[] = "<html>\xff\xfe{\"choices\":[{\"message\":";
    /* Only words and x's are long, and neither grows when escaped. */
    size_t room = a->len + 6 * (ECHO_BYTES + 32) + sizeof a->model + 512;
    char *out = must(malloc(room));
    if (a->garbage) {
        memcpy(out, broken, sizeof broken);
        *len = sizeof broken - 1;
        return out;
    }
    size_t n = (size_t)snprintf(
        out, room,
        "{\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion\",\"created\":" CREATED
        ",\"model\":\"%s\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":\"",
        (unsigned long long)a->id, a->model);
    n += answer_escape((struct span){a->text, a->len}, out + n);
    n += (size_t)snprintf(out + n, room - n, "\"},\"finish_reason\":\"stop\"}],\"usage\":");
    n += (size_t)usage(a, out + n, room - n);
    n += (size_t)snprintf(out + n, room - n, "}\n");
    *len = n;
    return out;
}

static size_t event_head(const struct answer *a, char *out)
{
    return (size_t)snprintf(
        out, ANSWER_EVENT_BYTES,
        "data: {\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion.chunk\","
        "\"created\":" CREATED ",\"model\":\"%s\",\"choices\":[",
        (unsigned long long)a->id, a->model);
}

static size_t put(char *out, const char *text)
{
    size_t len = strlen(text);
    memcpy(out, text, len);
    return len;
}

static size_t token_event(struct answer *a, char *out)
{
    if (a->garbage) {
        a->sent = a->len;
        return put(out, "data: {\"choices\":[{\"delta\": \xff\xfe oops\nnonsense\n\n");
    }
    size_t len = token_length(a, a->sent), n = event_head(a, out);
    n += put(out + n, "{\"index\":0,\"delta\":{\"content\":\"");
    n += answer_escape((struct span){a->text + a->sent, len}, out + n);
    n += put(out + n, "\"},\"finish_reason\":null}]}\n\n");
    a->sent += len;
    return n;
}

size_t answer_event(struct answer *a, char *out, bool *token)
{
    size_t n;
    *token = false;
    switch ((enum stage)a->stage) {
    case STAGE_ROLE:
        a->stage = STAGE_TOKENS;
        n = event_head(a, out);
        return n + put(out + n, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                                "\"finish_reason\":null}]}\n\n");
    case STAGE_TOKENS:
        if (a->sent < a->len) {
            *token = true;
            return token_event(a, out);
        }
        /* fall through */
    case STAGE_FINISH:
        a->stage = a->include_usage ? STAGE_USAGE : STAGE_DONE;
        n = event_head(a, out);
        return n + put(out + n, "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    case STAGE_USAGE:
        a->stage = STAGE_DONE;
        n = event_head(a, out);
        n += put(out + n, "],\"usage\":");
        n += (size_t)usage(a, out + n, 128);
        return n + put(out + n, "}\n\n");
    case STAGE_DONE:
        a->stage = STAGE_OVER;
        return put(out, "data: [DONE]\n\n");
    case STAGE_OVER:
        break;
    }
    return 0;
}

bool answer_is_over(const struct answer *a)
{
    return a->stage == STAGE_OVER;
}
