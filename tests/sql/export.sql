-- What a caller, and an operator for him, can take away: all his conversations, page by page, and nobody else's.
BEGIN;
SELECT plan(35);
SELECT help.worker('w');
SELECT help.caller('ann', 'free');
SELECT help.caller('bob', 'free');
SELECT help.caller('eve', 'free');
SELECT hansard_admin.revoke_key(hansard.key_id(help.hash('eve')));

CREATE FUNCTION pg_temp.turn(session text, caller text, words text) RETURNS text
LANGUAGE sql
AS $$
    SELECT help.finishes(jsonb_build_object('worker', 'w', 'session', a.session, 'caller', a.caller, 'turn', o.turn_no,
                                            'conversation', o.conversation_id, 'answer', 'answer to ' || words))
    FROM (SELECT session, caller) AS a,
         help.ask('w', jsonb_strip_nulls(jsonb_build_object('session', session, 'caller', caller, 'words', words))) AS o
$$;
CREATE FUNCTION pg_temp.list(caller text, after_id uuid DEFAULT '00000000-0000-0000-0000-000000000000', most integer DEFAULT 50)
RETURNS jsonb
LANGUAGE sql
AS $$ SELECT hansard_api.list_conversations(help.hash(caller), after_id, most)::jsonb $$;
CREATE FUNCTION pg_temp.read(caller text, session text, conversation uuid) RETURNS jsonb
LANGUAGE sql
AS $$ SELECT hansard_api.read_conversation(CASE WHEN caller IS NOT NULL THEN help.hash(caller) END, session, 0, 50, 65536,
                                           conversation)::jsonb $$;
CREATE FUNCTION pg_temp.export(caller text, after_id uuid DEFAULT '00000000-0000-0000-0000-000000000000',
                               after_turn integer DEFAULT 0, turns integer DEFAULT 50, bytes integer DEFAULT 65536)
RETURNS TABLE (n bigint, conversation_id uuid, turn_no integer, line jsonb)
LANGUAGE sql
AS $$
    SELECT row_number() OVER (), e.conversation_id, e.turn_no, e.line::jsonb
    FROM hansard_admin.export_user(caller, after_id, after_turn, turns, bytes) e
$$;

SELECT is(pg_temp.list('ann'), '{"conversations": [], "next_after": null}', 'who said nothing has an empty list');
SELECT is_empty($$SELECT * FROM pg_temp.export('ann')$$, '... and an empty export');
SELECT pg_temp.turn('a', 'ann', 'one'), pg_temp.turn('b', 'ann', 'two');
SELECT pg_temp.turn('a', 'bob', 'of bob'), pg_temp.turn('a', NULL, 'of nobody');
UPDATE hansard.sessions SET last_activity = now() - interval '2 days' WHERE session_key = help.session_key('a', 'ann');
SELECT pg_temp.turn('a', 'ann', 'three'), pg_temp.turn('a', 'ann', 'four');
CREATE TEMP TABLE talks AS
SELECT row_number() OVER (ORDER BY c.conversation_id) AS n, c.* FROM hansard.conversations c JOIN hansard.users u USING (user_id)
WHERE u.name = 'ann';
CREATE FUNCTION pg_temp.talk(place bigint) RETURNS uuid
LANGUAGE sql
AS $$ SELECT conversation_id FROM talks WHERE n = place $$;

-- The list.
CREATE TEMP TABLE told AS SELECT t.n, t.talk FROM jsonb_array_elements(pg_temp.list('ann') -> 'conversations')
WITH ORDINALITY AS t (talk, n);
SELECT results_eq('SELECT (talk ->> ''conversation_id'')::uuid FROM told ORDER BY n',
                  'SELECT conversation_id FROM talks ORDER BY n', 'all of her conversations, oldest first');
SELECT results_eq($$SELECT talk ->> 'session_id', (talk ->> 'current')::boolean, (talk ->> 'turns')::integer FROM told ORDER BY n$$,
                  $$VALUES ('a', false, 1), ('b', true, 1), ('a', true, 2)$$, 'with session, whether it is its current one, turns');
SELECT is(talk ->> 'created_at', hansard.iso_time(created_at), 'with the time it began') FROM told JOIN talks USING (n) WHERE n = 1;
SELECT is(talk ->> 'last_turn_at', (SELECT hansard.iso_time(max(accepted_at)) FROM hansard.turns WHERE conversation_id = pg_temp.talk(3)),
          '... and of its newest turn') FROM told WHERE n = 3;
SELECT is((SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(talk) k),
          '{conversation_id,created_at,current,last_turn_at,session_id,turns}', 'and nothing else') FROM told WHERE n = 1;
