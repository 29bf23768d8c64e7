-- Queued jobs of 100 owners as if they had been accepted, to be put into hansard.jobs and taken out again: their rows there
-- are made in bench.waiting. One statement for all, so that all of them look as if they had come at once.
--
-- Variables of psql: prefix, conversations (of all owners), jobs (of each conversation), ready (true: all of them could be
-- claimed; false: none, as if each conversation had a turn that does not end).
-- Hashes have the right size and cannot be compressed, but the chain does not check.

\set ON_ERROR_STOP on
SET synchronous_commit = off;
SET work_mem = '256MB';

BEGIN;

CREATE TEMPORARY TABLE filled ON COMMIT DROP AS
SELECT u.user_id, :'prefix' || i AS session_id, hansard.session_key(u.user_id, :'prefix' || i) AS session_key,
       hansard.uuid_v7(now()) AS conversation_id
FROM generate_series(0, :conversations - 1) AS i
JOIN hansard.users u ON u.name = 'owner ' || i % 100;
ANALYZE filled;

INSERT INTO hansard.conversations (conversation_id, session_key, user_id, session_id, created_at)
SELECT conversation_id, session_key, user_id, session_id, now()
FROM filled;

INSERT INTO hansard.sessions (session_key, user_id, session_id, conversation_id, next_turn, unanswered, jobs, chain_head,
                              last_activity)
SELECT session_key, user_id, session_id, conversation_id, :jobs + 1, 0, :jobs, sha256(uuid_send(conversation_id)), now()
FROM filled
ORDER BY random();

INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, address, attempt,
                           accepted_at, is_job)
SELECT conversation_id, turn_no, 'queued', gen_random_uuid()::text, sha256(uuid_send(conversation_id)), gen_random_uuid(),
       '127.0.0.1', 0, now(), true
FROM generate_series(1, :jobs) AS turn_no, filled;

INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash, chain_hash)
SELECT conversation_id, turn_no, 1, 'user', 'hello', now() + turn_no * interval '1 us', substring(hash FOR 16), hash, hash
FROM generate_series(1, :jobs) AS turn_no, filled, sha256(uuid_send(conversation_id) || int4send(turn_no)) AS hash;

INSERT INTO bench.waiting (conversation_id, turn_no, session_key, limit_key, queued_at, is_ready, deaths, failures)
SELECT conversation_id, turn_no, session_key, 'user:' || user_id, now(), :ready, 0, 0
FROM generate_series(1, :jobs) AS turn_no, filled
ORDER BY random();

COMMIT;
