-- What auditors read. The only copy of each view: re-applied when it changes.
--
-- CREATE OR REPLACE can add columns at the end. A migration that takes one away, renames it or gives it another type drops
-- the view (and what is below that uses it), and is followed by this file, which makes it anew, grants included.
--
-- Rows of the record are joined from the left, so that a row stays in sight whatever somebody has taken out beside it. A
-- filter on a joined column makes an inner join of it: nothing is lost. A view calls functions with the rights of who reads
-- it, so only those of PostgreSQL are used. Columns that cost something are subqueries: who does not select them does not
-- pay.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard_audit.since(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN encode(substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3) || '\x00000000000000000000'::bytea, 'hex')::uuid;
COMMENT ON FUNCTION hansard_audit.since(timestamptz) IS
    'The least id that a conversation begun at this time can have: conversation_id >= hansard_audit.since(…) keeps PostgreSQL '
    'from looking into months before. A conversation that began earlier is left out, with all its later turns.';
GRANT EXECUTE ON FUNCTION hansard_audit.since(timestamptz) TO hansard_auditor;

-- What was said ---------------------------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW hansard_audit.transcript AS
SELECT m.conversation_id, m.turn_no, m.position, m.created_at AS said_at,
       CASE WHEN c.conversation_id IS NOT NULL AND c.user_id IS NULL THEN 'anonymous' ELSE u.name END AS who,
       u.name AS user_name, c.user_id, c.session_id, m.role, m.text, m.salt IS NULL AS is_erased,
       t.state, t.accepted_at, t.model, t.worker_id, t.request_id, t.address
FROM hansard.messages m
LEFT JOIN hansard.turns t ON t.conversation_id = m.conversation_id AND t.turn_no = m.turn_no
LEFT JOIN hansard.conversations c ON c.conversation_id = m.conversation_id
LEFT JOIN hansard.users u ON u.user_id = c.user_id;
COMMENT ON VIEW hansard_audit.transcript IS
    'What was said: a row a message. In the order in which it was said: ORDER BY said_at, turn_no, position. That order is not '
    'the one of turn_no alone, since a later question can be stored before an earlier answer.';
COMMENT ON COLUMN hansard_audit.transcript.conversation_id IS 'Conversation. Its first 48 bits are the time it began: hansard_audit.since().';
COMMENT ON COLUMN hansard_audit.transcript.turn_no IS 'Turn of the conversation: 1, 2, 3 …';
COMMENT ON COLUMN hansard_audit.transcript.position IS 'Place in the turn: 1 the user''s words, 2 the answer.';
COMMENT ON COLUMN hansard_audit.transcript.said_at IS 'When the message was committed. To be filtered by.';
COMMENT ON COLUMN hansard_audit.transcript.who IS
    'Owner of the conversation, to be read: the user''s name, or "anonymous". NULL: the row that would tell is gone.';
COMMENT ON COLUMN hansard_audit.transcript.user_name IS 'Owner, to be filtered by; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.transcript.user_id IS 'Owner''s id; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.transcript.session_id IS 'Session, as the caller named it; NULL once erased.';
COMMENT ON COLUMN hansard_audit.transcript.role IS 'Who speaks: user or assistant.';
COMMENT ON COLUMN hansard_audit.transcript.text IS 'The words; NULL once erased.';
COMMENT ON COLUMN hansard_audit.transcript.is_erased IS 'Were the words taken out?';
COMMENT ON COLUMN hansard_audit.transcript.state IS 'What became of the turn: queued, running, completed, failed, cancelled.';
COMMENT ON COLUMN hansard_audit.transcript.accepted_at IS 'When the turn was accepted.';
COMMENT ON COLUMN hansard_audit.transcript.model IS 'Model that answered the turn, by its own word.';
COMMENT ON COLUMN hansard_audit.transcript.worker_id IS 'Worker that answered the turn.';
COMMENT ON COLUMN hansard_audit.transcript.request_id IS 'HTTP request that opened the turn, as in X-Request-Id and the logs.';
COMMENT ON COLUMN hansard_audit.transcript.address IS
    'Address the request was counted under (IPv6: the /64); NULL once erased.';
