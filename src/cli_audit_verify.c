#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli.h"
#include "core/verify.h"

/* What could not be checked is neither fine nor broken. */
#define NOT_CHECKED CLI_USAGE
#define TERMINAL_MS 200
#define LINES_MS 30000
#define KEPT_MOST 1000000
#define KEYS_MOST 15

static const char help[] =
    "Usage: hansard audit verify [--conversation ID | --after ID | --since TIME] [--seals FILE]\n\n"
    "Hashes every conversation anew and compares; then the seals. Reads HANSARD_AUDIT_URL, or else\n"
    "HANSARD_MIGRATE_URL. Prints the place of the first thing that is wrong with each conversation.\n\n"
    "  --conversation ID   only this one, and what seals hold of it\n"
    "  --after ID          only conversations after this one: goes on where a run has stopped\n"
    "  --since TIME        only conversations that began at that time or later\n"
    "  --seals FILE        lines of workers' logs with seals: each must be in the database as it is\n"
    "                      there; other lines are no matter\n\n"
    "Signatures are checked with HANSARD_SEAL_PUBLIC_KEY, or with what HANSARD_SEAL_KEY gives.\n"
    "Exit code 0: all is as it was written; 1: something is not; 2: it could not be checked.\n";

static volatile sig_atomic_t is_stopped;

static void on_signal(int number)
{
    (void)number;
    is_stopped = 1;
}

struct options {
    const char *conversation, *after, *since, *seals;
};

struct run {
    struct options options;
    struct uuid id;    /* of conversation, after or since */
    struct seal *kept; /* of the file, by number */
    size_t kept_count;
    struct seal_key *keys[KEYS_MOST + 1];
    size_t keys_count;

    struct trail *trail;
    struct verify_counts counts;
    struct uuid at; /* the last conversation that was looked at */
    bool has_begun;
    int64_t begun_ms, shown_ms;
    int64_t estimate; /* messages in all; 0: not known */
    bool is_terminal;
};

/* ---- what it tells --------------------------------------------------------------------------- */

static void clear_line(const struct run *r)
{
    if (r->is_terminal)
        fputs("\r\033[K", stderr);
}

static void on_found(void *arg, const struct verify_finding *f)
{
    const struct run *r = arg;
    char id[UUID_TEXT_BYTES];
    uuid_format(&f->conversation, id);
    clear_line(r);
    printf("conversation %s", id);
    if (f->turn_no)
        printf(" turn %" PRId32, f->turn_no);
    if (f->position)
        printf(" position %d", f->position);
    printf(": %s", f->problem);
    if (f->seal_no)
        printf("%" PRId64 "%s", f->seal_no, f->rest);
    putchar('\n');
    fflush(stdout);
}

static void on_found_seal(void *arg, int64_t seal_no, const char *problem)
{
    clear_line(arg);
    printf("seal %" PRId64 ": %s\n", seal_no, problem);
    fflush(stdout);
}

static void show_progress(struct run *r, int64_t now_ms)
{
    char id[UUID_TEXT_BYTES];
    int64_t seconds = (now_ms - r->begun_ms + 999) / 1000;
    uuid_format(&r->at, id);
    clear_line(r);
    if (r->estimate > r->counts.messages && r->is_terminal) {
        int filled = (int)(20 * r->counts.messages / r->estimate);
        fprintf(stderr, "[%.*s%.*s] ", filled, "####################", 20 - filled,
                "....................");
    }
    fprintf(stderr, "%" PRId64 " conversations, %" PRId64 " messages, %" PRId64 " a second, at %s",
            r->counts.conversations, r->counts.messages,
            seconds > 0 ? r->counts.messages / seconds : 0, id);
    if (!r->is_terminal)
        fputc('\n', stderr);
}

static void on_passed(void *arg, const struct uuid *conversation)
{
    struct run *r = arg;
    int64_t now_ms = clock_mono_ms();
    r->at = *conversation;
    r->has_begun = true;
    if (now_ms - r->shown_ms < (r->is_terminal ? TERMINAL_MS : LINES_MS))
        return;
    r->shown_ms = now_ms;
    show_progress(r, now_ms);
}

