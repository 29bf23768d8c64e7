-- Erasure takes the words out of the record and leaves a chain that can still be checked.
BEGIN;
SELECT plan(44);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.caller('ann', 'free');
SELECT help.caller('eve', 'free');
SELECT hansard_admin.revoke_key(hansard.key_id(help.hash('eve')));

CREATE FUNCTION pg_temp.erase(session text, caller text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql
AS $$ SELECT hansard_api.erase_conversation(CASE WHEN caller IS NOT NULL THEN help.hash(caller) END, session,
                                            help.id('request')::text)::jsonb $$;

-- Two conversations of one session, the second with a turn open; and neighbours.
SELECT help.turn('w', 's', 'hello', 'hi there');
SELECT help.turn('w', 's', 'trouble', NULL);
UPDATE hansard.sessions SET last_activity = now() - interval '2 days';
SELECT help.turn('w', 's', 'good morning', 'good day');
SELECT is(help.outcomes('w', '{"words": "erase me", "key": "k", "request": "r", "address": "192.0.2.1"}'), 'accepted',
          'a turn is open');
SELECT help.turn('w', 'other', 'keep', 'this');
SELECT is(help.outcomes('w', '{"session": "s", "caller": "ann", "words": "and this"}'), 'accepted',
          'somebody else has a session of the same name');
CREATE TEMP TABLE doomed AS SELECT * FROM hansard.conversations WHERE session_key = help.session_key('s');
CREATE TEMP TABLE session AS SELECT * FROM hansard.sessions WHERE session_key = help.session_key('s');
CREATE TEMP TABLE messages AS SELECT m.* FROM hansard.messages m JOIN doomed USING (conversation_id);
CREATE TEMP TABLE turns AS SELECT t.* FROM hansard.turns t JOIN doomed USING (conversation_id);
CREATE TEMP TABLE kept AS SELECT m.* FROM hansard.messages m LEFT JOIN doomed d USING (conversation_id)
WHERE d.conversation_id IS NULL;
CREATE TEMP TABLE kept_turns AS SELECT t.* FROM hansard.turns t LEFT JOIN doomed d USING (conversation_id)
WHERE d.conversation_id IS NULL;
SELECT is(array_agg(n), ARRAY[2, 6, 4, 2, 3]::bigint[], 'so much there is')
FROM (SELECT count(*) AS n FROM doomed UNION ALL SELECT count(*) FROM messages UNION ALL SELECT count(*) FROM turns
      UNION ALL SELECT count(*) FROM kept_turns UNION ALL SELECT count(*) FROM kept) AS counts;

SELECT is(pg_temp.erase('s'),
          '{"session_id": "s", "erased": {"conversations": 2, "turns": 4, "messages": 6, "cancelled": 1}}'::jsonb,
          'all conversations of the session are erased, and counted');

-- What is gone.
SELECT is_empty('SELECT FROM hansard.messages m JOIN doomed USING (conversation_id)
                 WHERE m.text IS NOT NULL OR m.salt IS NOT NULL', 'no word and no salt is left');
SELECT is_empty($$SELECT FROM hansard.turns t JOIN doomed USING (conversation_id)
                  WHERE t.address IS NOT NULL OR t.fingerprint <> ''$$,
                'no address is left, and no fingerprint of words that could be guessed');
SELECT is_empty('SELECT FROM hansard.conversations c JOIN doomed USING (conversation_id)
                 WHERE c.session_id IS NOT NULL', 'no session id is left');
SELECT is_empty($$SELECT FROM hansard.sessions WHERE session_key = help.session_key('s')$$, 'no session is left');
SELECT is_empty($$SELECT FROM hansard.messages
                  WHERE text LIKE '%erase me%' OR text LIKE '%good%' OR text LIKE '%trouble%'$$, '... anywhere');

-- What stays.
SELECT set_eq('SELECT conversation_id, turn_no, position, role, created_at, text_hash, chain_hash FROM hansard.messages
               WHERE conversation_id IN (SELECT conversation_id FROM doomed)',
              'SELECT conversation_id, turn_no, position, role, created_at, text_hash, chain_hash FROM messages',
              'every message has its row and its hashes');
SELECT set_eq($$SELECT conversation_id, turn_no, request_id, worker_id, accepted_at,
                CASE WHEN state NOT IN ('running', 'cancelled') THEN state END
                FROM hansard.turns WHERE conversation_id IN (SELECT conversation_id FROM doomed)$$,
              $$SELECT conversation_id, turn_no, request_id, worker_id, accepted_at,
                CASE WHEN state NOT IN ('running', 'cancelled') THEN state END
                FROM turns$$, 'every turn has its row');
SELECT is_empty('SELECT FROM hansard.turns t JOIN turns o USING (conversation_id, turn_no, idempotency_key)',
                '... without the key the caller gave it');
SELECT set_eq('SELECT conversation_id, session_key, user_id, created_at FROM hansard.conversations
               WHERE conversation_id IN (SELECT conversation_id FROM doomed)',
              'SELECT conversation_id, session_key, user_id, created_at FROM doomed',
              'every conversation has its header');
SELECT is(m.chain_hash,
          hansard.chain_hash(before.chain_hash, m.conversation_id, m.turn_no, m.position, m.role::text, m.created_at,
                             m.text_hash),
          'the chain can be checked without the words')
FROM hansard.messages m JOIN hansard.messages before USING (conversation_id) JOIN session s USING (conversation_id)
WHERE (m.turn_no, m.position, before.turn_no, before.position) = (2, 1, 1, 2);
SELECT set_eq('SELECT m.* FROM hansard.messages m LEFT JOIN doomed d USING (conversation_id)
               WHERE d.conversation_id IS NULL', 'SELECT * FROM kept',
              'the words of others stay as they are');
SELECT set_eq('SELECT t.* FROM hansard.turns t LEFT JOIN doomed d USING (conversation_id)
               WHERE d.conversation_id IS NULL', 'SELECT * FROM kept_turns',
              '... and their turns');

-- The open turn.
SELECT is(ROW(t.state::text, t.error_code), ROW('cancelled'::text, 'turn_cancelled'::text),
          'the open turn is cancelled') FROM hansard.turns t JOIN session s USING (conversation_id) WHERE t.turn_no = s.open_turn;
SELECT ok(finished_at BETWEEN now() AND clock_timestamp(), '... now')
FROM hansard.turns t JOIN session s USING (conversation_id) WHERE t.turn_no = s.open_turn;
CREATE TEMP TABLE before AS SELECT help.content();
SELECT is(help.finishes(jsonb_build_object('worker', 'w', 'turn', 2, 'conversation', conversation_id, 'answer',
                                           'what was erased')), 'HS499',
          'its answer comes too late') FROM session;
SELECT is(help.content(), content, '... and is stored nowhere') FROM before;

-- The event.
SELECT is(count(*), 1::bigint, 'one event is noted') FROM hansard.audit_events WHERE kind = 'conversation_erased';
SELECT is(ROW(user_id, request_id), ROW(NULL::uuid, help.id('request')), 'by the request that did it')
FROM hansard.audit_events WHERE kind = 'conversation_erased';
SELECT is(detail - 'conversation_ids', '{"conversations": 2, "turns": 4, "messages": 6, "cancelled": 1}'::jsonb,
          'with the counts')
FROM hansard.audit_events WHERE kind = 'conversation_erased';
SELECT set_eq($$SELECT jsonb_array_elements_text(detail -> 'conversation_ids')::uuid FROM hansard.audit_events
                WHERE kind = 'conversation_erased'$$,
              'SELECT conversation_id FROM doomed', 'and the conversations');
SELECT ok(happened_at BETWEEN now() AND clock_timestamp(), 'at that time') FROM hansard.audit_events
WHERE kind = 'conversation_erased';
SELECT unalike(detail::text, '%"s"%', 'without the name of the session') FROM hansard.audit_events
WHERE kind = 'conversation_erased';

-- Afterwards.
SELECT throws_ok($$SELECT pg_temp.erase('s')$$, 'HS404', NULL, 'there is nothing to erase a second time');
SELECT throws_ok($$SELECT hansard_api.read_conversation(NULL, 's', 0, 10, 65536)$$, 'HS404', NULL, 'nor to read');
SELECT is(help.content(), content, 'which changes nothing') FROM before;
CREATE TEMP TABLE fresh AS SELECT * FROM help.ask('v', '{"words": "hello again", "key": "k"}');
SELECT is(ROW(outcome, turn_no, history), ROW('accepted'::text, 1, NULL::text[]),
          'the session starts afresh, and keys with it') FROM fresh;
SELECT is_empty('SELECT FROM fresh JOIN doomed USING (conversation_id)', '... in a new conversation');
SELECT is(help.finishes(jsonb_build_object('worker', 'w', 'turn', 2, 'conversation', s.conversation_id)), 'HS499',
          'into which the old answer does not come either') FROM session s;
SELECT is(ROW(open_turn, open_worker), ROW(1, help.id('v')), '... nor does it close the new turn') FROM hansard.sessions
WHERE session_key = help.session_key('s');
SELECT is(pg_temp.erase('s') -> 'erased', '{"conversations": 1, "turns": 1, "messages": 1, "cancelled": 1}'::jsonb,
          'the new one can be erased, and only it is counted');

-- A caller cannot choose a key that is in the way.
SELECT ok(idempotency_key ~ '[^ -~]', 'what stands for a key no caller can choose')
FROM hansard.turns t JOIN session s USING (conversation_id) WHERE t.turn_no = 1;

-- A session that has nothing open.
SELECT is(pg_temp.erase('other') -> 'erased', '{"conversations": 1, "turns": 1, "messages": 2, "cancelled": 0}'::jsonb,
          'a session at rest is erased alike');

-- Whose it is.
SELECT throws_ok($$SELECT pg_temp.erase('s', 'nobody')$$, 'HS401', NULL, 'an unknown key is refused');
SELECT throws_ok($$SELECT pg_temp.erase('s', 'eve')$$, 'HS401', NULL, 'a revoked key is refused');
SELECT throws_ok($$SELECT pg_temp.erase('other', 'ann')$$, 'HS404', NULL, 'what is not the caller''s is not there');
SELECT throws_ok($$SELECT pg_temp.erase('s')$$, 'HS404', NULL, '... for nobody');
SELECT is((SELECT text FROM hansard.messages m WHERE m.conversation_id = s.conversation_id), 'and this',
          'and is still there')
FROM hansard.sessions s WHERE s.session_key = help.session_key('s', 'ann');
SELECT is(pg_temp.erase('s', 'ann') -> 'erased',
          '{"conversations": 1, "turns": 1, "messages": 1, "cancelled": 1}'::jsonb, 'the owner may');
SELECT is(e.user_id, u.user_id, '... and is named in the event') FROM hansard.audit_events e
JOIN hansard.users u USING (user_id)
WHERE e.kind = 'conversation_erased' AND u.name = 'ann';
SELECT is_empty('SELECT FROM hansard.messages WHERE text IS NOT NULL', 'now no word is left in the record');

SELECT * FROM finish();
ROLLBACK;
