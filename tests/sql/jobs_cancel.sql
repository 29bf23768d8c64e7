-- A job can be cancelled until it has ended: by its owner, whether it is queued or runs.
BEGIN;
SELECT plan(57);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.capped('gold', NULL, 10000, 300);
SELECT help.caller('bob', 'paid');
SELECT help.caller('eve', 'paid');
SELECT hansard_admin.revoke_key(hansard.key_id(help.hash('eve')));
CREATE FUNCTION pg_temp.cancel(session text, turn integer, caller text DEFAULT 'gold', owner text DEFAULT 'gold') RETURNS jsonb
LANGUAGE sql
AS $$ SELECT hansard_api.cancel_job(CASE WHEN caller <> '' THEN help.hash(caller) END, s.conversation_id, turn)::jsonb
      FROM hansard.sessions s WHERE s.session_key = help.session_key(session, nullif(owner, '')) $$;
CREATE FUNCTION pg_temp.told() RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(concat(CASE worker_id WHEN help.id('w') THEN 'w ' ELSE 'v ' END, cancels), ', ' ORDER BY worker_id = help.id('v'))
      FROM hansard.workers $$;

SELECT help.outcomes('w', jsonb_build_object('job', true, 'words', w, 'caller', 'gold'))
FROM (VALUES ('one'), ('two'), ('three'), ('four'), ('five')) AS v (w);
SELECT help.outcomes('w', '[{"session": "live", "caller": "gold"}, {"session": "anon", "job": true}]');
SELECT is(help.counted('gold'), '6, 1804, 0', 'so much is held');

-- Who may not.
CREATE TEMP TABLE before AS SELECT help.content();
SELECT throws_ok($$SELECT pg_temp.cancel('s', 1, 'bob')$$, 'HS404', NULL, 'what is another''s is not there');
SELECT throws_ok($$SELECT pg_temp.cancel('s', 1, '')$$, 'HS404', NULL, '... for one without a key either');
SELECT throws_ok($$SELECT pg_temp.cancel('anon', 1, 'gold', '')$$, 'HS404', NULL, '... nor what is nobody''s for one with a key');
SELECT throws_ok($$SELECT pg_temp.cancel('s', 1, 'eve')$$, 'HS401', NULL, 'a revoked key is refused');
SELECT throws_ok($$SELECT pg_temp.cancel('s', 1, 'stranger')$$, 'HS401', NULL, 'an unknown key is refused');
SELECT throws_ok($$SELECT pg_temp.cancel('s', 6)$$, 'HS404', NULL, 'a turn that is not there is not there');
SELECT throws_ok($$SELECT pg_temp.cancel('live', 1)$$, 'HS404', NULL, '... nor is one that is no job');
SELECT throws_ok($$SELECT hansard_api.cancel_job(NULL, help.id('nothing'), 1)$$, 'HS404', NULL, '... nor a conversation');
SELECT is(help.content(), content, 'none of it changes anything') FROM before;

-- Queued, and ready.
SELECT is(pg_temp.cancel('s', 1) - 'job_id' - 'queued_at' - 'finished_at',
          '{"ended": true, "session_id": "s", "turn": 1, "status": "cancelled", "position": null, "attempts": 0, "started_at": null,
            "response": null, "model": null, "usage": null, "error": "turn_cancelled"}'::jsonb, 'a queued job is cancelled');
SELECT is(ROW(t.state::text, t.error_code, t.finished_at BETWEEN now() AND clock_timestamp()),
          ROW('cancelled'::text, 'turn_cancelled'::text, true), '... at once') FROM hansard.turns t WHERE t.state = 'cancelled';
SELECT is(help.jobs(), 'anon 1 (ready), s 2 (ready), s 3, s 4, s 5', 'the next one is ready');
SELECT is(ROW(s.jobs, s.open_turn, s.unanswered), ROW(4, NULL::int, 1), 'the session counts one less, and one unanswered')
FROM hansard.sessions s WHERE s.session_id = 's';
SELECT is(help.counted('gold'), '5, 1504, 0', 'it is held no more, and costs nothing');
SELECT is(pg_temp.told(), 'w 0, v 0', 'no worker has to know');
UPDATE before SET content = help.content();
SELECT is(pg_temp.cancel('s', 1) ->> 'status', 'cancelled', 'it is cancelled once, and told again');
SELECT is(help.content(), content, '... which changes nothing') FROM before;
SELECT is(ROW(outcome, status), ROW('known'::text, 'cancelled'::text), 'a repeat of it is told')
FROM help.ask('w', jsonb_build_object('job', true, 'words', 'one', 'caller', 'gold',
                                      'key', (SELECT idempotency_key FROM hansard.turns WHERE state = 'cancelled')));
SELECT is(ROW(outcome, error_code), ROW('replayed'::text, 'turn_cancelled'::text), '... and a live one')
FROM help.ask('w', jsonb_build_object('words', 'one', 'caller', 'gold',
                                      'key', (SELECT idempotency_key FROM hansard.turns WHERE state = 'cancelled')));

