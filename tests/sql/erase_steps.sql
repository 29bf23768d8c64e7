-- What is too long for one transaction is erased in steps: closed at once, blanked bit by bit, and counted in the end.
BEGIN;
SELECT plan(64);
SELECT help.worker('w');
SELECT help.caller('ann', 'free');

CREATE FUNCTION pg_temp.erase(session text) RETURNS jsonb
LANGUAGE sql
AS $$ SELECT hansard_api.erase_conversation(help.hash('ann'), session, help.id('request ' || session)::text, true)::jsonb -> 'erased' $$;
-- A session of ann's with so many answered turns, and one that is open.
CREATE FUNCTION pg_temp.long(session text, turns integer) RETURNS uuid
LANGUAGE plpgsql
AS $$
DECLARE
    talk uuid;
BEGIN
    PERFORM help.outcomes('w', jsonb_build_object('caller', 'ann', 'session', session, 'words', 'first'));
    SELECT s.conversation_id INTO talk FROM hansard.sessions s WHERE s.session_key = help.session_key(session, 'ann');
    INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, address, attempt, accepted_at, finished_at)
    SELECT talk, n, 'completed', 'k' || n, '\x01', gen_random_uuid(), '192.0.2.1', 1, now(), now() FROM generate_series(2, turns) n;
    INSERT INTO hansard.messages
    SELECT talk, n, p, 'user', 'words', now(), '0123456789abcdef', hansard.text_hash('0123456789abcdef', 'words'), ''
    FROM generate_series(2, turns) n, generate_series(1, 2) p;
    RETURN talk;
END
$$;
-- "turns blanked, messages blanked, of so many"
CREATE FUNCTION pg_temp.gone(talk uuid) RETURNS text
LANGUAGE sql
AS $$ SELECT concat_ws(', ', (SELECT count(*) FROM hansard.turns WHERE conversation_id = talk AND fingerprint = '' AND address IS NULL AND idempotency_key ~ '^erased'),
                       (SELECT count(*) FROM hansard.messages WHERE conversation_id = talk AND text IS NULL AND salt IS NULL),
                       (SELECT count(*) FROM hansard.messages WHERE conversation_id = talk)) $$;
CREATE TEMP VIEW events AS
SELECT e.event_id, e.user_id, e.request_id, e.detail - 'conversation_ids' AS counts, e.detail -> 'conversation_ids' AS ids
FROM hansard.audit_events e WHERE e.kind = 'conversation_erased';

-- 2,500 turns, by their owner.
CREATE TEMP TABLE talk AS SELECT pg_temp.long('s', 2500) AS id, pg_temp.long('other', 3) AS other;
SELECT is(pg_temp.erase('s'), NULL, 'a first step does not do');
SELECT is(pg_temp.gone(id), '1000, 1999, 4999', '... and has a part of the words') FROM talk;
SELECT is(count(*), 0::bigint, 'the session is gone') FROM hansard.sessions WHERE session_id = 's';
SELECT throws_ok($$SELECT hansard_api.read_conversation(help.hash('ann'), 's', 0, 10, 65536, id) FROM talk$$, 'HS404', NULL,
                 'nobody reads it any more');
SELECT throws_ok($$SELECT hansard_api.read_job(help.hash('ann'), id, 2500) FROM talk$$, 'HS404', NULL, '... not one turn');
SELECT is(hansard_api.list_conversations(help.hash('ann'), '00000000-0000-0000-0000-000000000000', 10)::jsonb #>> '{conversations,0,session_id}',
          'other', '... nor finds it');
SELECT is_empty($$SELECT FROM hansard_admin.export_user('ann', '00000000-0000-0000-0000-000000000000', 0, 9, 9), talk WHERE conversation_id = id$$,
                '... nor has a copy made');
SELECT is(state::text || finished_at, 'cancelled' || finished_at, 'the open turn is cancelled') FROM hansard.turns, talk WHERE conversation_id = id AND turn_no = 1;
SELECT is(help.finishes(jsonb_build_object('caller', 'ann', 'worker', 'w', 'turn', 1, 'conversation', id)), 'HS499', '... and its answer too late') FROM talk;
SELECT is(ROW(turns, messages, after_turn, is_blank), ROW(1000, 1999, 1000, false), 'it is known how far it has come') FROM hansard.erasures;
SELECT is_empty($$SELECT v.* FROM talk, hansard_audit.verify(id) v WHERE v.problem ~ '^(session id|words)'$$, 'who checks the chain meanwhile sees no hand in it');
SELECT is((SELECT string_agg(DISTINCT p.problem, '') FROM (
              SELECT v.problem FROM talk, hansard_audit.verify(id) v WHERE v.problem ~ '^words') p), NULL, '... of any kind');