GRANT SELECT ON hansard_audit.transcript TO hansard_auditor;

-- Turns -----------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW hansard_audit.prices AS
SELECT p.model, p.valid_from,
       lead(p.valid_from, 1, 'infinity') OVER (PARTITION BY p.model ORDER BY p.valid_from) AS valid_until,
       p.prompt_price, p.completion_price, p.currency
FROM hansard.prices p;
COMMENT ON VIEW hansard_audit.prices IS 'What tokens of a model cost, as operators have set it.';
COMMENT ON COLUMN hansard_audit.prices.model IS 'Model, by the word it goes by in turns.';
COMMENT ON COLUMN hansard_audit.prices.valid_from IS 'For turns accepted from then on …';
COMMENT ON COLUMN hansard_audit.prices.valid_until IS '… and before.';
COMMENT ON COLUMN hansard_audit.prices.prompt_price IS 'Of a million tokens of prompts.';
COMMENT ON COLUMN hansard_audit.prices.completion_price IS 'Of a million tokens of answers.';
COMMENT ON COLUMN hansard_audit.prices.currency IS 'ISO 4217.';
GRANT SELECT ON hansard_audit.prices TO hansard_auditor;

CREATE OR REPLACE VIEW hansard_audit.turns AS
SELECT t.conversation_id, t.turn_no,
       CASE WHEN c.conversation_id IS NOT NULL AND c.user_id IS NULL THEN 'anonymous' ELSE u.name END AS who,
       u.name AS user_name, c.user_id, c.session_id, t.state, t.accepted_at, t.first_byte_at, t.finished_at,
       (extract(epoch FROM t.first_byte_at - t.accepted_at) * 1000)::bigint AS first_byte_ms,
       (extract(epoch FROM t.finished_at - t.accepted_at) * 1000)::bigint AS total_ms,
       t.model, t.prompt_tokens, t.completion_tokens,
       (t.prompt_tokens * p.prompt_price + t.completion_tokens * p.completion_price) / 1000000 AS cost, p.currency,
       t.attempt, t.model_attempts, t.error_code, t.worker_id, t.request_id, t.address, t.idempotency_key,
       (t.accepted_at AT TIME ZONE 'UTC')::date AS day
FROM hansard.turns t
LEFT JOIN hansard.conversations c ON c.conversation_id = t.conversation_id
LEFT JOIN hansard.users u ON u.user_id = c.user_id
LEFT JOIN hansard_audit.prices p ON p.model = t.model AND t.accepted_at >= p.valid_from AND t.accepted_at < p.valid_until;
COMMENT ON VIEW hansard_audit.turns IS 'Questions and the fate of their answers: a row a turn.';
COMMENT ON COLUMN hansard_audit.turns.conversation_id IS 'Conversation. Its first 48 bits are the time it began: hansard_audit.since().';
COMMENT ON COLUMN hansard_audit.turns.turn_no IS 'Turn of the conversation: 1, 2, 3 …';
COMMENT ON COLUMN hansard_audit.turns.who IS
    'Owner of the conversation, to be read: the user''s name, or "anonymous". NULL: the row that would tell is gone.';
COMMENT ON COLUMN hansard_audit.turns.user_name IS 'Owner, to be filtered by; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.turns.user_id IS 'Owner''s id; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.turns.session_id IS 'Session, as the caller named it; NULL once erased.';
COMMENT ON COLUMN hansard_audit.turns.state IS 'queued, running, completed, failed or cancelled.';
COMMENT ON COLUMN hansard_audit.turns.accepted_at IS 'When the question was committed. To be filtered by.';
COMMENT ON COLUMN hansard_audit.turns.first_byte_at IS 'When the first byte of the model''s answer came; NULL: none came.';
COMMENT ON COLUMN hansard_audit.turns.finished_at IS 'When it ended, in whatever way; NULL: it is open.';
COMMENT ON COLUMN hansard_audit.turns.first_byte_ms IS 'From accepted_at to first_byte_at, ms.';
COMMENT ON COLUMN hansard_audit.turns.total_ms IS 'From accepted_at to finished_at, ms.';
COMMENT ON COLUMN hansard_audit.turns.model IS 'Model that answered, by its own word.';
COMMENT ON COLUMN hansard_audit.turns.prompt_tokens IS 'By the model server''s word; NULL: it did not tell.';
COMMENT ON COLUMN hansard_audit.turns.completion_tokens IS 'By the model server''s word; NULL: it did not tell.';
COMMENT ON COLUMN hansard_audit.turns.cost IS
    'Tokens at the price of the model when the turn was accepted; NULL: no price, no model or no tokens are known.';
