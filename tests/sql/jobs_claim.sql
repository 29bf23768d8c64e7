-- Jobs are claimed by whoever has room: the longest queued first, one of a conversation, none twice.
BEGIN;
SELECT plan(57);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.caller('ann', 'paid');

SELECT is(help.claim('w'), NULL, 'where there are no jobs, none is claimed');
SELECT help.turn('w', 'b', 'hello', 'hi there');
SELECT help.turn('w', 'b', 'trouble', NULL);
SELECT help.outcomes('w', jsonb_build_object('session', s, 'job', true, 'words', w))
FROM (VALUES ('b', 'one'), ('a', 'two'), ('b', 'three'), ('d', 'four'), ('c', 'five')) AS v (s, w);
SELECT is(help.jobs(), 'a 1 (ready), b 3 (ready), b 4, c 1 (ready), d 1 (ready)', 'jobs are queued');

-- In order, as many as wanted.
SELECT is(help.claim('w', 2), 'b 3 1 one, a 1 1 two', 'so many are claimed, in the order they were queued');
SELECT is(help.jobs(), 'a 1 (test), b 3 (test), b 4, c 1 (ready), d 1 (ready)', '... by one worker');
SELECT is(help.claim('v', 1), 'd 1 1 four', 'the next is for the next, and not the second of a conversation');
SELECT is(help.claim('v', 10), 'c 1 1 five', '... until all are claimed');
SELECT is(help.claim('v'), NULL, '... and no more are there');
SELECT is(help.claim('v', 0), NULL, 'who has no room claims none');
SELECT is(ROW(t.state::text, t.worker_id, t.attempt::int, t.started_at BETWEEN now() AND clock_timestamp(), t.finished_at),
          ROW('running'::text, help.id('w'), 1, true, NULL::timestamptz), 'a claimed turn runs')
FROM hansard.turns t JOIN hansard.jobs j USING (conversation_id, turn_no) JOIN hansard.sessions s USING (session_key)
WHERE s.session_id = 'a';
SELECT is(ROW(s.open_turn, s.open_worker, s.jobs), ROW(3, help.id('w'), 2), '... and is open in its session')
FROM hansard.sessions s WHERE s.session_id = 'b';
SELECT is(count(*), 2::bigint, 'each worker has its own') FROM hansard.jobs WHERE worker_id = help.id('v');

-- What comes with one.
SELECT help.finishes('[{"session": "a"}, {"session": "b"}, {"session": "c"}, {"session": "d"}]');
SELECT help.outcomes('w', '{"caller": "ann", "job": true, "words": "think", "request": "r"}');
CREATE TEMP TABLE claimed AS SELECT * FROM hansard_api.claim_jobs(help.id('v'), 10, 20, 65536);
SELECT is(ROW(c.session_key, c.turn_no, c.attempt, c.words, c.history), ROW(help.session_key('b'), 4, 1, 'three'::text,
              '{hello,"hi there",one,"hi there"}'::text[]), 'with a job comes what the model is shown') FROM claimed c WHERE c.turn_no = 4;
SELECT is(ROW(c.history, c.limit_key, c.request_id), ROW(NULL::text[], help.limit_key('ann'), help.id('r')),
          '... its caller, and its request') FROM claimed c WHERE c.words = 'think';
SELECT is(c.conversation_id, s.conversation_id, '... and its conversation')
FROM claimed c JOIN hansard.sessions s USING (session_key) WHERE c.turn_no = 4;
SELECT is(help.finishes('[{"session": "s", "caller": "ann"}, {"session": "b"}]'), 'finished finished', 'both are answered');
SELECT help.outcomes('w', '{"session": "b", "job": true, "words": "short"}');
SELECT is(history, '{three,"hi there"}', 'no more messages are shown than wanted')
FROM hansard_api.claim_jobs(help.id('v'), 10, 2, 65536);
SELECT help.finishes('{"session": "b"}');
SELECT help.outcomes('w', '{"session": "b", "job": true, "words": "shorter"}');
SELECT is(history, '{short,"hi there"}', '... nor more bytes') FROM hansard_api.claim_jobs(help.id('v'), 10, 20, 20);
SELECT help.finishes('{"session": "b"}');

-- History at the time of the claim: what was answered while it was queued belongs to it.
SELECT is(help.outcomes('w', '{"session": "late", "words": "first"}'), 'accepted', 'a live turn is open');
SELECT is(help.outcomes('w', '{"session": "late", "job": true, "words": "second"}'), 'queued', 'a job is queued behind it');
SELECT is(help.finishes('{"session": "late", "answer": "one"}'), 'finished', 'the live turn is answered');
SELECT is(history, '{first,one}', 'the job knows of it') FROM hansard_api.claim_jobs(help.id('w'), 10, 20, 65536);
SELECT help.finishes('{"session": "late"}');

-- The clock: a claim never turns a session back.
SELECT help.outcomes('w', '{"session": "ahead", "job": true}');
UPDATE hansard.sessions SET last_activity = '2100-01-01' WHERE session_id = 'ahead';
SELECT is(help.claim('w'), 'ahead 1 1 hello', 'a job is claimed in a session that is ahead of the clock');
SELECT is(last_activity, '2100-01-01', '... and stays so') FROM hansard.sessions WHERE session_id = 'ahead';
SELECT help.finishes('{"session": "ahead"}');

