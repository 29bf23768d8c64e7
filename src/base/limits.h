/* limits — every ceiling on what comes from outside, on one page.
 *
 * Does:      name the ceilings that are not settings (settings are in base/config).
 * Does not:  enforce them; each is enforced where the bytes come in.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#define LIMIT_SESSION_ID_BYTES 200
#define LIMIT_IDEMPOTENCY_KEY_BYTES 200
#define LIMIT_API_KEY_BYTES 200
#define LIMIT_ADDRESS_BYTES 64
#define LIMIT_JSON_DEPTH 32
#define LIMIT_JSON_KEYS 64          /* members of the root object */
#define LIMIT_JSON_MEMBERS 1024     /* members of all objects of a text */
#define LIMIT_JSON_VALUES 8192      /* commas outside strings: members and elements */
#define LIMIT_JSON_NUMBER_BYTES 512 /* one number or word */
#define LIMIT_HEADER_BYTES 16384    /* all request headers; above: 431 */
#define LIMIT_HEADER_COUNT 100
#define LIMIT_DISCARD_BYTES 8388608 /* of a body too large, read past so that its 413 arrives */
#define LIMIT_ERR_DETAIL_BYTES 192
#define LIMIT_BATCH_ITEMS 64      /* turns in one database call */
#define LIMIT_BATCH_BYTES 4194304 /* words of the user in one database call */
#define LIMIT_CLAIM_JOBS 64       /* jobs claimed in one database call */
#define LIMIT_PAGE_TURNS 200      /* turns in one page of history */
#define LIMIT_PAGE_BYTES 1048576  /* text in one page of history; one turn always fits */
#define LIMIT_WATCH_JOBS 1000     /* jobs asked about in one database call */
#define LIMIT_LLM_ATTEMPTS 3
#define LIMIT_LLM_PROBE_BYTES 65536 /* of the answer to a probe of the model server */
#define LIMIT_WEBHOOK_URL_BYTES 2000
#define LIMIT_WEBHOOK_ANSWER_BYTES 65536 /* headers and text of a receiver's answer */
#define LIMIT_RETRY_AFTER_MS 10000 /* what a model server may ask us to wait within one turn */
