/* cli — the subcommands of `hansard`.
 *
 * Does:      declares what main's table calls; exit codes.
 * Does not:  read secrets from arguments: they come from the environment.
 * Threads:   main.
 * Owns:      nothing.
 */
#pragma once

#include "base/config.h"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* argv[0] is the subcommand. */
int cli_serve(int argc, char **argv);
int cli_migrate(int argc, char **argv);
int cli_keys(int argc, char **argv);
int cli_audit(int argc, char **argv); /* hands on to the subcommands of its own */
int cli_config(int argc, char **argv);
int cli_version(int argc, char **argv);

/* Of audit; argv[0] is theirs. 0: fine, 1: broken, 2: it could not be checked. */
int cli_audit_verify(int argc, char **argv);

/* Says what is wrong and where help is; CLI_USAGE. */
int cli_misuse(const char *command, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "hansard: <what>: <detail>" on standard error; CLI_FAILED. */
int cli_fail(const char *what, const struct err *e);
/* "-h" or "--help" among the arguments. */
bool cli_wants_help(int argc, char **argv);
/* From the environment; false: it has been said what is wrong. */
MUST_USE bool cli_config_read(struct config *c);
/* ... and with a migrate_url in it. */
MUST_USE bool cli_config_read_direct(struct config *c, const char *command);
