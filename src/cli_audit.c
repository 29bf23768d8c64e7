#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cli_audit.h"

struct audit_command {
    const char *name, *help;
    int (*run)(int argc, char **argv);
};

static const struct audit_command commands[] = {
    {"verify", "check conversations and seals against their hashes", cli_audit_verify},
    {"export", "everything a user said and was answered, as JSON lines", cli_audit_export},
    {"erase", "take a user's words, or a session's, out of the record", cli_audit_erase},
    {"scrub", "clear what was erased out of the data files", cli_audit_scrub},
};

static void print_help(FILE *out)
{
    fputs("Usage: hansard audit <command> [options]\n\nCommands:\n", out);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
    fputs("\n`hansard audit <command> --help` tells more.\n", out);
}

int cli_audit(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < COUNT_OF(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (argc > 1 && cli_wants_help(argc, argv)) {
        print_help(stdout);
        return CLI_OK;
    }
    if (argc > 1)
        return cli_misuse("audit", "there is no command '%s'", argv[1]);
    print_help(stderr);
    return CLI_USAGE;
}
