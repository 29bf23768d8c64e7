-- Erasure takes jobs with it: nobody answers what was erased.
BEGIN;
SELECT plan(28);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.capped('gold', NULL, 10000, 300);
CREATE FUNCTION pg_temp.erase(session text) RETURNS jsonb
LANGUAGE sql
AS $$ SELECT hansard_api.erase_conversation(help.hash('gold'), session, help.id('request')::text)::jsonb -> 'erased' $$;

-- One runs, one is queued.
SELECT help.outcomes('w', '{"caller": "gold", "job": true, "words": "one"}');
SELECT help.outcomes('w', '{"caller": "gold", "job": true, "words": "two", "key": "k", "webhook": "https://example.org/told"}');
SELECT help.outcomes('w', '{"caller": "gold", "job": true, "words": "other", "session": "t"}');
CREATE TEMP TABLE doomed AS SELECT conversation_id FROM hansard.sessions WHERE session_id = 's';
SELECT is(help.claim('w', 1), 's 1 1 one', 'a job runs');
SELECT is(help.counted('gold'), '3, 901, 0', 'so much is held');
SELECT is(pg_temp.erase('s'), '{"conversations": 1, "turns": 2, "messages": 2, "cancelled": 2}'::jsonb, 'its session is erased');
SELECT is_empty('SELECT FROM hansard.jobs JOIN doomed USING (conversation_id)', 'no job of it is left');
SELECT is(count(*), 1::bigint, '... those of others are') FROM hansard.jobs;
SELECT is(string_agg(t.state || ' ' || t.error_code, ', '), 'cancelled turn_cancelled, cancelled turn_cancelled', 'they are cancelled')
FROM hansard.turns t JOIN doomed USING (conversation_id);
SELECT is(help.counted('gold'), '1, 301, 300', 'what ran costs what was reserved, what was queued costs nothing');
SELECT is(cancels, 1, 'the worker that ran one will see it') FROM hansard.workers WHERE worker_id = help.id('w');
SELECT is(cancels, 0, '... and no other') FROM hansard.workers WHERE worker_id = help.id('v');
SELECT is(hansard_api.jobs_lost(help.id('w'), ARRAY[conversation_id], '{1}', '{1}'), '{1}', '... and is told, if it asks') FROM doomed;
SELECT throws_ok($$SELECT hansard_api.cancel_job(help.hash('gold'), conversation_id, 2) FROM doomed$$, 'HS404', NULL,
                 'what was erased cannot be cancelled');
SELECT throws_ok($$SELECT hansard_api.read_job(help.hash('gold'), conversation_id, 2) FROM doomed$$, 'HS404', NULL, '... nor read');
SELECT is(hansard_api.jobs_ended(ARRAY[conversation_id], '{2}'), '{1}', '... but who waited for it waits no more') FROM doomed;
CREATE TEMP TABLE before AS SELECT help.content();
SELECT is(help.finishes(jsonb_build_object('caller', 'gold', 'turn', 1, 'worker', 'w', 'conversation', conversation_id)), 'HS499',
          'the answer of what ran comes too late') FROM doomed;
SELECT is(help.finishes(jsonb_build_object('caller', 'gold', 'turn', 1, 'worker', 'w', 'conversation', conversation_id,
                                           'state', 'queued')), 'HS499', '... nor is it handed back') FROM doomed;
SELECT is(help.content(), content, '... and nothing is stored') FROM before;
SELECT is(help.claim('v'), 't 1 1 other', 'only what was not erased is claimed');

-- The session begins anew, with a job under the same number.
SELECT is(ROW(outcome, turn_no), ROW('queued'::text, 1), 'the session begins anew, keys with it')
FROM help.ask('w', '{"caller": "gold", "job": true, "words": "new", "key": "k"}');
SELECT is(help.claim('w'), 's 1 1 new', 'the worker that ran the erased one claims it');
SELECT is(help.finishes(jsonb_build_object('caller', 'gold', 'turn', 1, 'worker', 'w', 'conversation', conversation_id,
                                           'state', 'queued')), 'HS499', 'the erased one is not it') FROM doomed;
SELECT is(help.jobs(), 's 1 (test), t 1 (test)', '... which runs on');
SELECT is(help.finishes('{"caller": "gold"}'), 'finished', '... and is answered');

-- A live turn with jobs behind it, and a job whose worker is dead.
SELECT help.outcomes('w', '{"caller": "gold", "words": "live"}');
SELECT help.outcomes('w', '{"caller": "gold", "job": true, "words": "behind"}');
SELECT is(pg_temp.erase('s'), '{"conversations": 1, "turns": 3, "messages": 4, "cancelled": 2}'::jsonb, 'a live turn is erased with the jobs behind');
SELECT is(cancels, 1, 'nobody runs a job of it') FROM hansard.workers WHERE worker_id = help.id('w');
SELECT is(split_part(help.counted('gold'), ',', 1), '1', 'neither is held any more');
CREATE TEMP TABLE spent AS SELECT split_part(help.counted('gold'), ', ', 3) AS tokens;
SELECT help.silence('v', '13 seconds');
SELECT is(pg_temp.erase('t'), '{"conversations": 1, "turns": 1, "messages": 1, "cancelled": 1}'::jsonb, 'a job of a dead worker is erased');
SELECT is(help.counted('gold'), '0, 0, ' || tokens, '... and costs nothing') FROM spent;
SELECT is(help.jobs(), NULL, 'no job is left');

SELECT * FROM finish();
ROLLBACK;