COMMENT ON COLUMN hansard_audit.turns.currency IS 'Of cost: ISO 4217; NULL: no price is known.';
COMMENT ON COLUMN hansard_audit.turns.attempt IS '1; more: so often it was begun, each time after the worker before had died, or of a job had handed it back.';
COMMENT ON COLUMN hansard_audit.turns.model_attempts IS 'Calls to the model server, repeats included.';
COMMENT ON COLUMN hansard_audit.turns.error_code IS 'Why it failed: the code of the API''s error bodies.';
COMMENT ON COLUMN hansard_audit.turns.worker_id IS 'Worker that answers or answered it.';
COMMENT ON COLUMN hansard_audit.turns.request_id IS 'HTTP request that opened it or took it over, as in X-Request-Id and the logs.';
COMMENT ON COLUMN hansard_audit.turns.address IS 'Address the request was counted under (IPv6: the /64); NULL once erased.';
COMMENT ON COLUMN hansard_audit.turns.idempotency_key IS 'The caller''s, or one the worker made for the request.';
COMMENT ON COLUMN hansard_audit.turns.day IS 'Day (UTC) of accepted_at. To be filtered by.';
GRANT SELECT ON hansard_audit.turns TO hansard_auditor;

CREATE OR REPLACE VIEW hansard_audit.slow_turns AS
SELECT t.conversation_id, t.turn_no, t.who, t.user_name, t.user_id, t.session_id, t.state, t.accepted_at, t.first_byte_ms,
       coalesce(t.total_ms, (extract(epoch FROM now() - t.accepted_at) * 1000)::bigint) AS total_ms,
       t.model, t.completion_tokens, t.attempt, t.model_attempts, t.worker_id, t.request_id
FROM hansard_audit.turns t
WHERE coalesce(t.finished_at, now()) - t.accepted_at > interval '10 seconds';
COMMENT ON VIEW hansard_audit.slow_turns IS 'Turns that took longer than 10 seconds, or are open for longer.';
COMMENT ON COLUMN hansard_audit.slow_turns.conversation_id IS 'Conversation.';
COMMENT ON COLUMN hansard_audit.slow_turns.turn_no IS 'Turn of the conversation.';
COMMENT ON COLUMN hansard_audit.slow_turns.who IS 'Owner, to be read: the user''s name, or "anonymous".';
COMMENT ON COLUMN hansard_audit.slow_turns.user_name IS 'Owner, to be filtered by; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.slow_turns.user_id IS 'Owner''s id; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.slow_turns.session_id IS 'Session, as the caller named it; NULL once erased.';
COMMENT ON COLUMN hansard_audit.slow_turns.state IS 'running: it is open still.';
COMMENT ON COLUMN hansard_audit.slow_turns.accepted_at IS 'When the question was committed. To be filtered by.';
COMMENT ON COLUMN hansard_audit.slow_turns.first_byte_ms IS 'Until the first byte of the model''s answer, ms: the wait for a permit and the model''s.';
COMMENT ON COLUMN hansard_audit.slow_turns.total_ms IS 'Until it ended, or until now, ms.';
COMMENT ON COLUMN hansard_audit.slow_turns.model IS 'Model that answered.';
COMMENT ON COLUMN hansard_audit.slow_turns.completion_tokens IS 'Length of the answer.';
COMMENT ON COLUMN hansard_audit.slow_turns.attempt IS 'More than 1: another worker had it before, which died, or of a job handed it back.';
COMMENT ON COLUMN hansard_audit.slow_turns.model_attempts IS 'Calls to the model server, repeats included.';
COMMENT ON COLUMN hansard_audit.slow_turns.worker_id IS 'Worker that answers or answered it.';
COMMENT ON COLUMN hansard_audit.slow_turns.request_id IS 'HTTP request, as in X-Request-Id and the logs.';
GRANT SELECT ON hansard_audit.slow_turns TO hansard_auditor;

