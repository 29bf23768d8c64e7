-- Conversations as if they had been held: turn after turn through all sessions, so that the messages of one
-- conversation lie as far apart on disk as real ones do.
--
-- Variables of psql: user (name of the caller), prefix, sessions, turns, question, answer.
-- Hashes have the right size and cannot be compressed, but the chain does not check: no audit reads these rows.

\set ON_ERROR_STOP on
SET synchronous_commit = off;
SET work_mem = '256MB';

BEGIN;

CREATE TEMPORARY TABLE filled ON COMMIT DROP AS
SELECT i,
       u.user_id,
       :'prefix' || i AS session_id,
       hansard.session_key(u.user_id, :'prefix' || i) AS session_key,
       hansard.uuid_v7(now()) AS conversation_id
FROM hansard.users u, generate_series(0, :sessions - 1) AS i
WHERE u.name = :'user';
ANALYZE filled;

INSERT INTO hansard.conversations (conversation_id, session_key, user_id, session_id, created_at)
SELECT conversation_id, session_key, user_id, session_id, now()
FROM filled;

INSERT INTO hansard.sessions (session_key, user_id, session_id, conversation_id, next_turn, unanswered, chain_head,
                              last_activity)
SELECT session_key, user_id, session_id, conversation_id, :turns + 1, 0,
       sha256(uuid_send(conversation_id) || int4send(:turns) || '\x02'), now()
FROM filled
ORDER BY random();

INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, address, attempt,
                           model_attempts, accepted_at, first_byte_at, finished_at, model, prompt_tokens,
                           completion_tokens)
SELECT conversation_id, turn_no, 'completed', gen_random_uuid()::text, sha256(uuid_send(conversation_id)),
       gen_random_uuid(), '127.0.0.1', 1, 1, now(), now(), now(), 'demo', 100, 50
FROM generate_series(1, :turns) AS turn_no, filled
ORDER BY turn_no, i;

INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash, chain_hash)
SELECT conversation_id, turn_no, position, role::hansard.message_role, text, now(), substring(hash FOR 16), hash, hash
FROM generate_series(1, :turns) AS turn_no,
     filled,
     (VALUES (1::smallint, 'user', :'question'), (2::smallint, 'assistant', :'answer')) AS said (position, role, text),
     sha256(uuid_send(conversation_id) || int4send(turn_no) || int2send(position)) AS hash
ORDER BY turn_no, i, position;

COMMIT;
