-- A message opens a turn: what the worker is told, and what is in the record from then on.
BEGIN;
SELECT plan(33);
SELECT help.worker('w');
SELECT help.caller('ann', 'free');
SELECT help.caller('bob', 'free');

-- The first message of a session.
CREATE TEMP TABLE opened AS
SELECT * FROM help.ask('w', '{"session": "s", "words": "hello", "key": "k", "request": "r", "address": "192.0.2.1"}');

SELECT is(count(*), 1::bigint, 'one request, one row') FROM opened;
SELECT is(outcome, 'accepted', 'a message to a new session is accepted') FROM opened;
SELECT is(ROW(item, turn_no, attempt), ROW(1, 1, 1), 'as the first attempt at turn 1') FROM opened;
SELECT is(session_key, sha256('\x00' || 's'::bytea), 'an anonymous session is known by the hash of 00 and its id')
FROM opened;
SELECT is(history, NULL, 'there is no history yet') FROM opened;
SELECT is(ROW(reply, model, prompt_tokens, completion_tokens, error_code),
          ROW(NULL::text, NULL::text, NULL::int, NULL::int, NULL::text),
          'and no answer') FROM opened;
SELECT is(ROW(policy, quota_limit, quota_window_s, quota_remaining, retry_after_ms),
          ROW('anonymous'::text, 10, 60, 9, 0),
          'the anonymous quota is told: 10 in 60 s, 9 are left') FROM opened;
SELECT cmp_ok(quota_reset_ms, '<=', 6000, 'it is whole again after 6 s') FROM opened;
SELECT cmp_ok(quota_reset_ms, '>', 5000, '... and not much earlier') FROM opened;

SELECT is(ROW(s.user_id, s.session_id, s.next_turn, s.unanswered, s.open_turn, s.open_worker),
          ROW(NULL::uuid, 's'::text, 2, 0, 1, help.id('w')), 'the session has turn 1 open at this worker')
FROM hansard.sessions s JOIN opened USING (session_key, conversation_id);
SELECT is(ROW(c.session_key, c.user_id, c.session_id), ROW(o.session_key, NULL::uuid, 's'::text),
          'the conversation has a header')
FROM hansard.conversations c JOIN opened o USING (conversation_id);
SELECT is(ROW(t.state::text, t.idempotency_key, t.fingerprint, t.request_id, t.address, t.worker_id, t.attempt::int),
          ROW('running'::text, 'k'::text, help.hash('hello'), help.id('r'), '192.0.2.1'::text, help.id('w'), 1),
          'the turn is running')
FROM hansard.turns t JOIN opened USING (conversation_id, turn_no);
SELECT is(ROW(t.model_attempts::int, t.first_byte_at, t.finished_at, t.model, t.error_code),
          ROW(NULL::int, NULL::timestamptz, NULL::timestamptz, NULL::text, NULL::text), '... and has no end')
FROM hansard.turns t JOIN opened USING (conversation_id, turn_no);
SELECT results_eq(
    'SELECT m.position::int, m.role::text, m.text FROM hansard.messages m JOIN opened USING (conversation_id, turn_no)',
    $$VALUES (1, 'user', 'hello')$$, 'the words are in the record');
SELECT is(ROW(octet_length(m.salt), m.text_hash), ROW(16, sha256(m.salt || 'hello'::bytea)),
          '... with their salted hash')
FROM hansard.messages m JOIN opened USING (conversation_id, turn_no);
SELECT is(s.chain_head, m.chain_hash, '... and are the newest of the chain')
FROM hansard.messages m JOIN opened USING (conversation_id, turn_no) JOIN hansard.sessions s USING (conversation_id);
SELECT is(count(DISTINCT at), 1::bigint, 'all of it at one moment')
FROM opened o, LATERAL (
    SELECT created_at AS at FROM hansard.conversations WHERE conversation_id = o.conversation_id
    UNION ALL SELECT created_at FROM hansard.messages WHERE conversation_id = o.conversation_id
    UNION ALL SELECT accepted_at FROM hansard.turns WHERE conversation_id = o.conversation_id
    UNION ALL SELECT last_activity FROM hansard.sessions WHERE conversation_id = o.conversation_id) AS times;