CREATE OR REPLACE VIEW hansard_audit.failed_turns AS
SELECT t.conversation_id, t.turn_no, t.who, t.user_name, t.user_id, t.session_id, t.accepted_at, t.finished_at, t.total_ms,
       t.error_code, t.model_attempts, t.attempt, t.worker_id, t.request_id,
       (SELECT m.text FROM hansard.messages m
        WHERE m.conversation_id = t.conversation_id AND m.turn_no = t.turn_no AND m.position = 1) AS question
FROM hansard_audit.turns t
WHERE t.state = 'failed';
COMMENT ON VIEW hansard_audit.failed_turns IS 'Turns that ended without an answer. Those that were cancelled are not among them.';
COMMENT ON COLUMN hansard_audit.failed_turns.conversation_id IS 'Conversation.';
COMMENT ON COLUMN hansard_audit.failed_turns.turn_no IS 'Turn of the conversation.';
COMMENT ON COLUMN hansard_audit.failed_turns.who IS 'Owner, to be read: the user''s name, or "anonymous".';
COMMENT ON COLUMN hansard_audit.failed_turns.user_name IS 'Owner, to be filtered by; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.failed_turns.user_id IS 'Owner''s id; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.failed_turns.session_id IS 'Session, as the caller named it; NULL once erased.';
COMMENT ON COLUMN hansard_audit.failed_turns.accepted_at IS 'When the question was committed. To be filtered by.';
COMMENT ON COLUMN hansard_audit.failed_turns.finished_at IS 'When it was given up.';
COMMENT ON COLUMN hansard_audit.failed_turns.total_ms IS 'Until then, ms.';
COMMENT ON COLUMN hansard_audit.failed_turns.error_code IS 'Why: the code of the API''s error bodies; worker_lost: its worker died.';
COMMENT ON COLUMN hansard_audit.failed_turns.model_attempts IS 'Calls to the model server, repeats included.';
COMMENT ON COLUMN hansard_audit.failed_turns.attempt IS 'More than 1: another worker had it before, which died, or of a job handed it back.';
COMMENT ON COLUMN hansard_audit.failed_turns.worker_id IS 'Worker that had it.';
COMMENT ON COLUMN hansard_audit.failed_turns.request_id IS 'HTTP request, as in X-Request-Id and the logs.';
COMMENT ON COLUMN hansard_audit.failed_turns.question IS 'What was asked; NULL once erased.';
GRANT SELECT ON hansard_audit.failed_turns TO hansard_auditor;

CREATE OR REPLACE VIEW hansard_audit.usage_daily AS
SELECT t.day, t.who, t.user_name, t.user_id, t.model, count(*) AS turns,
       count(*) FILTER (WHERE t.state = 'completed') AS completed, count(*) FILTER (WHERE t.state = 'failed') AS failed,
       count(*) FILTER (WHERE t.state = 'cancelled') AS cancelled, sum(t.model_attempts) AS model_calls,
       sum(t.prompt_tokens) AS prompt_tokens, sum(t.completion_tokens) AS completion_tokens,
       sum(t.cost) AS cost, t.currency, count(*) FILTER (WHERE t.state = 'completed' AND t.cost IS NULL) AS without_cost
