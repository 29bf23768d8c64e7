#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cli_audit.h"
#include "db/erase.h"
#include "db/export.h"
#include "db/scrub.h"

static bool is_option(const char *argument, const char *name)
{
    return strcmp(argument, name) == 0;
}

/* ---- erase ----------------------------------------------------------------------------------- */

static const char erase_help[] =
    "Usage: hansard audit erase --user USER [--account] [--yes]\n"
    "       hansard audit erase --session SESSION [--user USER] [--yes]\n\n"
    "Takes the words of all sessions of a user, or of one session, out of the record. Rows, times\n"
    "and hashes stay. It cannot be undone. The bytes lie in the data files until `hansard audit\n"
    "scrub`.\n\n"
    "  --user USER        whose; with --session, its owner\n"
    "  --session SESSION  only this one; without --user, of callers without a key\n"
    "  --account          also revoke the user's keys, and replace his name\n"
    "  --yes              do not ask\n";

struct erase_call {
    struct erase_order order;
    bool is_sure;
};

/* false: it has been said what is wrong. */
static bool read_erase_call(struct erase_call *c, int argc, char **argv)
{
    *c = (struct erase_call){.is_sure = false};
    for (int i = 1; i < argc; i++) {
        if (is_option(argv[i], "--yes"))
            c->is_sure = true;
        else if (is_option(argv[i], "--account"))
            c->order.with_account = true;
        else if (is_option(argv[i], "--user") && i + 1 < argc)
            c->order.user = argv[++i];
        else if (is_option(argv[i], "--session") && i + 1 < argc)
            c->order.session = argv[++i];
        else
            return false;
    }
    return c->order.session ? !c->order.with_account : c->order.user != NULL;
}

static bool ask_whether_sure(const struct erase_order *o)
{
    char line[16] = "";
    if (o->session)
        fprintf(stderr, "Every word of session \"%s\"", o->session);
    else
        fprintf(stderr, "Every word of all sessions");
    if (o->user)
        fprintf(stderr, " of user \"%s\"", o->user);
    fputs(" will be erased for good. Type yes to go on: ", stderr);
    return fgets(line, sizeof line, stdin) && strcmp(line, "yes\n") == 0;
}

static void print_counts(const struct erase_counts *n)
{
    printf("conversations  %" PRId64 "\nturns          %" PRId64 "\nmessages       %" PRId64
           "\ncancelled      %" PRId64 "\n",
           n->conversations, n->turns, n->messages, n->cancelled);
}

int cli_audit_erase(int argc, char **argv)
{
    struct erase_call call;
    struct erase_counts counts;
    struct config c;
    struct err e = {0};
    if (cli_wants_help(argc, argv)) {
        fputs(erase_help, stdout);
        return CLI_OK;
    }
    if (!read_erase_call(&call, argc, argv))
        return cli_misuse("audit erase", "audit erase takes: --user USER [--account], or --session "
                                         "SESSION [--user USER]; and --yes");
    if (!cli_config_read_direct(&c, "audit erase"))
        return CLI_FAILED;
    int code = CLI_FAILED;
    if (!call.is_sure && !ask_whether_sure(&call.order)) {
        fputs("hansard: audit erase: nothing was erased\n", stderr);
    } else if (erase_run(c.migrate_url, &call.order, &counts, &e)) {
        print_counts(&counts);
        code = CLI_OK;
    } else {
        cli_fail("audit erase", &e);
        if (counts.conversations > 0)
            fprintf(stderr, "hansard: audit erase: conversations erased before: %" PRId64 "\n",
                    counts.conversations);
    }
    config_free(&c);
    return code;
}

/* ---- export ---------------------------------------------------------------------------------- */

static const char export_help[] =
    "Usage: hansard audit export --user USER\n\n"
    "Writes everything a user said and was answered to standard output: a JSON object a line for\n"
    "each turn, oldest conversation first. What was erased is not there any more.\n";

int cli_audit_export(int argc, char **argv)
{
    struct config c;
    struct err e = {0};
    if (cli_wants_help(argc, argv)) {
        fputs(export_help, stdout);
        return CLI_OK;
    }
    if (argc != 3 || !is_option(argv[1], "--user"))
        return cli_misuse("audit export", "audit export takes: --user USER");
    if (!cli_config_read_direct(&c, "audit export"))
        return CLI_FAILED;
    int64_t turns;
    int code = CLI_OK;
    if (!export_user(c.migrate_url, argv[2], stdout, &turns, &e)) {
        code = cli_fail("audit export", &e);
        if (turns > 0)
            fprintf(stderr,
                    "hansard: audit export: unfinished: no more than %" PRId64
                    " turns were written\n",
                    turns);
    }
    config_free(&c);
    return code;
}

/* ---- scrub ----------------------------------------------------------------------------------- */

static const char scrub_help[] =
    "Usage: hansard audit scrub\n\n"
    "Rewrites the tables from which something was erased since the last time, so that the bytes are\n"
    "not in the data files any more (VACUUM FULL). Needs the room of the largest of them. Turns that\n"
    "use a table wait while it is rewritten. The write-ahead log and backups are not reached.\n";

int cli_audit_scrub(int argc, char **argv)
{
    struct config c;
    struct err e = {0};
    if (cli_wants_help(argc, argv)) {
        fputs(scrub_help, stdout);
        return CLI_OK;
    }
    if (argc > 1)
        return cli_misuse("audit scrub", "audit scrub takes no arguments");
    if (!cli_config_read_direct(&c, "audit scrub"))
        return CLI_FAILED;
    int code = scrub_run(c.migrate_url, stdout, &e) ? CLI_OK : cli_fail("audit scrub", &e);
    config_free(&c);
    return code;
}
