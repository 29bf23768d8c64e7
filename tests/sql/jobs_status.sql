-- What becomes of a job is told to whoever asked for it, and to nobody else.
BEGIN;
SELECT plan(43);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.caller('ann', 'paid');
SELECT help.caller('bob', 'paid');
SELECT help.caller('eve', 'paid');
SELECT hansard_admin.revoke_key(hansard.key_id(help.hash('eve')));
CREATE TEMP TABLE ids (name text, id uuid);
CREATE FUNCTION pg_temp.id(name text) RETURNS uuid
LANGUAGE sql
AS $$ SELECT id FROM ids i WHERE i.name = $1 $$;
CREATE FUNCTION pg_temp.job(name text, turn integer, caller text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql
AS $$ SELECT hansard_api.read_job(CASE WHEN caller IS NOT NULL THEN help.hash(caller) END, pg_temp.id(name), turn)::jsonb $$;
CREATE FUNCTION pg_temp.places() RETURNS text
LANGUAGE sql
AS $$
    SELECT string_agg(concat_ws(' ', s.session_id, j.turn_no, hansard.job_place(j.conversation_id, j.turn_no)), ', '
                      ORDER BY s.session_id, j.turn_no)
    FROM hansard.jobs j JOIN hansard.sessions s USING (session_key)
$$;

SELECT is(hansard_api.count_jobs(), '{0,0,0}', 'there are no jobs');
INSERT INTO ids SELECT 'ann', conversation_id FROM help.ask('w', '{"caller": "ann", "job": true, "words": "think"}');
INSERT INTO ids SELECT 'nobody', conversation_id FROM help.ask('w', '{"session": "t", "job": true}');
SELECT help.outcomes('w', '{"caller": "ann", "job": true, "words": "more"}');

-- Queued.
SELECT is(pg_temp.job('ann', 1, 'ann') - 'queued_at',
          jsonb_build_object('ended', false, 'job_id', pg_temp.id('ann') || '-1', 'session_id', 's', 'turn', 1, 'status', 'queued',
                             'position', 1, 'attempts', 0, 'started_at', NULL, 'finished_at', NULL, 'response', NULL, 'model', NULL,
                             'usage', NULL, 'error', NULL), 'a job that is queued');
SELECT is(pg_temp.job('ann', 1, 'ann') ->> 'queued_at', hansard.iso_time(accepted_at), '... since then')
FROM hansard.turns WHERE conversation_id = pg_temp.id('ann') AND turn_no = 1;
SELECT ok(hansard_api.read_job(help.hash('ann'), pg_temp.id('ann'), 1) LIKE '{"ended":false,%', 'whether it has ended comes first');
SELECT is(pg_temp.places(), 's 1 1, s 2 3, t 1 2', 'each has its place in line');
SELECT is(hansard_api.count_jobs(), '{3,2,0}', 'they are counted');

-- Whose it is.
SELECT throws_ok($$SELECT pg_temp.job('ann', 1, 'bob')$$, 'HS404', NULL, 'what is another''s is not there');
SELECT throws_ok($$SELECT pg_temp.job('ann', 1)$$, 'HS404', NULL, '... for one without a key either');
SELECT throws_ok($$SELECT pg_temp.job('nobody', 1, 'ann')$$, 'HS404', NULL, '... nor what is nobody''s for one with a key');
SELECT throws_ok($$SELECT pg_temp.job('ann', 1, 'eve')$$, 'HS401', NULL, 'a revoked key is refused');
SELECT throws_ok($$SELECT pg_temp.job('ann', 1, 'stranger')$$, 'HS401', NULL, 'an unknown key is refused');
SELECT throws_ok($$SELECT pg_temp.job('ann', 3, 'ann')$$, 'HS404', NULL, 'a turn that is not there is not there');
SELECT throws_ok($$SELECT hansard_api.read_job(NULL, help.id('nothing'), 1)$$, 'HS404', NULL, '... nor is a conversation');
SELECT is(pg_temp.job('nobody', 1) ->> 'status', 'queued', 'one without a key reads by the id alone');

-- Running.
SELECT is(help.claim('w', 1), 's 1 1 think', 'the job is claimed');
SELECT is(pg_temp.job('ann', 1, 'ann') - 'queued_at' - 'job_id',
          jsonb_build_object('ended', false, 'session_id', 's', 'turn', 1, 'status', 'running', 'position', NULL, 'attempts', 1,
                             'started_at', hansard.iso_time(t.started_at), 'finished_at', NULL, 'response', NULL, 'model', NULL,
                             'usage', NULL, 'error', NULL), 'a job that runs')
FROM hansard.turns t WHERE t.conversation_id = pg_temp.id('ann') AND t.turn_no = 1;
SELECT is(pg_temp.places(), 's 1, s 2 3, t 1 1', 'one that runs has no place, but is before those of its conversation');
SELECT is(hansard_api.count_jobs(), '{2,1,0}', 'it is queued no more');
SELECT is(help.finishes('{"caller": "ann", "state": "queued"}'), 'finished', 'it is handed back');
SELECT is(pg_temp.job('ann', 1, 'ann') ->> 'position', '1', '... to its place');
SELECT is(help.claim('w', 1), 's 1 2 think', 'it is claimed again');
SELECT is(pg_temp.job('ann', 1, 'ann') ->> 'attempts', '2', '... for another attempt');

-- Ended.
SELECT help.finishes('{"caller": "ann", "answer": "thought", "model": "demo", "prompt_tokens": 2000000000, "completion_tokens": 2000000000}');
SELECT is(pg_temp.job('ann', 1, 'ann') - 'queued_at' - 'job_id' - 'started_at',
          jsonb_build_object('ended', true, 'session_id', 's', 'turn', 1, 'status', 'completed', 'position', NULL, 'attempts', 2,
                             'finished_at', hansard.iso_time(t.finished_at), 'response', 'thought', 'model', 'demo',
                             'usage', '{"prompt_tokens": 2000000000, "completion_tokens": 2000000000, "total_tokens": 4000000000}'::jsonb,
                             'error', NULL), 'a job that is completed')
FROM hansard.turns t WHERE t.conversation_id = pg_temp.id('ann') AND t.turn_no = 1;
SELECT is(help.claim('w', 1), 't 1 1 hello', 'the next is claimed');
SELECT help.finishes('{"session": "t", "state": "failed"}');
SELECT is(pg_temp.job('nobody', 1) - 'queued_at' - 'job_id' - 'started_at' - 'finished_at',
          jsonb_build_object('ended', true, 'session_id', 't', 'turn', 1, 'status', 'failed', 'position', NULL, 'attempts', 1,
                             'response', NULL, 'model', NULL, 'usage', NULL, 'error', 'model_failed'), 'a job that failed');

-- A live turn.
SELECT help.outcomes('w', '{"session": "live", "caller": "ann"}');
INSERT INTO ids SELECT 'live', conversation_id FROM hansard.sessions WHERE session_id = 'live';
SELECT is(pg_temp.job('live', 1, 'ann') ->> 'status', 'running', 'a live turn can be read alike');
SELECT is(pg_temp.job('live', 1, 'ann') ->> 'started_at', pg_temp.job('live', 1, 'ann') ->> 'queued_at', '... which began at once');
SELECT throws_ok($$SELECT pg_temp.job('live', 1, 'bob')$$, 'HS404', NULL, '... by its owner only');

-- An older conversation of a session, and an erased one.
SELECT help.finishes('{"session": "live", "caller": "ann", "answer": "old"}');
UPDATE hansard.sessions SET last_activity = now() - interval '2 days' WHERE session_id = 'live';
SELECT help.outcomes('w', '{"session": "live", "caller": "ann"}');
SELECT is(pg_temp.job('live', 1, 'ann') ->> 'response', 'old', 'a turn of an older conversation can be read');
SELECT hansard_api.erase_conversation(help.hash('ann'), 'live', help.id('r')::text);
SELECT throws_ok($$SELECT pg_temp.job('live', 1, 'ann')$$, 'HS404', NULL, 'what was erased cannot');

-- For the worker that runs them, and for who waits.
SELECT help.outcomes('w', '[{"session": "a", "job": true}, {"session": "b", "job": true}, {"session": "c", "job": true}]');
SELECT is(help.claim('w', 10), 's 2 1 more, a 1 1 hello, b 1 1 hello, c 1 1 hello', 'jobs run');
INSERT INTO ids SELECT session_id, conversation_id FROM hansard.sessions WHERE session_id IN ('a', 'b', 'c');
CREATE FUNCTION pg_temp.lost(worker text, attempts integer[]) RETURNS integer[]
LANGUAGE sql
AS $$ SELECT hansard_api.jobs_lost(help.id(worker), ARRAY[pg_temp.id('a'), pg_temp.id('b'), pg_temp.id('c'), help.id('nothing')],
                                   '{1,1,1,1}', attempts) $$;
SELECT is(pg_temp.lost('w', '{1,1,1,1}'), '{4}', 'a worker has what it runs, but not what is not there');
SELECT is(pg_temp.lost('v', '{1,1,1,1}'), '{1,2,3,4}', '... and another does not');
SELECT is(pg_temp.lost('w', '{1,2,1,1}'), '{2,4}', '... nor by another attempt');
SELECT help.finishes('[{"session": "a"}, {"session": "b", "state": "queued"}]');
SELECT is(pg_temp.lost('w', '{1,1,1,1}'), '{1,2,4}', 'what has ended, or is queued, it has no more');
SELECT is(help.claim('v'), 'b 1 2 hello', 'another one claims');
SELECT is(pg_temp.lost('w', '{1,2,1,1}'), '{1,2,4}', 'what another has it has not');
SELECT is(pg_temp.lost('v', '{1,2,1,1}'), '{1,3,4}', '... but the other one has');
CREATE FUNCTION pg_temp.ended() RETURNS integer[]
LANGUAGE sql
AS $$ SELECT hansard_api.jobs_ended(ARRAY[pg_temp.id('a'), pg_temp.id('b'), pg_temp.id('c'), help.id('nothing')], '{1,1,1,1}') $$;
SELECT is(pg_temp.ended(), '{1,4}', 'one has ended, and what is not there');
SELECT help.finishes('[{"session": "b", "state": "failed"}, {"session": "c", "state": "queued"}]');
SELECT is(pg_temp.ended(), '{1,2,4}', 'one has failed; what is queued has not ended');
SELECT is(hansard_api.jobs_ended('{}', '{}'), '{}', 'of none there are none');
SELECT is(hansard_api.jobs_lost(help.id('w'), '{}', '{}', '{}'), '{}', '... here neither');
SELECT help.lease('w', '{"most": 7, "cap": 0}');
SELECT is(hansard_api.count_jobs(), '{1,1,7}', 'with the calls that are made at once');

SELECT * FROM finish();
ROLLBACK;