SELECT is(pg_temp.erase('s'), NULL, 'nor does a second');
SELECT is(pg_temp.gone(id), '2000, 3999, 4999', '... which goes on') FROM talk;
SELECT is(pg_temp.erase('s'), '{"conversations": 1, "turns": 2500, "messages": 4999, "cancelled": 1}'::jsonb, 'the last one has counted all');
SELECT is(pg_temp.gone(id), '2500, 4999, 4999', 'no word is left') FROM talk;
SELECT is(count(*), 0::bigint, 'it is done') FROM hansard.erasures;
SELECT throws_ok($$SELECT pg_temp.erase('s')$$, 'HS404', NULL, 'there is nothing to erase any more');
SELECT is(pg_temp.gone(other), '0, 0, 5', 'other sessions are left alone') FROM talk;
SELECT is(array_agg(counts ORDER BY event_id), ARRAY['{"conversations": 1, "turns": 1000, "messages": 1999, "cancelled": 1}',
              '{"conversations": 0, "turns": 1000, "messages": 2000, "cancelled": 0}',
              '{"conversations": 0, "turns": 500, "messages": 1000, "cancelled": 0}']::jsonb[], 'each step is an event with its counts') FROM events;
SELECT is((SELECT array_agg(DISTINCT ids) FROM events), ARRAY[jsonb_build_array(id)], '... which names the conversation') FROM talk;
SELECT set_eq('SELECT u.name, e.request_id FROM events e JOIN hansard.users u USING (user_id)',
              $$VALUES ('ann', help.id('request s'))$$, '... whose it was, and the request');
DELETE FROM hansard.audit_events WHERE kind = 'conversation_erased';

-- As many as a step takes.
SELECT pg_temp.long('thousand', 1000);
SELECT is(pg_temp.erase('thousand'), '{"conversations": 1, "turns": 1000, "messages": 1999, "cancelled": 1}'::jsonb, 'a thousand turns are one step');
SELECT pg_temp.long('and one', 1001);
SELECT is(pg_temp.erase('and one'), NULL, 'one more is one more');
SELECT is(pg_temp.erase('and one') ->> 'turns', '1001', '... which is counted');

-- What begins anew meanwhile is erased, too: the answer says that nothing is left.
SELECT pg_temp.long('busy', 1500);
SELECT is(pg_temp.erase('busy'), NULL, 'a step');
SELECT is(help.outcomes('w', '{"caller": "ann", "session": "busy", "words": "again"}'), 'accepted', 'somebody says something');
SELECT is(pg_temp.erase('busy'), '{"conversations": 2, "turns": 1501, "messages": 3000, "cancelled": 2}'::jsonb, 'it goes with the rest');
SELECT is(count(*), 0::bigint, '... and its session') FROM hansard.sessions WHERE session_id = 'busy';

-- Many short ones.
DO $$ BEGIN FOR n IN 1..3 LOOP PERFORM pg_temp.long('many', 600); UPDATE hansard.sessions SET last_activity = now() - interval '2 days', open_turn = NULL, open_worker = NULL
      WHERE session_id = 'many'; UPDATE hansard.turns SET state = 'failed', finished_at = now() WHERE state = 'running'; END LOOP; END $$;
SELECT is(pg_temp.erase('many'), NULL, 'three conversations with 1,800 turns');
SELECT is(array_agg(ROW(turns, is_blank)::text ORDER BY conversation_id), '{"(600,t)","(400,f)","(0,f)"}', 'the second is begun') FROM hansard.erasures;
SELECT is(pg_temp.erase('many'), '{"conversations": 3, "turns": 1800, "messages": 3597, "cancelled": 0}'::jsonb, 'all are counted');

-- Whoever asked is gone: a worker goes on.
DELETE FROM hansard.audit_events WHERE kind = 'conversation_erased';
UPDATE talk SET id = pg_temp.long('left', 3500);
SELECT is(hansard_api.go_on_erasing(NULL), NULL, 'nothing was left half-way');
SELECT is(pg_temp.erase('left'), NULL, 'a step is made');
SELECT is(hansard_api.go_on_erasing(NULL), NULL, 'a moment later nobody goes on in his place');
SELECT is(pg_temp.gone(id), '1000, 1999, 6999', '... nothing has been done') FROM talk;
UPDATE hansard.erasures SET step_at = now() - interval '31 seconds';
SELECT is(hansard_api.go_on_erasing(NULL), help.session_key('left', 'ann'), 'half a minute later somebody does');
SELECT is(hansard_api.go_on_erasing(NULL), NULL, '... and no other');
SELECT is(hansard_api.go_on_erasing(help.session_key('left', 'ann')), help.session_key('left', 'ann'), '... he goes on at once');
SELECT is(pg_temp.gone(id), '3000, 5999, 6999', '... step by step') FROM talk;
SELECT is(hansard_api.go_on_erasing(help.session_key('left', 'ann')), NULL, '... to the end');
SELECT is(pg_temp.gone(id), '3500, 6999, 6999', 'no word is left') FROM talk;
SELECT is(count(*), 0::bigint, 'it is done') FROM hansard.erasures;
SELECT is(array_agg(DISTINCT request_id), ARRAY[help.id('request left')], 'the events are those of the request') FROM events;
SELECT is(hansard_api.go_on_erasing(help.session_key('left', 'ann')), NULL, 'a session of which nothing is left');
SELECT throws_ok($$SELECT pg_temp.erase('left')$$, 'HS404', NULL, 'whoever asks again finds nothing');

