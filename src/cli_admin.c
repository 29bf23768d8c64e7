#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "cli.h"
#include "db/keys.h"
#include "db/migrate.h"

int cli_misuse(const char *command, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("hansard: ", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nTry `hansard %s%s--help`.\n", command ? command : "", command ? " " : "");
    return CLI_USAGE;
}

int cli_fail(const char *what, const struct err *e)
{
    const struct err_info *info = err_info(e->kind);
    fprintf(stderr, "hansard: %s: %s\n", what, e->detail[0] ? e->detail : info->title);
    return CLI_FAILED;
}

bool cli_wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

bool cli_config_read(struct config *c)
{
    struct err e = {0};
    if (config_read(c, environ, &e))
        return true;
    cli_fail("configuration", &e);
    return false;
}

bool cli_config_read_direct(struct config *c, const char *command)
{
    if (!cli_config_read(c))
        return false;
    if (c->migrate_url[0])
        return true;
    fprintf(stderr, "hansard: %s: HANSARD_MIGRATE_URL is not set\n", command);
    config_free(c);
    return false;
}

/* ---- migrate --------------------------------------------------------------------------------- */

static const char migrate_help[] =
    "Usage: hansard migrate [--status | --dry-run] [--to N]\n\n"
    "Applies migrations to HANSARD_MIGRATE_URL, in order, each in one transaction.\n\n"
    "  --status    show which are applied and which are not\n"
    "  --dry-run   show what would be done\n"
    "  --to N      stop after version N\n";

static int read_version(const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);
    return end == text || *end || n < 1 || n > 9999 ? 0 : (int)n;
}

int cli_migrate(int argc, char **argv)
{
    struct migrate_options o = {.mode = MIGRATE_APPLY, .out = stdout};
    struct config c;
    struct err e = {0};
    if (cli_wants_help(argc, argv)) {
        fputs(migrate_help, stdout);
        return CLI_OK;
    }
    for (int i = 1; i < argc; i++) {
        bool is_mode = strcmp(argv[i], "--status") == 0 || strcmp(argv[i], "--dry-run") == 0;
        if (is_mode && o.mode == MIGRATE_APPLY)
            o.mode = argv[i][2] == 's' ? MIGRATE_STATUS : MIGRATE_DRY_RUN;
        else if (is_mode)
            return cli_misuse("migrate", "--status and --dry-run exclude each other");
        else if (strcmp(argv[i], "--to") != 0)
            return cli_misuse("migrate", "there is no option '%s'", argv[i]);
        else if (i + 1 == argc || !(o.to_version = read_version(argv[++i])))
            return cli_misuse("migrate", "--to needs a version, such as --to 1");
    }
    if (!cli_config_read_direct(&c, "migrate"))
        return CLI_FAILED;
    o.url = c.migrate_url;
    int code = migrate_run(&o, &e) ? CLI_OK : cli_fail("migrate", &e);
    config_free(&c);
    return code;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static const char keys_help[] =
    "Usage: hansard keys add USER [--tier TIER]   make a key; it is shown once\n"
    "       hansard keys list                     users, tiers, key ids\n"
    "       hansard keys revoke KEY_ID            the key is refused from now on\n"
    "       hansard keys tier USER TIER           change what a user may ask for\n\n"
    "Works on HANSARD_MIGRATE_URL. The database keeps the SHA-256 of a key, never the key.\n";

struct keys_call {
    const char *verb, *first, *second;
};

static bool read_keys_call(struct keys_call *k, int argc, char **argv)
{
    k->verb = argc > 1 ? argv[1] : "";
    k->first = argc > 2 ? argv[2] : NULL;
    k->second = argc > 3 ? argv[3] : NULL;
    if (strcmp(k->verb, "list") == 0)
        return argc == 2;
    if (strcmp(k->verb, "revoke") == 0)
        return argc == 3;
    if (strcmp(k->verb, "tier") == 0)
        return argc == 4;
    if (strcmp(k->verb, "add") != 0)
        return false;
    if (argc == 5 && strcmp(argv[3], "--tier") == 0)
        k->second = argv[4];
    return argc == 3 || (argc == 5 && strcmp(argv[3], "--tier") == 0);
}

static bool run_keys_call(const struct keys_call *k, const char *url, struct err *e)
{
    switch (k->verb[0]) {
    case 'a':
        return keys_add(url, k->first, k->second, stdout, e);
    case 'r':
        return keys_revoke(url, k->first, stdout, e);
    case 't':
        return keys_tier(url, k->first, k->second, stdout, e);
    default:
        return keys_list(url, stdout, e);
    }
}

int cli_keys(int argc, char **argv)
{
    struct keys_call k;
    struct config c;
    struct err e = {0};
    if (cli_wants_help(argc, argv)) {
        fputs(keys_help, stdout);
        return CLI_OK;
    }
    if (!read_keys_call(&k, argc, argv))
        return cli_misuse("keys", "keys takes: add USER [--tier TIER], list, revoke KEY_ID, "
                                  "or tier USER TIER");
    if (!cli_config_read_direct(&c, "keys"))
        return CLI_FAILED;
    int code = run_keys_call(&k, c.migrate_url, &e) ? CLI_OK : cli_fail("keys", &e);
    config_free(&c);
    return code;
}

/* ---- config, version ------------------------------------------------------------------------- */

static const char config_help[] =
    "Usage: hansard config              the settings in force, secrets masked\n"
    "       hansard config --markdown   every setting with bounds and default\n";

int cli_config(int argc, char **argv)
{
    struct config c;
    if (cli_wants_help(argc, argv)) {
        fputs(config_help, stdout);
        return CLI_OK;
    }
    if (argc == 2 && strcmp(argv[1], "--markdown") == 0) {
        config_document(stdout);
        return CLI_OK;
    }
    if (argc > 1)
        return cli_misuse("config", "there is no option '%s'", argv[1]);
    if (!cli_config_read(&c))
        return CLI_FAILED;
    config_print(&c, stdout);
    config_free(&c);
    return CLI_OK;
}

int cli_version(int argc, char **argv)
{
    if (cli_wants_help(argc, argv)) {
        fputs("Usage: hansard version\n", stdout);
        return CLI_OK;
    }
    if (argc > 1)
        return cli_misuse("version", "version takes no arguments");
    printf("hansard %s (schema %d)\n", HANSARD_VERSION, migrate_wanted_version());
    return CLI_OK;
}