SELECT is(jsonb_array_length(pg_temp.list('ann', most => 2) -> 'conversations'), 2, 'a page has so many at most');
SELECT is((pg_temp.list('ann', most => 2) ->> 'next_after')::uuid, pg_temp.talk(2), '... and tells where the next begins');
SELECT is(pg_temp.list('ann', pg_temp.talk(2), 2) #>> '{conversations,0,conversation_id}', pg_temp.talk(3)::text, 'it does');
SELECT is(pg_temp.list('ann', pg_temp.talk(2), 2) -> 'next_after', 'null', '... and is the last');
SELECT is(pg_temp.list('ann', most => 3) -> 'next_after', 'null', 'nothing follows a full page that is the last');
SELECT is(pg_temp.list('ann', pg_temp.talk(3)) -> 'conversations', '[]', 'nor anything after the last');
SELECT is(jsonb_array_length(pg_temp.list('bob') -> 'conversations'), 1, 'bob has his own');
SELECT throws_ok($$SELECT pg_temp.list('eve')$$, 'HS401', NULL, 'a revoked key is refused');
SELECT throws_ok($$SELECT pg_temp.list('nobody')$$, 'HS401', NULL, 'an unknown key is refused');
SELECT throws_ok($$SELECT pg_temp.list(NULL)$$, 'HS401', NULL, 'no key is refused: there is nobody to list for');

-- A past conversation.
SELECT is(pg_temp.read('ann', 'a', pg_temp.talk(1)) #>> '{turns,0,messages,0,content}', 'one', 'a past conversation can be read');
SELECT is(pg_temp.read('ann', 'a', pg_temp.talk(1)) ->> 'conversation_id', pg_temp.talk(1)::text, 'and tells its id');
SELECT is(pg_temp.read('ann', 'a', pg_temp.talk(3)), pg_temp.read('ann', 'a', NULL), 'the current one by its id is the current one');
SELECT throws_ok($$SELECT pg_temp.read('ann', 'b', pg_temp.talk(1))$$, 'HS404', NULL, 'not under another session');
SELECT throws_ok($$SELECT pg_temp.read('bob', 'a', pg_temp.talk(1))$$, 'HS404', NULL, 'not by somebody else');
SELECT throws_ok($$SELECT pg_temp.read(NULL, 'a', pg_temp.talk(1))$$, 'HS404', NULL, 'nor by nobody');
SELECT throws_ok($$SELECT pg_temp.read('ann', 'a', help.id('x'))$$, 'HS404', NULL, 'nor is there what was never there');

-- The export.
SELECT results_eq($$SELECT conversation_id, turn_no, line #>> '{messages,0,content}', line #>> '{messages,1,content}' FROM pg_temp.export('ann') ORDER BY n$$,
                  $$SELECT pg_temp.talk(t), no, w, 'answer to ' || w FROM (VALUES (1, 1, 'one'), (2, 1, 'two'), (3, 1, 'three'),
                                                                                (3, 2, 'four')) AS v (t, no, w)$$,
                  'every turn, oldest conversation first');
SELECT is(line - '{messages,accepted_at,finished_at,request_id,idempotency_key,address}'::text[],
          jsonb_build_object('conversation_id', pg_temp.talk(1), 'session_id', 'a', 'turn', 1, 'status', 'completed',
                             'error', NULL, 'model', NULL, 'prompt_tokens', NULL, 'completion_tokens', NULL),
          'a turn tells what it was') FROM pg_temp.export('ann') WHERE n = 1;
SELECT is(ROW(line ->> 'address', line ->> 'idempotency_key', line ->> 'request_id', line ->> 'accepted_at'),
          ROW(t.address, t.idempotency_key, t.request_id::text, hansard.iso_time(t.accepted_at)), '... and all that is kept of the caller')
FROM pg_temp.export('ann') e JOIN hansard.turns t USING (conversation_id, turn_no) WHERE n = 1;
SELECT is((SELECT array_agg(turn_no ORDER BY n) FROM pg_temp.export('ann', turns => 3)), '{1,1,1}', 'a page has so many turns at most');
SELECT is((SELECT array_agg(turn_no ORDER BY n) FROM pg_temp.export('ann', pg_temp.talk(3), 1)), '{2}', 'the next goes on within a conversation');
SELECT is((SELECT count(*) FROM pg_temp.export('ann', bytes => 40)), 2::bigint, 'a page has so many bytes at most');
SELECT is((SELECT count(*) FROM pg_temp.export('ann', bytes => 1)), 1::bigint, '... but always a turn');
SELECT is_empty($$SELECT * FROM pg_temp.export('ann', pg_temp.talk(3), 2)$$, 'after the last there is nothing');
SELECT throws_ok($$SELECT pg_temp.export('nobody')$$, 'HS404', 'there is no user "nobody"', 'of whom nobody heard there is none');
SELECT lives_ok($$SELECT hansard_api.erase_conversation(help.hash('ann'), 'a', help.id('r')::text)$$, 'what was erased');
SELECT is((SELECT array_agg(line ->> 'session_id') FROM pg_temp.export('ann'))
          || (SELECT array_agg(c ->> 'session_id') FROM jsonb_array_elements(pg_temp.list('ann') -> 'conversations') c), '{b,b}',
          '... is not there any more');

SELECT * FROM finish();
ROLLBACK;