FROM hansard_audit.turns t
GROUP BY t.day, t.who, t.user_name, t.user_id, t.model, t.currency;
COMMENT ON VIEW hansard_audit.usage_daily IS 'Turns, tokens and cost of a day: a row for each owner, model and currency.';
COMMENT ON COLUMN hansard_audit.usage_daily.day IS 'Day (UTC) on which the turns were accepted. To be filtered by.';
COMMENT ON COLUMN hansard_audit.usage_daily.who IS 'Owner, to be read: the user''s name, or "anonymous".';
COMMENT ON COLUMN hansard_audit.usage_daily.user_name IS 'Owner, to be filtered by; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.usage_daily.user_id IS 'Owner''s id; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.usage_daily.model IS 'Model that answered; NULL: none did.';
COMMENT ON COLUMN hansard_audit.usage_daily.turns IS 'Turns accepted, in whatever way they ended.';
COMMENT ON COLUMN hansard_audit.usage_daily.completed IS 'Those that were answered.';
COMMENT ON COLUMN hansard_audit.usage_daily.failed IS 'Those that were not.';
COMMENT ON COLUMN hansard_audit.usage_daily.cancelled IS 'Those that were cancelled.';
COMMENT ON COLUMN hansard_audit.usage_daily.model_calls IS 'Calls to the model server, repeats included.';
COMMENT ON COLUMN hansard_audit.usage_daily.prompt_tokens IS 'By the model server''s word.';
COMMENT ON COLUMN hansard_audit.usage_daily.completion_tokens IS 'By the model server''s word.';
COMMENT ON COLUMN hansard_audit.usage_daily.cost IS 'Sum of what is known; NULL: nothing is.';
COMMENT ON COLUMN hansard_audit.usage_daily.currency IS 'Of cost: ISO 4217; NULL: no price is known.';
COMMENT ON COLUMN hansard_audit.usage_daily.without_cost IS 'Answered turns whose cost is not known: they are not in cost.';
GRANT SELECT ON hansard_audit.usage_daily TO hansard_auditor;

-- Besides turns ---------------------------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW hansard_audit.events AS
SELECT e.event_id, e.happened_at, e.kind, u.name AS user_name, e.user_id, e.request_id, e.detail
FROM hansard.audit_events e
LEFT JOIN hansard.users u ON u.user_id = e.user_id;
COMMENT ON VIEW hansard_audit.events IS 'What was done to callers, prices and the record besides turns.';
COMMENT ON COLUMN hansard_audit.events.event_id IS 'UUIDv7.';
COMMENT ON COLUMN hansard_audit.events.happened_at IS 'When. To be filtered by.';
COMMENT ON COLUMN hansard_audit.events.kind IS
    'key_added, key_revoked, tier_changed, price_set, limit_reached, conversation_erased, user_erased, retention_applied, '
    'partition_dropped, scrubbed, webhook_given_up.';
COMMENT ON COLUMN hansard_audit.events.user_name IS 'Whom it concerns; NULL: somebody anonymous, or nobody.';
COMMENT ON COLUMN hansard_audit.events.user_id IS 'Whom it concerns, by id.';
COMMENT ON COLUMN hansard_audit.events.request_id IS 'HTTP request that caused it; NULL: an operator did.';
COMMENT ON COLUMN hansard_audit.events.detail IS 'Facts of the kind; never words of a conversation, never a key.';
GRANT SELECT ON hansard_audit.events TO hansard_auditor;

CREATE OR REPLACE VIEW hansard_audit.refusals AS
SELECT e.happened_at AS refused_at, coalesce(u.name, CASE WHEN e.user_id IS NULL THEN 'anonymous' END) AS who,
       u.name AS user_name, e.user_id, e.detail ->> 'limit' AS limit_kind, e.detail ->> 'tier' AS tier,
       e.detail ->> 'address' AS address, e.request_id, e.event_id
FROM hansard.audit_events e
LEFT JOIN hansard.users u ON u.user_id = e.user_id
WHERE e.kind = 'limit_reached';
COMMENT ON VIEW hansard_audit.refusals IS
    'Callers who came to a limit: the first refusal in each window (rate: the time in which a whole burst comes back; open turns: a '
    'minute; tokens: the day), not every one.';
COMMENT ON COLUMN hansard_audit.refusals.refused_at IS 'When. To be filtered by.';
COMMENT ON COLUMN hansard_audit.refusals.who IS 'Caller, to be read: the user''s name, or "anonymous".';
COMMENT ON COLUMN hansard_audit.refusals.user_name IS 'Caller, to be filtered by; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.refusals.user_id IS 'Caller''s id; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.refusals.limit_kind IS 'rate, parallel (open turns) or tokens.';
COMMENT ON COLUMN hansard_audit.refusals.tier IS 'The caller''s, whose limit it was.';
COMMENT ON COLUMN hansard_audit.refusals.address IS 'Address of the request, of anonymous callers.';
COMMENT ON COLUMN hansard_audit.refusals.request_id IS 'The request that was refused.';
COMMENT ON COLUMN hansard_audit.refusals.event_id IS 'The event it is from.';
GRANT SELECT ON hansard_audit.refusals TO hansard_auditor;

