/* cli_audit — the subcommands of `hansard audit`.
 *
 * Does:      declares what its table calls.
 * Does not:  hold any logic.
 * Threads:   main.
 * Owns:      nothing.
 */
#pragma once

/* argv[0] is the subcommand's own name. */
int cli_audit_erase(int argc, char **argv);
int cli_audit_export(int argc, char **argv);
int cli_audit_scrub(int argc, char **argv);