static void print_sum(const struct run *r)
{
    const struct verify_counts *c = &r->counts;
    clear_line(r);
    printf("%s: %" PRId64 " conversations, %" PRId64 " messages (%" PRId64 " erased)",
           c->broken + c->broken_seals > 0 ? "broken" : "ok", c->conversations, c->messages,
           c->erased);
    if (!r->options.conversation)
        printf(", %" PRId64 " seals (%" PRId64 " not signed, %" PRId64 " signatures not checked)",
               c->seals, c->unsigned_seals, c->unchecked_seals);
    if (c->gone > 0)
        printf("; %" PRId64 " sealed conversations gone by retention", c->gone);
    if (c->broken + c->broken_seals > 0)
        printf("; broken: %" PRId64 " conversations, %" PRId64 " seals", c->broken,
               c->broken_seals);
    putchar('\n');
}

/* ---- seals kept elsewhere, keys -------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    const struct seal *x = a, *y = b;
    return (x->no > y->no) - (x->no < y->no);
}

/* A line that speaks of a seal has to be one. */
static bool keep_line(struct run *r, const char *line, size_t len, size_t *room, struct err *e)
{
    if (!strstr(line, "\"event\":\"sealed\""))
        return true;
    if (r->kept_count == KEPT_MOST)
        return err_set(e, ERR_TOO_LARGE, "more than %d seals in the file", KEPT_MOST);
    if (r->kept_count == *room) {
        *room = *room ? *room * 2 : 64;
        r->kept = mem_grow(r->kept, *room * sizeof *r->kept);
    }
    return seal_read(line, len, &r->kept[r->kept_count++], e);
}

static bool read_kept(struct run *r, struct err *e)
{
    char *line = NULL;
    size_t size = 0, room = 0, number = 0;
    ssize_t len;
    bool ok = true;
    FILE *file = fopen(r->options.seals, "re");
    if (!file)
        return err_set(e, ERR_BAD_FIELD, "%s: %s", r->options.seals, strerror(errno));
    while (ok && (len = getline(&line, &size, file)) >= 0) {
        struct err why = {.kind = ERR_NONE};
        number++;
        ok = keep_line(r, line, (size_t)len, &room, &why) ||
             err_set(e, why.kind, "%s: line %zu: %s", r->options.seals, number, why.detail);
    }
    if (ok && ferror(file))
        ok = err_set(e, ERR_BAD_FIELD, "%s: it cannot be read", r->options.seals);
    free(line);
    (void)fclose(file);
    if (r->kept_count > 0)
        qsort(r->kept, r->kept_count, sizeof *r->kept, by_number);
    return ok;
}

static bool read_keys(struct run *r, const struct config *c, struct err *e)
{
    const char *at = c->seal_public_key;
    if (!*at && *c->seal_key) {
        r->keys[0] = seal_key_private(c->seal_key, "HANSARD_SEAL_KEY", e);
        r->keys_count = r->keys[0] != NULL;
        return r->keys_count > 0;
    }
    while (*at) {
        size_t len = strcspn(at, ",");
        if (r->keys_count == KEYS_MOST)
            return err_set(e, ERR_BAD_FIELD, "HANSARD_SEAL_PUBLIC_KEY holds more than %d keys",
                           KEYS_MOST);
        char *text = mem_copy(at, len);
        struct seal_key *key = seal_key_public(text, "HANSARD_SEAL_PUBLIC_KEY", e);
        free(text);
        if (!key)
            return false;
        r->keys[r->keys_count++] = key;
        at += len + (at[len] == ',');
    }
    return true;
}

/* ---- the run --------------------------------------------------------------------------------- */

