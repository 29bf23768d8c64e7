/* config — every setting is one row.
 *
 * Does:      reads HANSARD_* once, checks bounds, prints (secrets masked), generates
 *            docs/configuration.md.
 * Does not:  change while running.
 * Threads:   config_read in main before threads start; read-only afterwards.
 * Owns:      its texts, until config_free.
 */
#pragma once

#include <stdio.h>

#include "base/addr.h"
#include "base/err.h"

#define CONFIG_KEY_BYTES_MOST 64

/* kind, field, variable, least, most, default, unit, help
 * kinds: TEXT SECRET (char *, bounds in bytes), COUNT BYTES DURATION (int64_t; durations in ms,
 * written 250ms 10s 5m 24h 90d; bytes written 65536 64k 1M), CHOICE (char *, least names the
 * choices) */
#define CONFIG_LIST(X)                                                                             \
    X(TEXT, listen, "HANSARD_LISTEN", 1, 300, "127.0.0.1:8080", "host:port",                       \
      "Address the worker answers on.")                                                            \
    X(COUNT, http_threads, "HANSARD_HTTP_THREADS", 1, 64, "2", "threads", "HTTP event threads.")   \
    X(COUNT, connections, "HANSARD_CONNECTIONS", 16, 100000, "10000", "connections",               \
      "Open client connections per worker, shared out evenly among its HTTP threads.")             \
    X(SECRET, database_url, "HANSARD_DATABASE_URL", 0, 2000, "", "libpq URL",                      \
      "PostgreSQL through PgBouncer, as hansard_app. Required by serve.")                          \
    X(SECRET, migrate_url, "HANSARD_MIGRATE_URL", 0, 2000, "", "libpq URL",                        \
      "PostgreSQL directly, as a role that may create roles. Used by migrate, keys and audit.")    \
    X(SECRET, audit_url, "HANSARD_AUDIT_URL", 0, 2000, "", "libpq URL",                            \
      "PostgreSQL directly, as hansard_auditor; may be a hot standby. Used by audit verify; "      \
      "empty: HANSARD_MIGRATE_URL.")                                                               \
    X(COUNT, lanes, "HANSARD_LANES", 1, 64, "4", "connections",                                    \
      "Database lanes: connections to PgBouncer, each with its thread.")                           \
    X(DURATION, database_timeout, "HANSARD_DATABASE_TIMEOUT", 100, 60000, "6s", "duration",        \
      "Longest wait for one database call. Keep it above the role's statement_timeout, 5s.")       \
    X(TEXT, llm_url, "HANSARD_LLM_URL", 0, 2000, "", "URL",                                        \
      "Base of an OpenAI-compatible API, up to and including /v1. Required by serve.")             \
    X(SECRET, llm_api_key, "HANSARD_LLM_API_KEY", 0, 1000, "", "text",                             \
      "Sent to the model server as a bearer token, visible ASCII; empty: none is sent.")           \
    X(TEXT, llm_model, "HANSARD_LLM_MODEL", 1, 200, "demo", "text", "Model asked for.")            \
    X(TEXT, llm_fallback_url, "HANSARD_LLM_FALLBACK_URL", 0, 2000, "", "URL",                      \
      "Base of a second OpenAI-compatible API, asked when the first fails; empty: none.")          \
    X(SECRET, llm_fallback_api_key, "HANSARD_LLM_FALLBACK_API_KEY", 0, 1000, "", "text",           \
      "Sent to the second model server as a bearer token; empty: none is sent.")                   \
    X(TEXT, llm_fallback_model, "HANSARD_LLM_FALLBACK_MODEL", 0, 200, "", "text",                  \
      "Model asked for there; empty: the same name.")                                              \
    X(COUNT, llm_concurrency, "HANSARD_LLM_CONCURRENCY", 1, 100000, "10", "calls",                 \
      "Model calls in flight per worker.")                                                         \
    X(COUNT, cluster_concurrency, "HANSARD_CLUSTER_CONCURRENCY", 0, 1000000, "0", "calls",         \
      "Model calls in flight of all workers together, the same for each; 0: no such cap.")         \
    X(DURATION, llm_connect_timeout, "HANSARD_LLM_CONNECT_TIMEOUT", 10, 60000, "5s", "duration",   \
      "Longest wait for a connection to the model server.")                                        \
    X(DURATION, llm_first_byte_timeout, "HANSARD_LLM_FIRST_BYTE_TIMEOUT", 10, 3600000, "60s",      \
      "duration", "Longest wait for the first byte of the model's answer.")                        \
    X(DURATION, llm_stall_timeout, "HANSARD_LLM_STALL_TIMEOUT", 1000, 3600000, "30s", "duration",  \
      "Longest silence within the model's answer.")                                                \
    X(DURATION, llm_total_timeout, "HANSARD_LLM_TOTAL_TIMEOUT", 10, 3600000, "110s", "duration",   \
      "Longest model call, all attempts together.")                                                \
    X(BYTES, llm_answer_bytes, "HANSARD_LLM_ANSWER_BYTES", 1024, 67108864, "1M", "bytes",          \
      "Largest answer taken from the model server.")                                               \
    X(COUNT, queue_limit, "HANSARD_QUEUE_LIMIT", 0, 1000000, "1000", "turns",                      \
      "Turns a worker holds beyond those it may call the model for.")                              \
    X(COUNT, job_owner_limit, "HANSARD_JOB_OWNER_LIMIT", 1, 20000, "1000", "jobs",                 \
      "Jobs one caller may have, queued and running.")                                             \
    X(COUNT, job_limit, "HANSARD_JOB_LIMIT", 1, 10000000, "200000", "jobs",                        \
      "Jobs that may be queued in all, about.")                                                    \
    X(DURATION, request_timeout, "HANSARD_REQUEST_TIMEOUT", 100, 3600000, "120s", "duration",      \
      "From the whole request read to the answer; the last 2s at most are kept for storing it.")   \
    X(DURATION, read_timeout, "HANSARD_READ_TIMEOUT", 100, 600000, "10s", "duration",              \
      "From a request's first line to its last byte.")                                             \
    X(DURATION, idle_timeout, "HANSARD_IDLE_TIMEOUT", 100, 3600000, "75s", "duration",             \
      "How long a connection may wait for its next request, or for its client to read.")           \
    X(BYTES, message_bytes, "HANSARD_MESSAGE_BYTES", 1, 1048576, "32k", "bytes",                   \
      "Largest message of a user.")                                                                \
    X(COUNT, history_messages, "HANSARD_HISTORY_MESSAGES", 0, 10000, "40", "messages",             \
      "Newest messages the model is shown; two make a turn, an odd number is rounded down.")       \
    X(BYTES, history_bytes, "HANSARD_HISTORY_BYTES", 0, 16777216, "64k", "bytes",                  \
      "Text of history the model is shown at most, always whole turns.")                           \
    X(BYTES, history_cache, "HANSARD_HISTORY_CACHE", 0, 68719476736, "128M", "bytes",              \
      "Memory for histories read in the last ten minutes, not to read them again.")                \
    X(TEXT, system_prompt, "HANSARD_SYSTEM_PROMPT", 0, 65536, "", "text",                          \
      "First message of every call to the model; empty: none.")                                    \
    X(DURATION, session_ttl, "HANSARD_SESSION_TTL", 1000, 31536000000, "24h", "duration",          \
      "A session idle for longer starts a new conversation.")                                      \
    X(DURATION, retention, "HANSARD_RETENTION", 0, 3153600000000, "90d", "duration",               \
      "How long words are kept after a turn has ended, the same for each worker; 0: for ever. A "  \
      "tier may have a time of its own. To shorten it, an operator has to allow it first: "        \
      "docs/retention.md.")                                                                        \
    X(CHOICE, auth, "HANSARD_AUTH", "optional|required", 0, "optional", "choice",                  \
      "Whether callers without an API key are served.")                                            \
    X(TEXT, trusted_proxies, "HANSARD_TRUSTED_PROXIES", 0, 1500, "", "CIDR list",                  \
      "Proxies whose X-Forwarded-For counts.")                                                     \
    X(DURATION, drain_delay, "HANSARD_DRAIN_DELAY", 0, 60000, "0ms", "duration",                   \
      "After SIGTERM, how long to serve open connections while new ones are refused. For a proxy " \
      "that tries another worker when a connection is refused.")                                   \
    X(DURATION, drain_timeout, "HANSARD_DRAIN_TIMEOUT", 0, 3600000, "30s", "duration",             \
      "How long running turns may take to end after SIGTERM, or after the delay.")                 \
    X(TEXT, webhook_hosts, "HANSARD_WEBHOOK_HOSTS", 0, 4000, "", "host list",                      \
      "Hosts that may be told when a job has ended: names, or name:port, with commas between; "    \
      "empty: none.")                                                                              \
    X(SECRET, webhook_secret, "HANSARD_WEBHOOK_SECRET", 0, 200, "", "text",                        \
      "What these messages are signed with: whsec_ and 24 to 64 bytes in base64. Required with "   \
      "HANSARD_WEBHOOK_HOSTS.")                                                                    \
    X(DURATION, seal_interval, "HANSARD_SEAL_INTERVAL", 0, 604800000, "1h", "duration",            \
      "How often what all conversations have come to is sealed; 0: this worker makes no seals.")   \
    X(SECRET, seal_key, "HANSARD_SEAL_KEY", 0, 100, "", "Ed25519 key",                             \
      "Private key that signs seals: 32 bytes, hexadecimal or base64; empty: they are not "        \
      "signed.")                                                                                   \
    X(TEXT, seal_public_key, "HANSARD_SEAL_PUBLIC_KEY", 0, 1000, "", "Ed25519 keys",               \
      "Public keys whose signatures audit verify trusts, with commas between; empty: that of "     \
      "HANSARD_SEAL_KEY.")                                                                         \
    X(CHOICE, log_level, "HANSARD_LOG_LEVEL", "debug|info|warn|error", 0, "info", "choice",        \
      "Least level that is logged.")

