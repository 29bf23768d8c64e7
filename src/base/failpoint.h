/* failpoint — crash or fail at a named step, in test builds only.
 *
 * Does:      HANSARD_FAILPOINT=name[:nth] raises SIGKILL at the nth pass of that step (default 1).
 * Does not:  exist in release builds: there FAILPOINT is nothing and the variable is an error.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#ifdef HANSARD_FAILPOINTS
void failpoint_pass(const char *name);
#define FAILPOINT(name) failpoint_pass(name)
#else
#define FAILPOINT(name) ((void)(name))
#endif
