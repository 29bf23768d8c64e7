/* call — one HTTP request to the demo model, from its first byte to its last.
 *
 * Does:      routes, reads the body, waits, misbehaves as told, answers.
 * Does not:  make the words (answer) or keep time (timer).
 * Threads:   the event loop of its connection; a suspended call is touched by nobody.
 * Owns:      a struct call per request, freed in call_completed.
 */
#pragma once

#include <microhttpd.h>

enum MHD_Result call_handle(void *unused, struct MHD_Connection *connection, const char *url,
                            const char *method, const char *version, const char *upload,
                            size_t *upload_len, void **request);

void call_completed(void *unused, struct MHD_Connection *connection, void **request,
                    enum MHD_RequestTerminationCode why);
