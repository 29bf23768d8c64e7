/* main — one program, several subcommands.
 *
 * Does:      finds the subcommand and runs it.
 * Does not:  hold any logic of theirs (cli_serve.c, cli_admin.c, cli_audit.c).
 * Threads:   the first one.
 * Owns:      nothing.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"

struct command {
    const char *name, *help;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"serve", "answer requests until SIGTERM", cli_serve},
    {"migrate", "bring the database to this program's schema", cli_migrate},
    {"keys", "add, list and revoke API keys; change tiers", cli_keys},
    {"audit", "check the record, export what a user said, or erase it", cli_audit},
    {"config", "show the settings in force, or document all of them", cli_config},
    {"version", "print the version", cli_version},
};

static void print_help(FILE *out)
{
    fputs("Hansard keeps every word of a conversation with a model, and answers only what is "
          "committed.\n\nUsage: hansard <command> [options]\n\nCommands:\n",
          out);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
    fputs("\nSettings are environment variables named HANSARD_*; `hansard config` shows them.\n"
          "`hansard <command> --help` tells more.\n",
          out);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return CLI_OK;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return cli_misuse(NULL, "there is no command '%s'", name);
}
