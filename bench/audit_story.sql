-- What the cookbook in docs/audit.md asks about, said and done just now, through the functions that workers and operators
-- call: alice in session "support-42", answered, slowly, in vain, and still open; a worker that died; an erasure; a limit; retention.

\set ON_ERROR_STOP on

SELECT hansard_admin.add_key('alice', 'paid', sha256('alice''s'));
SELECT hansard_admin.add_key('alice', NULL, sha256('alice''s second'));
SELECT hansard_admin.revoke_key(hansard.key_id(sha256('alice''s second')));
SELECT hansard_admin.add_key('bob', 'free', sha256('bob''s'));
SELECT hansard_admin.set_tier('bob', 'paid');
INSERT INTO hansard.users VALUES (gen_random_uuid(), 'long gone', 'free', now() - interval '2 years');

CREATE FUNCTION pg_temp.ask(caller text, session text, words text, address text) RETURNS void
LANGUAGE sql
AS $$
    SELECT FROM hansard_api.heartbeat('019b76da-a800-7000-8000-00000000000b', 'here', 'now', 1);
    SELECT FROM hansard_api.accept_turns(
        '019b76da-a800-7000-8000-00000000000b', 20, 65536, 86400000, ARRAY[sha256(caller::bytea)], ARRAY[address], ARRAY[session],
        ARRAY[words], ARRAY[gen_random_uuid()::text], ARRAY[sha256(words::bytea)],
        ARRAY[CASE words WHEN 'Where is my refund?' THEN '01a211a2-a1a5-7921-ba1d-c8240da30a76' ELSE gen_random_uuid()::text END])
$$;
CREATE FUNCTION pg_temp.answer(caller text, session text, words text, error text, model text, calls integer) RETURNS void
LANGUAGE sql
AS $$
    SELECT FROM hansard.sessions s
    JOIN hansard.users u ON u.user_id IS NOT DISTINCT FROM s.user_id AND u.name || '''s' = caller OR s.user_id IS NULL AND caller IS NULL,
    LATERAL hansard_api.finish_turns(
        ARRAY[s.open_worker], ARRAY[s.session_key], ARRAY[s.conversation_id], ARRAY[s.open_turn], ARRAY[1],
        ARRAY[CASE WHEN error IS NULL THEN 'completed' ELSE 'failed' END], ARRAY[words], ARRAY[model], ARRAY[1200], ARRAY[300],
        ARRAY[error], ARRAY[400], ARRAY[calls])
    WHERE s.session_id = session AND s.open_turn IS NOT NULL
$$;

SELECT pg_temp.ask('alice''s', 'support-42', 'Where is my refund?', '192.0.2.1');
SELECT pg_temp.answer('alice''s', 'support-42', 'Your refund is on its way.', NULL, 'small', 1);
SELECT pg_temp.ask('alice''s', 'support-42', 'Are you sure?', '192.0.2.1');
SELECT pg_temp.answer('alice''s', 'support-42', NULL, 'model_failed', NULL, 3);
SELECT pg_temp.ask('alice''s', 'support-42', 'Is anybody there?', '192.0.2.1');
SELECT pg_temp.answer('alice''s', 'support-42', 'Yes, sorry.', NULL, 'small', 2);
SELECT pg_temp.ask('alice''s', 'support-42', 'When, then?', '192.0.2.1');
SELECT pg_temp.ask('bob''s', 'unpriced', 'Hello', '192.0.2.2');
SELECT pg_temp.answer('bob''s', 'unpriced', 'Hello, Bob', NULL, 'unpriced', 1);
SELECT pg_temp.ask(NULL, 'nobody''s', 'Hello', '192.0.2.3');
SELECT pg_temp.answer(NULL, 'nobody''s', 'Hello', NULL, 'small', 1);
SELECT pg_temp.ask('bob''s', 'secret', 'My number is 4711.', '192.0.2.2');
SELECT pg_temp.answer('bob''s', 'secret', 'I shall forget it.', NULL, 'small', 1);
SELECT hansard_api.erase_conversation(sha256('bob''s'), 'secret', gen_random_uuid()::text);

-- It took as long as that, and another worker had to finish it.
UPDATE hansard.turns t SET accepted_at = t.accepted_at - interval '12 seconds', attempt = 2
FROM hansard.sessions s WHERE s.session_id = 'support-42' AND t.conversation_id = s.conversation_id AND t.turn_no = 3;

INSERT INTO hansard.audit_events (event_id, happened_at, kind, user_id, request_id, detail)
SELECT hansard.uuid_v7(now()), now(), 'limit_reached', user_id, gen_random_uuid(), '{"limit": "rate", "tier": "paid"}'
FROM hansard.users WHERE name = 'alice';
SELECT hansard.note_event('retention_applied', NULL, '{"month": "202001", "conversations": 1, "turns": 2, "messages": 4}');
ANALYZE;
