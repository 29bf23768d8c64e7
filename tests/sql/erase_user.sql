-- What operators erase: a user with all his sessions, part by part, or one session.
BEGIN;
SELECT plan(35);
SELECT help.worker('w');
SELECT help.caller('ann', 'free');
SELECT help.caller('bob', 'free');

CREATE FUNCTION pg_temp.erase(name text, account boolean DEFAULT false, most integer DEFAULT 1000) RETURNS text
LANGUAGE sql
AS $$ SELECT e::text FROM hansard_admin.erase_user(name, account, most) e $$;
CREATE FUNCTION pg_temp.erase_session(owner text, session text, most integer DEFAULT 1000) RETURNS text
LANGUAGE sql
AS $$ SELECT e::text FROM hansard_admin.erase_session(owner, session, most) e $$;
CREATE VIEW pg_temp.events AS SELECT kind, user_id, request_id, detail FROM hansard.audit_events;
CREATE FUNCTION pg_temp.turn(session text, caller text, words text) RETURNS text
LANGUAGE sql
AS $$
    SELECT help.finishes(jsonb_build_object('worker', 'w', 'session', a.session, 'caller', a.caller, 'turn', o.turn_no,
                                            'conversation', o.conversation_id, 'answer', 'answer to ' || words))
    FROM (SELECT session, caller) AS a,
         help.ask('w', jsonb_strip_nulls(jsonb_build_object('session', session, 'caller', caller, 'words', words))) AS o
$$;

-- Ann: three sessions, one of them with a conversation that expired before. Bob, and one without a key.
SELECT pg_temp.turn('a', 'ann', 'one'), pg_temp.turn('b', 'ann', 'two');
UPDATE hansard.sessions SET last_activity = now() - interval '2 days' WHERE session_key = help.session_key('b', 'ann');
SELECT pg_temp.turn('b', 'ann', 'three'), pg_temp.turn('b', 'ann', 'four'), pg_temp.turn('c', 'ann', 'five');
SELECT pg_temp.turn('a', 'bob', 'six'), pg_temp.turn('a', NULL, 'seven');
SELECT help.outcomes('w', '{"session": "c", "caller": "ann", "words": "open"}');
CREATE TEMP TABLE ann AS SELECT c.conversation_id FROM hansard.conversations c JOIN hansard.users u USING (user_id)
WHERE u.name = 'ann';
CREATE TEMP TABLE hashes AS SELECT m.conversation_id, m.turn_no, m.position, m.text_hash, m.chain_hash FROM hansard.messages m
JOIN ann USING (conversation_id);
CREATE TEMP TABLE others AS SELECT m.* FROM hansard.messages m LEFT JOIN ann a USING (conversation_id)
WHERE a.conversation_id IS NULL;
SELECT is((SELECT count(*) FROM ann), 4::bigint, 'ann has four conversations');
SELECT is((SELECT count(*) FROM others), 4::bigint, 'others have words, too');

-- Part by part.
SELECT is(pg_temp.erase('ann', false, 1), '(1,1,2,0,f)', 'one turn at most, and there is more');
SELECT is((SELECT array_agg(DISTINCT m.conversation_id) FROM hansard.messages m JOIN ann USING (conversation_id)
           WHERE m.text IS NULL),
          ARRAY[(SELECT conversation_id FROM ann ORDER BY conversation_id LIMIT 1)], 'the oldest conversation goes first');
SELECT is_empty($$SELECT FROM pg_temp.events WHERE kind = 'user_erased'$$, 'the user is not erased yet');
SELECT is((SELECT count(*) FROM hansard.sessions s WHERE s.session_key = help.session_key('b', 'ann')), 1::bigint,
          'a session whose current conversation is still there stays');
SELECT is(pg_temp.erase('ann', false, 3), '(2,3,6,0,f)', 'as many as fit');
SELECT is(pg_temp.erase('ann', false, 3), '(1,2,3,1,t)', 'the last, whose open turn is cancelled');
SELECT is_empty('SELECT FROM hansard.messages m JOIN ann USING (conversation_id) WHERE m.text IS NOT NULL OR m.salt IS NOT NULL',
                'no word and no salt of ann is left');
SELECT is_empty($$SELECT FROM hansard.turns t JOIN ann USING (conversation_id)
                  WHERE t.address IS NOT NULL OR t.fingerprint <> '' OR t.idempotency_key !~ '^erased·[0-9]+$'$$,
                'nor an address, a fingerprint, a key');