CREATE OR REPLACE VIEW hansard_audit.owners AS
SELECT u.user_id, u.name AS user_name, u.tier, u.created_at,
       (SELECT count(*) FROM hansard.api_keys k WHERE k.user_id = u.user_id AND k.revoked_at IS NULL) AS keys_in_force,
       (SELECT count(*) FROM hansard.api_keys k WHERE k.user_id = u.user_id AND k.revoked_at IS NOT NULL) AS keys_revoked,
       (SELECT count(*) FROM hansard.conversations c WHERE c.user_id = u.user_id) AS conversations,
       (SELECT c.created_at FROM hansard.conversations c
        WHERE c.user_id = u.user_id ORDER BY c.conversation_id LIMIT 1) AS first_conversation_at,
       (SELECT c.created_at FROM hansard.conversations c
        WHERE c.user_id = u.user_id ORDER BY c.conversation_id DESC LIMIT 1) AS last_conversation_at
FROM hansard.users u;
COMMENT ON VIEW hansard_audit.owners IS 'Callers that have, or had, a key.';
COMMENT ON COLUMN hansard_audit.owners.user_id IS 'UUIDv7.';
COMMENT ON COLUMN hansard_audit.owners.user_name IS 'What operators call this caller.';
COMMENT ON COLUMN hansard_audit.owners.tier IS 'Class of limits.';
COMMENT ON COLUMN hansard_audit.owners.created_at IS 'When the first key was made.';
COMMENT ON COLUMN hansard_audit.owners.keys_in_force IS 'Keys that are accepted.';
COMMENT ON COLUMN hansard_audit.owners.keys_revoked IS 'Keys that are refused.';
COMMENT ON COLUMN hansard_audit.owners.conversations IS 'Conversations in the record.';
COMMENT ON COLUMN hansard_audit.owners.first_conversation_at IS 'When the oldest of them began.';
COMMENT ON COLUMN hansard_audit.owners.last_conversation_at IS 'When the newest of them began.';
GRANT SELECT ON hansard_audit.owners TO hansard_auditor;

CREATE OR REPLACE VIEW hansard_audit.storage AS
SELECT coalesce(p.relname, c.relname)::text COLLATE "default" AS table_name,
       c.relname::text COLLATE "default" AS partition_name,
       CASE WHEN p.oid IS NOT NULL THEN to_date(right(c.relname, 6), 'YYYYMM') END AS month,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS rows,
       current_setting('block_size')::bigint
           * (c.relpages + coalesce(long.relpages, 0)) AS table_bytes,
       current_setting('block_size')::bigint
           * (SELECT coalesce(sum(i.relpages), 0) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
              WHERE x.indrelid IN (c.oid, c.reltoastrelid))::bigint AS index_bytes
FROM pg_class c
LEFT JOIN pg_inherits h ON h.inhrelid = c.oid
LEFT JOIN pg_class p ON p.oid = h.inhparent
LEFT JOIN pg_class long ON long.oid = c.reltoastrelid
WHERE c.relnamespace = 'hansard'::regnamespace AND c.relkind = 'r';
COMMENT ON VIEW hansard_audit.storage IS
    'Tables and partitions: how large they are, as PostgreSQL last counted (at the last VACUUM or ANALYZE), so at no cost.';
COMMENT ON COLUMN hansard_audit.storage.table_name IS 'Table.';
COMMENT ON COLUMN hansard_audit.storage.partition_name IS 'Its partition; the table itself when it has none.';
COMMENT ON COLUMN hansard_audit.storage.month IS 'Month (UTC) in which the conversations in it began; NULL: no partition.';
COMMENT ON COLUMN hansard_audit.storage.rows IS 'Rows, about; NULL: never counted.';
COMMENT ON COLUMN hansard_audit.storage.table_bytes IS 'Bytes of rows and of long texts, about.';
COMMENT ON COLUMN hansard_audit.storage.index_bytes IS 'Bytes of indexes, about.';
GRANT SELECT ON hansard_audit.storage TO hansard_auditor;

RESET ROLE;