-- The reply was lost.
SELECT help.outcomes('w', '[{"session": "x", "job": true}, {"session": "y", "job": true}, {"session": "z", "job": true}]');
SELECT is(help.claim('w', 1) IS NOT NULL, true, 'a job is claimed');
CREATE TEMP TABLE known AS SELECT conversation_id FROM hansard.jobs WHERE worker_id = help.id('w');
SELECT is(count(*), 2::bigint, 'two more are, of which the worker does not hear')
FROM hansard_api.claim_jobs(help.id('w'), 2, 20, 65536);
SELECT is(count(*), 1::bigint, 'it names what it knows of, and is given as many as it wants')
FROM hansard_api.claim_jobs(help.id('w'), 1, 20, 65536, ARRAY(SELECT conversation_id FROM known));
SELECT is(count(*), 2::bigint, '... so it runs no more than it knows of') FROM hansard.jobs WHERE worker_id = help.id('w');
SELECT is(ROW(count(*), max(j.deaths)::int), ROW(1::bigint, 0), '... the rest is queued, and no death is counted')
FROM hansard.jobs j WHERE j.is_ready;
SELECT is(max(t.attempt)::int, 2, 'what was claimed again has another attempt') FROM hansard.turns t WHERE t.state = 'running';
SELECT is(count(*), 1::bigint, '... what was known has not')
FROM hansard.turns t JOIN known USING (conversation_id) WHERE t.attempt = 1 AND t.state = 'running';
SELECT is(count(*), 3::bigint, 'who knows of none gets all anew')
FROM hansard_api.claim_jobs(help.id('w'), 10, 20, 65536, '{}');
SELECT is(count(*), 0::bigint, 'who knows of them all gets none')
FROM hansard_api.claim_jobs(help.id('w'), 10, 20, 65536, ARRAY(SELECT conversation_id FROM hansard.jobs));
SELECT is(help.claim('v', 10, '{}'), NULL, 'nobody takes from another');
SELECT is(string_agg(t.attempt::text, ' ' ORDER BY t.attempt), '2 2 3', 'each claim is an attempt')
FROM hansard.turns t WHERE t.state = 'running';
SELECT is(help.finishes('[{"session": "x", "attempt": 1}, {"session": "y", "attempt": 1}, {"session": "z", "attempt": 1}]'),
          'HS503 HS503 HS503', '... and a late result of an earlier one is fenced off');
SELECT is(help.finishes('[{"session": "x"}, {"session": "y"}, {"session": "z"}]'), 'finished finished finished', 'they are answered');

-- Numbers: a claim that comes to be done after a later one does nothing.
CREATE FUNCTION pg_temp.claims(worker text, number integer, known uuid[] DEFAULT '{}') RETURNS bigint
LANGUAGE sql
AS $$ SELECT count(*) FROM hansard_api.claim_jobs(help.id(worker), 10, 20, 65536, known, number) $$;
SELECT help.outcomes('w', '[{"session": "x", "job": true}, {"session": "y", "job": true}]');
SELECT is(pg_temp.claims('w', 0), 2::bigint, 'a worker claims two jobs');
SELECT is(pg_temp.claims('w', 0, ARRAY(SELECT conversation_id FROM hansard.jobs)), 0::bigint, '... and no more');
SELECT is(claim_no, 0, 'its claims are numbered, without a word of it being written') FROM hansard.workers WHERE worker_id = help.id('w');
SELECT is(pg_temp.claims('w', 1), 2::bigint, 'it did not hear of the two: with a new number it claims them anew');
SELECT is(claim_no, 1, '... which is noted') FROM hansard.workers WHERE worker_id = help.id('w');
SELECT help.outcomes('w', '{"session": "z", "job": true}');
CREATE TEMP TABLE running AS SELECT * FROM hansard.jobs;
SELECT is(pg_temp.claims('w', 0), 0::bigint, 'the old one once more claims nothing');
SELECT is(pg_temp.claims('w', 0, ARRAY(SELECT conversation_id FROM hansard.jobs)), 0::bigint, '... whatever it knows');
SELECT set_eq('SELECT * FROM hansard.jobs', 'SELECT * FROM running', '... and gives nothing back');
SELECT is(pg_temp.claims('v', 0, NULL), 1::bigint, 'another worker has numbers of its own');
SELECT is(pg_temp.claims('w', 2, ARRAY(SELECT conversation_id FROM running)), 0::bigint, 'a new number that finds nothing');
SELECT is(claim_no, 2, '... is noted, too') FROM hansard.workers WHERE worker_id = help.id('w');
SELECT is(pg_temp.claims('w', NULL, ARRAY(SELECT conversation_id FROM running)), 0::bigint, 'a worker of the release before tells none');
SELECT is(pg_temp.claims('w', NULL), 2::bigint, '... and is believed');
SELECT is(claim_no, 2, '... which changes no number') FROM hansard.workers WHERE worker_id = help.id('w');
SELECT is(help.finishes('[{"session": "x"}, {"session": "y"}, {"session": "z"}]'), 'finished finished finished', 'they are answered');

-- Who may.
SELECT help.outcomes('w', '{"session": "x", "job": true}');
SELECT throws_ok($$SELECT help.claim('stranger')$$, 'HS503', NULL, 'a worker must be registered');
UPDATE hansard.workers SET lost_at = now() WHERE worker_id = help.id('v');
SELECT throws_ok($$SELECT help.claim('v')$$, 'HS503', NULL, '... and not be lost');
SELECT throws_ok($$SELECT help.claim('v', 10, '{}')$$, 'HS503', NULL, '... whatever it knows');
SELECT help.silence('w', '16 seconds');
SELECT is(help.claim('w'), 'x 3 1 hello', 'who was silent and not declared lost may');
SELECT is(help.outcomes('w', '{"session": "x", "job": true, "key": "k"}'), 'queued', 'a job is queued');
SELECT is(help.jobs(), 'x 3 (test), x 4', '... behind the one that runs');

SELECT * FROM finish();
ROLLBACK;