SELECT ok(created_at BETWEEN now() AND clock_timestamp(), '... which is now') FROM hansard.conversations
JOIN opened USING (conversation_id);

-- The next one.
SELECT is(help.finishes('{"answer": "hi there"}'), 'finished', 'the turn is answered');
CREATE TEMP TABLE continued AS SELECT * FROM help.ask('w', '{"session": "s", "words": "and now?", "key": "k2"}');
SELECT is(ROW(outcome, turn_no, attempt), ROW('accepted'::text, 2, 1), 'the next message is turn 2') FROM continued;
SELECT is(c.conversation_id, o.conversation_id, 'of the same conversation') FROM continued c, opened o;
SELECT is(history, ARRAY['hello', 'hi there'], 'the model is shown what was said before, and not the message itself')
FROM continued;
SELECT is(ROW(next_turn, unanswered, open_turn), ROW(3, 0, 2), 'the session has turn 2 open')
FROM hansard.sessions JOIN continued USING (session_key);
SELECT is(count(*), 1::bigint, 'there is still one header') FROM hansard.conversations JOIN opened USING (session_key);
SELECT is(string_agg(text, ', ' ORDER BY turn_no, position), 'hello, hi there, and now?', 'and all words in order')
FROM hansard.messages WHERE conversation_id = (SELECT conversation_id FROM opened);

-- Callers with a key.
CREATE TEMP TABLE owned AS
SELECT * FROM help.ask('w', '[{"session": "s", "caller": "ann"}, {"session": "s", "caller": "bob"}]');
SELECT is(string_agg(outcome || turn_no, ' '), 'accepted1 accepted1',
          'a session id belongs to its owner: two callers, two sessions') FROM owned;
SELECT is(count(DISTINCT conversation_id), 3::bigint, '... and neither is the anonymous one')
FROM (SELECT conversation_id FROM owned UNION ALL SELECT conversation_id FROM opened) AS all_of_them;
SELECT is(o.session_key, sha256('\x01' || uuid_send(u.user_id) || 's'::bytea),
          'a session is known by the hash of 01, its owner and its id')
FROM owned o, hansard.users u WHERE o.item = 1 AND u.name = 'ann';
SELECT is(array_agg(s.user_id ORDER BY o.item), array_agg(c.user_id ORDER BY o.item),
          'session and conversation name the owner')
FROM owned o JOIN hansard.sessions s USING (session_key)
JOIN hansard.conversations c ON c.conversation_id = s.conversation_id;
SELECT is(s.user_id, u.user_id, '... the right one')
FROM owned o JOIN hansard.sessions s USING (session_key), hansard.users u WHERE o.item = 2 AND u.name = 'bob';
SELECT is(ROW(policy, quota_limit, quota_window_s, quota_remaining), ROW('free'::text, 20, 60, 19),
          'their tier is what counts')
FROM owned WHERE item = 1;

-- No limit.
INSERT INTO hansard.tiers (tier, rate_per_minute, burst) VALUES ('unlimited', NULL, 1);
SELECT help.caller('cy', 'unlimited');
CREATE TEMP TABLE unlimited AS SELECT *
FROM help.ask('w', '[{"session": "a", "caller": "cy"}, {"session": "b", "caller": "cy"}]');
SELECT is(string_agg(outcome, ' '), 'accepted accepted', 'who is not limited is never refused') FROM unlimited;
SELECT is(ROW(quota_limit, quota_window_s, quota_remaining, quota_reset_ms),
          ROW(NULL::int, NULL::int, NULL::int, NULL::int),
          'and is told no quota') FROM unlimited WHERE item = 1;

SELECT * FROM finish();
ROLLBACK;