SELECT is_empty('SELECT FROM hansard.conversations c JOIN ann USING (conversation_id) WHERE c.session_id IS NOT NULL',
                'nor the name of a session');
SELECT is_empty($$SELECT FROM hansard.sessions s JOIN hansard.users u USING (user_id) WHERE u.name = 'ann'$$, 'nor a session');
SELECT set_eq('SELECT m.conversation_id, m.turn_no, m.position, m.text_hash, m.chain_hash FROM hansard.messages m
               JOIN ann USING (conversation_id)', 'SELECT * FROM hashes', 'rows and hashes stay');
SELECT set_eq('SELECT m.* FROM hansard.messages m LEFT JOIN ann a USING (conversation_id) WHERE a.conversation_id IS NULL',
              'SELECT * FROM others', 'the words of others stay');

-- What is noted.
SELECT is((SELECT sum((detail ->> 'messages')::integer) FROM pg_temp.events WHERE kind = 'conversation_erased'), 11::bigint,
          'each part is noted with its counts');
SELECT set_eq($$SELECT jsonb_array_elements_text(detail -> 'conversation_ids')::uuid FROM pg_temp.events
                WHERE kind = 'conversation_erased'$$, 'SELECT conversation_id FROM ann', '... and its conversations');
SELECT is((SELECT detail FROM pg_temp.events WHERE kind = 'user_erased'),
          jsonb_build_object('conversations', 4, 'account', false, 'by', session_user), 'and the whole, by whom');
SELECT is((SELECT count(*) FROM pg_temp.events e JOIN hansard.users u USING (user_id)
           WHERE u.name = 'ann' AND e.kind ~ 'erased' AND e.request_id IS NULL), 4::bigint, 'all of them concern ann');

-- The account is another matter.
SELECT is(help.outcomes('w', '{"session": "a", "caller": "ann", "words": "again"}'), 'accepted', 'ann may go on');
SELECT is(pg_temp.erase('ann', true), '(0,0,0,0,f)', 'with the account, keys are revoked at first');
SELECT is(help.outcomes('w', '{"session": "a", "caller": "ann"}'), 'HS401', 'her key is refused');
SELECT is(pg_temp.erase('ann', true), '(1,1,1,1,f)', 'then words are erased; some may still be on the way');
SELECT is((SELECT count(*) FROM hansard.users WHERE name = 'ann'), 1::bigint, 'so she has her name');
UPDATE hansard.api_keys SET revoked_at = clock_timestamp() - interval '7 seconds' WHERE revoked_at IS NOT NULL;
SELECT is(pg_temp.erase('ann', true), '(0,0,0,0,t)', 'when none can be, it is done');
SELECT is_empty($$SELECT FROM hansard.users WHERE name = 'ann'$$, 'her name is gone');
SELECT is((SELECT count(*) FROM hansard.users WHERE name = 'erased-' || user_id), 1::bigint, 'her row is not');
SELECT is((SELECT count(*) FROM pg_temp.events WHERE kind = 'key_revoked'), 1::bigint, 'the key''s end is noted');
SELECT throws_ok($$SELECT pg_temp.erase('ann')$$, 'HS404', 'there is no user "ann"', 'there is no ann any more');

-- One session.
SELECT throws_ok($$SELECT pg_temp.erase_session('bob', 'b')$$, 'HS404', 'there is no session "b" of user "bob"',
                 'bob has no such session');
SELECT throws_ok($$SELECT pg_temp.erase_session(NULL, 'b')$$, 'HS404', NULL, 'nor has anybody without a key');
SELECT throws_ok($$SELECT pg_temp.erase_session('nobody', 'b')$$, 'HS404', 'there is no user "nobody"', 'nor is there such a user');
SELECT is(pg_temp.erase_session(NULL, 'a'), '(1,1,2,0,t)', 'that of a caller without a key is erased');
SELECT is((SELECT count(*) FROM hansard.messages WHERE text ~ 'six'), 2::bigint, 'bob''s of the same name is not');
SELECT is(pg_temp.erase_session('bob', 'a'), '(1,1,2,0,t)', 'bob''s is, when it is meant');
SELECT is_empty('SELECT FROM hansard.messages WHERE text IS NOT NULL', 'now no word is left in the record');

SELECT * FROM finish();
ROLLBACK;
