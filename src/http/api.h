/* api — the handlers of the routes, one file a resource (api_<noun>.c).
 *
 * Does:      declares them for the table in http/route.
 * Does not:  hold any logic.
 * Threads:   each runs on its exchange's loop and must not block.
 * Owns:      nothing.
 */
#pragma once

struct exchange;

void api_chat_post(struct exchange *x);
void api_conversations_get(struct exchange *x);
void api_conversations_delete(struct exchange *x);
void api_jobs_post(struct exchange *x);
void api_jobs_get(struct exchange *x);
void api_jobs_delete(struct exchange *x);
void api_ops_livez(struct exchange *x);
void api_ops_readyz(struct exchange *x);
void api_ops_metrics(struct exchange *x);