#define CONFIG_TYPE_TEXT char *
#define CONFIG_TYPE_SECRET char *
#define CONFIG_TYPE_CHOICE char *
#define CONFIG_TYPE_COUNT int64_t
#define CONFIG_TYPE_BYTES int64_t
#define CONFIG_TYPE_DURATION int64_t

struct config_key {
    uint8_t bytes[CONFIG_KEY_BYTES_MOST];
    size_t len;
};

struct config {
#define CONFIG_FIELD(kind, field, variable, least, most, preset, unit, help)                       \
    CONFIG_TYPE_##kind field;
    CONFIG_LIST(CONFIG_FIELD)
#undef CONFIG_FIELD
    struct addr_cidrs trusted;     /* trusted_proxies, read */
    struct config_key webhook_key; /* webhook_secret, read; len 0: there is none */
};

/* From the environment (pass environ). Unknown HANSARD_* names, malformed values and values out of
 * bounds: ERR_BAD_FIELD that names the variable and its bounds, never a secret's value.
 * HANSARD_FAILPOINT and HANSARD_WEBHOOK_TEST_CA are known in test builds only. */
MUST_USE bool config_read(struct config *c, char *const *environment, struct err *e);
void config_free(struct config *c);
void config_print(const struct config *c, FILE *out); /* NAME=value lines; secrets as ****** */
void config_document(FILE *out);                      /* docs/configuration.md, Markdown table */