static bool check(struct run *r, struct err *e)
{
    const struct options *o = &r->options;
    struct uuid since = {{0}};
    const struct trail_range range = {.only = o->conversation ? &r->id : NULL,
                                      .after = o->after ? &r->id : NULL,
                                      .since = o->since ? &since : NULL};
    const struct verify_watch watch = {.found = on_found,
                                       .found_seal = on_found_seal,
                                       .passed = on_passed,
                                       .arg = r,
                                       .is_stopped = &is_stopped};
    struct verify_kept kept = {
        .seals = r->kept, .count = r->kept_count, .keys = r->keys, .keys_count = r->keys_count};
    if (o->since && !trail_floor(r->trail, o->since, &since, e))
        return false;
    if (!range.only && !range.after && !range.since && !trail_estimate(r->trail, &r->estimate, e))
        return false;
    if (!verify_conversations(r->trail, &range, &watch, &r->counts, e))
        return false;
    if (o->conversation && r->counts.conversations + r->counts.gone + r->counts.broken == 0)
        return is_stopped ||
               err_set(e, ERR_NOT_FOUND, "there is no conversation %s", o->conversation);
    if (o->conversation || is_stopped)
        return true;
    return trail_horizon(r->trail, &kept.until_us, e) &&
           verify_seals(r->trail, &kept, &watch, &r->counts, e);
}

static int finish(struct run *r, bool ok, const struct err *e)
{
    char id[UUID_TEXT_BYTES];
    uuid_format(&r->at, id);
    clear_line(r);
    if (!ok)
        (void)cli_fail("audit verify", e);
    if (is_stopped)
        fputs("hansard: audit verify: stopped\n", stderr);
    if ((!ok || is_stopped) && r->has_begun)
        fprintf(stderr, "hansard: audit verify: --after %s goes on from here\n", id);
    if (!ok || is_stopped)
        return NOT_CHECKED;
    print_sum(r);
    if (r->counts.newer_seals > 0)
        fprintf(stderr,
                "hansard: audit verify: %" PRId64 " seals of the file are newer than this standby: "
                "not checked; try again when it has caught up\n",
                r->counts.newer_seals);
    return r->counts.broken + r->counts.broken_seals > 0 ? CLI_FAILED
           : r->counts.newer_seals > 0                   ? NOT_CHECKED
                                                         : CLI_OK;
}

static bool read_options(struct options *o, int argc, char **argv)
{
    const struct {
        const char *name;
        const char **value;
    } known[] = {{"--conversation", &o->conversation},
                 {"--after", &o->after},
                 {"--since", &o->since},
                 {"--seals", &o->seals}};
    for (int i = 1; i < argc; i += 2) {
        size_t n = 0;
        while (n < COUNT_OF(known) && strcmp(argv[i], known[n].name) != 0)
            n++;
        if (n == COUNT_OF(known) || i + 1 == argc || *known[n].value)
            return false;
        *known[n].value = argv[i + 1];
    }
    return !!o->conversation + !!o->after + !!o->since <= 1 && !(o->conversation && o->seals);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESETHAND; /* the second time it ends at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int cli_audit_verify(int argc, char **argv)
{
    struct run r = {.begun_ms = clock_mono_ms(), .is_terminal = isatty(STDERR_FILENO)};
    struct config c;
    struct err e = {0};
    if (cli_wants_help(argc, argv)) {
        fputs(help, stdout);
        return CLI_OK;
    }
    if (!read_options(&r.options, argc, argv))
        return cli_misuse("audit verify", "audit verify takes one of --conversation ID, --after ID "
                                          "and --since TIME, and --seals FILE");
    const char *id = r.options.conversation ? r.options.conversation : r.options.after;
    if (id && !uuid_parse(id, strlen(id), &r.id))
        return cli_misuse("audit verify", "'%s' is no conversation's id", id);
    if (!cli_config_read(&c))
        return NOT_CHECKED;
    r.shown_ms = r.begun_ms;
    const char *url = *c.audit_url ? c.audit_url : c.migrate_url;
    json_setup();
    bool ok = *url || err_set(&e, ERR_BAD_FIELD, "HANSARD_AUDIT_URL is not set");
    ok = ok && read_keys(&r, &c, &e) && (!r.options.seals || read_kept(&r, &e)) &&
         (r.trail = trail_open(url, &e)) != NULL;
    catch_signals();
    ok = ok && check(&r, &e);
    int code = finish(&r, ok, &e);
    trail_close(r.trail);
    for (size_t i = 0; i < r.keys_count; i++)
        seal_key_free(r.keys[i]);
    free(r.kept);
    config_free(&c);
    return code;
}