-- A worker of the release before does not ask again.
SELECT pg_temp.long('at once', 2500);
SELECT is(hansard_api.erase_conversation(help.hash('ann'), 'at once', help.id('r')::text)::jsonb -> 'erased',
          '{"conversations": 1, "turns": 2500, "messages": 4999, "cancelled": 1}', 'who does not ask for steps has all of it at once');
SELECT is(count(*), 0::bigint, '... to the end') FROM hansard.erasures;
SELECT throws_ok($$SELECT hansard_api.erase_conversation(help.hash('ann'), 'at once', help.id('r')::text)$$, 'HS404', NULL, '... and once');
DELETE FROM hansard.audit_events WHERE request_id = help.id('r');

-- What retention has dropped meanwhile.
INSERT INTO hansard.erasures (conversation_id, session_key, cancelled, step_at) VALUES (help.id('dropped'), '\x01', 0, now() - interval '1 day');
SELECT is(hansard_api.go_on_erasing(NULL), NULL, 'of a conversation that has been dropped');
SELECT is(ROW((SELECT count(*) FROM hansard.erasures), (SELECT count(*) FROM events WHERE ids ? help.id('dropped')::text)), ROW(0::bigint, 0::bigint),
          '... nothing is left, and nothing noted');

-- By an operator.
UPDATE talk SET id = pg_temp.long('long', 25);
SELECT is((SELECT e FROM hansard_admin.erase_session('ann', 'long', 10) e), ROW(1, 10, 19, 1, false), 'an operator''s step');
SELECT is((SELECT e FROM hansard_admin.erase_session('ann', 'long', 10) e), ROW(0, 10, 20, 0, false), '... another');
SELECT is((SELECT e FROM hansard_admin.erase_session('ann', 'long', 10) e), ROW(0, 5, 10, 0, true), '... and the last');
SELECT is(pg_temp.gone(id), '25, 49, 49', 'no word is left') FROM talk;
SELECT is(count(*), 3::bigint, 'his role is noted with each') FROM events WHERE counts ->> 'by' = session_user AND request_id IS NULL AND user_id IS NOT NULL;
UPDATE talk SET id = pg_temp.long('long', 12);
SELECT is((SELECT e FROM hansard_admin.erase_user('ann', false, 10) e), ROW(1, 3, 5, 0, false), 'all of a user''s: first the short one');
SELECT is((SELECT e FROM hansard_admin.erase_user('ann', false, 10) e), ROW(1, 10, 19, 1, false), '... then a part of the long one');
SELECT is((SELECT e FROM hansard_admin.erase_user('ann', false, 10) e), ROW(0, 2, 4, 0, true), '... then the rest');
SELECT is(count(*), 1::bigint, '... which is the end') FROM hansard.audit_events WHERE kind = 'user_erased';

-- The host of a webhook that was given up.
CREATE FUNCTION pg_temp.hosts() RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(concat_ws(' ', detail ->> 'attempts', detail ->> 'host'), ', ' ORDER BY detail ->> 'attempts') FROM hansard.audit_events WHERE kind = 'webhook_given_up' $$;
UPDATE talk SET id = pg_temp.long('told', 3), other = pg_temp.long('kept', 3);
UPDATE hansard.turns SET is_job = true FROM talk WHERE conversation_id IN (id, other);
SELECT hansard.note_webhook_given_up(id, 2, 'https://ann.example/x', 1), hansard.note_webhook_given_up(other, 2, 'https://kept.example/x', 2) FROM talk;
SELECT is(pg_temp.hosts(), '1 ann.example, 2 kept.example', 'two were given up');
SELECT pg_temp.erase('told');
SELECT is(pg_temp.hosts(), '1, 2 kept.example', 'an erasure takes the host out of the event');
SELECT is((hansard.blank_turns(other, 'infinity', 0, 10))[1], 2, 'retention takes turns') FROM talk;
SELECT is(pg_temp.hosts(), '1, 2', '... and the host with them');

SELECT * FROM finish();
ROLLBACK;