-- Queued, and behind another.
SELECT is(help.claim('w', 1), 's 2 1 two', 'a job runs');
SELECT is(help.claim('v', 1), 'anon 1 1 hello', '... and another');
SELECT is(pg_temp.cancel('s', 3) ->> 'status', 'cancelled', 'one behind is cancelled');
SELECT is(help.jobs(), 'anon 1 (test), s 2 (test), s 4, s 5', '... and none is ready for that');
SELECT is(ROW(s.jobs, s.open_turn, s.open_worker IS NOT NULL, s.unanswered), ROW(3, 2, true, 2), '... for the first runs on')
FROM hansard.sessions s WHERE s.session_id = 's';
SELECT is(pg_temp.told(), 'w 0, v 0', 'no worker has to know');

-- Running.
SELECT is(pg_temp.cancel('s', 2) ->> 'status', 'cancelled', 'one that runs is cancelled');
SELECT is(help.jobs(), 'anon 1 (test), s 4 (ready), s 5', '... and the next is ready');
SELECT is(ROW(s.jobs, s.open_turn, s.open_worker, s.unanswered), ROW(2, NULL::int, NULL::uuid, 3), '... for none is open')
FROM hansard.sessions s WHERE s.session_id = 's';
SELECT is(pg_temp.told(), 'w 1, v 0', 'its worker will see it, and no other');
SELECT is(help.counted('gold'), '3, 903, 300', 'it costs what was reserved');
SELECT is(ROW(t.started_at IS NOT NULL, t.attempt::int), ROW(true, 1), 'it was begun') FROM hansard.turns t WHERE t.turn_no = 2;
UPDATE before SET content = help.content();
SELECT is(help.finishes('{"caller": "gold", "turn": 2, "worker": "w"}'), 'HS499', 'its answer comes too late');
SELECT is(help.finishes('{"caller": "gold", "turn": 2, "worker": "w", "state": "queued"}'), 'HS499', '... nor is it handed back');
SELECT is(help.content(), content, 'neither changes anything') FROM before;
SELECT is(hansard_api.jobs_lost(help.id('w'), ARRAY[t.conversation_id], '{2}', '{1}'), '{1}', 'its worker is told, if it asks')
FROM hansard.turns t WHERE t.turn_no = 2;
SELECT is(pg_temp.cancel('s', 2) ->> 'status', 'cancelled', 'it is cancelled once, and told again');

-- After it was handed back, and after it was claimed again.
SELECT is(help.claim('w'), 's 4 1 four', 'the next runs');
SELECT is(help.finishes('{"caller": "gold", "state": "queued"}'), 'finished', 'it is handed back');
SELECT is(help.claim('v'), 's 4 2 four', '... and claimed again');
SELECT is(pg_temp.cancel('s', 4) ->> 'attempts', '2', '... and cancelled');
SELECT is(help.jobs(), 'anon 1 (test), s 5 (ready)', 'the last is ready');
SELECT is(help.claim('w'), 's 5 1 five', '... and claimed');
SELECT help.silence('w', '13 seconds');
SELECT is(pg_temp.cancel('s', 5) ->> 'status', 'cancelled', 'one whose worker is dead is cancelled');
SELECT is(ROW(s.jobs, s.open_turn, s.unanswered), ROW(0, NULL::int, 5), 'the session is at rest')
FROM hansard.sessions s WHERE s.session_id = 's';
SELECT is(help.outcomes('v', '{"caller": "gold", "key": "k"}'), 'accepted', '... and takes live turns');

-- Ended.
SELECT is(help.finishes('[{"caller": "gold", "state": "failed"}, {"session": "anon"}]'), 'finished finished', 'all end');
SELECT throws_ok($$SELECT pg_temp.cancel('anon', 1, '', '')$$, 'HS410', NULL, 'what is completed cannot be cancelled');
SELECT is(help.outcomes('v', '{"session": "anon", "job": true}'), 'queued', 'a job is queued');
SELECT is(pg_temp.cancel('anon', 2, '', '') ->> 'status', 'cancelled', 'one without a key cancels by the id alone');

-- How many were cancelled is told with the heartbeat, to who wants to know.
UPDATE hansard.workers SET cancels = 3 WHERE worker_id = help.id('v');
SELECT is((hansard_api.lease_permits(help.id('v'), 'a', 'test', 2, NULL, 0, 0, 0, 0, 5000, 8000, true))[4], 3,
          'the worker is told how many were cancelled');
SELECT is(array_length(hansard_api.lease_permits(help.id('v'), 'a', 'test', 3, NULL, 0, 0, 0, 0, 5000, 8000), 1), 3,
          '... if it asks');
SELECT is(cancels, 3, '... which changes nothing') FROM hansard.workers WHERE worker_id = help.id('v');
SELECT is((hansard_api.lease_permits(help.id('new'), 'a', 'test', 1, NULL, 0, 0, 0, 0, 5000, 8000, true))[4], 0, 'a new one starts at 0');

-- One whose worker is dead, and not yet buried.
SELECT help.capped('mourner', NULL, 10000, 300);
SELECT help.outcomes('w', '{"session": "m", "caller": "mourner", "job": true}');
SELECT matches(help.claim('v'), 'm 1', 'a job runs');
SELECT help.silence('v', '13 seconds');
SELECT is(pg_temp.cancel('m', 1, 'mourner', 'mourner') ->> 'status', 'cancelled', 'its worker is silent, and it is cancelled');
SELECT is(help.counted('mourner'), '0, 0, 0', '... and costs nothing, as if it had been buried first');

SELECT * FROM finish();
ROLLBACK;
