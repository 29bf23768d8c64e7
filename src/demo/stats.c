#include "demo/stats.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "demo/answer.h"

#define LAST_CALLS 200
#define SEEN_SLOTS 8192 /* power of two */

struct record {
    uint64_t number; /* of the call, from 1 */
    uint64_t messages_hash;
    int64_t time_ms;
    unsigned message_count;
    bool stream;
    unsigned short content_len;
    char roles[SCAN_ROLES];
    char content[200];
    char traceparent[64];
    char authorization[128];
    char idempotency_key[128];
};

struct seen {
    uint64_t hash; /* of a last message; 0: free */
    unsigned count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static uint64_t calls, clients_left;
static int64_t last_call_us; /* since 1970; 0: none yet */
static unsigned in_flight, high_water;
static struct record ring[LAST_CALLS];
static struct seen seen[SEEN_SLOTS];
static unsigned seen_used;

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x100000001b3u;
    return hash ^ hash >> 32; /* else a high byte would never reach the low ones */
}

uint64_t stats_hash(struct span text)
{
    uint64_t a = 0xcbf29ce484222325u, b = 1, c = 2,
             d = 3; /* four, so that none waits for the others */
    const char *p = text.data;
    size_t left = text.len;
    for (; left >= 32; left -= 32, p += 32) {
        uint64_t words[4];
        memcpy(words, p, 32);
        a = mix(a, words[0]);
        b = mix(b, words[1]);
        c = mix(c, words[2]);
        d = mix(d, words[3]);
    }
    for (; left > 0; left--, p++)
        a = mix(a, (unsigned char)*p);
    return mix(mix(mix(a, b), c), d);
}

/* The table only has to hold the messages of one test: when it fills up, it starts anew. */
static unsigned seen_before_locked(uint64_t hash)
{
    if (hash == 0)
        hash = 1;
    if (seen_used > SEEN_SLOTS / 2) {
        memset(seen, 0, sizeof seen);
        seen_used = 0;
    }
    size_t slot = hash & (SEEN_SLOTS - 1);
    while (seen[slot].hash != 0 && seen[slot].hash != hash)
        slot = (slot + 1) & (SEEN_SLOTS - 1);
    if (seen[slot].hash == 0) {
        seen[slot].hash = hash;
        seen_used++;
    }
    return seen[slot].count++;
}

static void copy_text(char *out, size_t room, const char *text)
{
    snprintf(out, room, "%s", text != NULL ? text : "");
}

unsigned stats_enter(const struct stats_call *call)
{
    const struct scan *scan = call->scan;
    uint64_t content_hash = stats_hash(call->last_content);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);

    pthread_mutex_lock(&lock);
    struct record *r = &ring[calls % LAST_CALLS];
    r->number = ++calls;
    if (++in_flight > high_water)
        high_water = in_flight;
    r->messages_hash = call->messages_hash;
    last_call_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    r->time_ms = last_call_us / 1000;
    r->message_count = scan->message_count;
    r->stream = scan->stream;
    memcpy(r->roles, scan->roles,
           scan->message_count < SCAN_ROLES ? scan->message_count : SCAN_ROLES);
    r->content_len = (unsigned short)answer_cut_utf8(call->last_content, sizeof r->content);
    memcpy(r->content, call->last_content.data, r->content_len);
    copy_text(r->traceparent, sizeof r->traceparent, call->traceparent);
    copy_text(r->authorization, sizeof r->authorization, call->authorization);
    copy_text(r->idempotency_key, sizeof r->idempotency_key, call->idempotency_key);
    unsigned before = seen_before_locked(content_hash);
    pthread_mutex_unlock(&lock);
    return before;
}

void stats_leave(bool client_left)
{
    pthread_mutex_lock(&lock);
    assert(in_flight > 0);
    in_flight--;
    if (client_left)
        clients_left++;
    pthread_mutex_unlock(&lock);
}

void stats_reset(void)
{
    pthread_mutex_lock(&lock);
    calls = clients_left = 0;
    last_call_us = 0;
    high_water = in_flight;
    memset(seen, 0, sizeof seen);
    seen_used = 0;
    pthread_mutex_unlock(&lock);
}

unsigned stats_in_flight(void)
{
    pthread_mutex_lock(&lock);
    unsigned n = in_flight;
    pthread_mutex_unlock(&lock);
    return n;
}

char *stats_json(size_t *len)
{
    char *text = NULL;
    pthread_mutex_lock(&lock);
    int n = asprintf(&text,
                     "{\"calls\":%llu,\"in_flight\":%u,\"high_water\":%u,\"clients_left\":%llu,"
                     "\"last_call_us\":%lld}\n",
                     (unsigned long long)calls, in_flight, high_water,
                     (unsigned long long)clients_left, (long long)last_call_us);
    pthread_mutex_unlock(&lock);
    if (n < 0)
        abort();
    *len = (size_t)n;
    return text;
}

static const char *role_name(char first)
{
    switch (first) {
    case 'u':
        return "user";
    case 'a':
        return "assistant";
    case 's':
        return "system";
    case 't':
        return "tool";
    default:
        return "other";
    }
}

static void print_text(FILE *out, const char *name, struct span text)
{
    char escaped[6 * sizeof ring[0].content];
    size_t len = answer_escape(text, escaped);
    fprintf(out, ",\"%s\":\"%.*s\"", name, (int)len, escaped);
}

static void print_record(FILE *out, const struct record *r)
{
    fprintf(out,
            "{\"call\":%llu,\"time_ms\":%lld,\"messages\":%u,\"stream\":%s,\"hash\":\"%016llx\"",
            (unsigned long long)r->number, (long long)r->time_ms, r->message_count,
            r->stream ? "true" : "false", (unsigned long long)r->messages_hash);
    fputs(",\"roles\":[", out);
    for (unsigned i = 0; i < r->message_count && i < SCAN_ROLES; i++)
        fprintf(out, "%s\"%s\"", i > 0 ? "," : "", role_name(r->roles[i]));
    fputs("]", out);
    print_text(out, "content", (struct span){r->content, r->content_len});
    print_text(out, "traceparent", (struct span){r->traceparent, strlen(r->traceparent)});
    print_text(out, "authorization", (struct span){r->authorization, strlen(r->authorization)});
    print_text(out, "idempotency_key",
               (struct span){r->idempotency_key, strlen(r->idempotency_key)});
    fputs("}", out);
}

char *stats_last_json(size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    if (out == NULL)
        abort();
    fputs("{\"calls\":[", out);
    pthread_mutex_lock(&lock);
    uint64_t first = calls > LAST_CALLS ? calls - LAST_CALLS : 0;
    for (uint64_t i = first; i < calls; i++) {
        if (i > first)
            fputs(",\n", out);
        print_record(out, &ring[i % LAST_CALLS]);
    }
    pthread_mutex_unlock(&lock);
    fputs("]}\n", out);
    if (fclose(out) != 0)
        abort();
    return text;
}
