-- The jobs of a worker that died go back to the queue at once; one that three workers died of fails.
BEGIN;
SELECT plan(52);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.capped('gold', NULL, 10000, 300);
CREATE FUNCTION pg_temp.dies(name text) RETURNS integer
LANGUAGE sql
AS $$ SELECT help.silence(name, '13 seconds'); SELECT hansard_api.reap_workers() $$;

SELECT help.outcomes('w', '[{"session": "a", "job": true, "caller": "gold", "words": "fatal", "key": "fatal"}, {"session": "live"}]');
SELECT help.outcomes('w', '{"session": "a", "job": true, "caller": "gold", "words": "next"}'); -- two of one call came at one time
SELECT help.outcomes('w', '{"session": "live", "job": true}');
SELECT is(help.claim('w'), 'a 1 1 fatal', 'a job runs');
SELECT is(help.outcomes('v', '{"session": "b", "job": true}'), 'queued', 'another one is queued later');
CREATE TEMP TABLE line AS SELECT * FROM hansard.jobs;

-- Not yet dead.
SELECT help.silence('w', '11 seconds');
SELECT is(hansard_api.reap_workers(), 0, 'nobody is dead');
SELECT is(help.jobs(), 'a 1 (test), a 2, b 1 (ready), live 2', '... and the job runs');

-- The first death.
SELECT help.silence('w', '13 seconds');
SELECT is(ROW(outcome, attempt), ROW('waiting'::text, 1), 'its worker is silent, and a live repeat of the job does not take it over')
FROM help.ask('v', '{"session": "a", "caller": "gold", "words": "fatal", "key": "fatal"}');
SELECT is(help.outcomes('v', '{"session": "a", "caller": "gold", "words": "fatal", "key": "fatal", "job": true}'), 'known',
          '... nor does a repeat as a job');
SELECT is(pg_temp.dies('w'), 0, 'its worker dies, and nothing is closed');
SELECT is(help.jobs(), 'a 1 (ready), a 2, b 1 (ready), live 2', '... but its job is queued, and only it is ready');
SELECT is(ROW(j.deaths::int, j.queued_at), ROW(1, l.queued_at), '... with one death, in the place it had')
FROM hansard.jobs j JOIN line l USING (conversation_id, turn_no) JOIN hansard.sessions s ON s.session_key = j.session_key
WHERE s.session_id = 'a' AND j.turn_no = 1;
SELECT is(ROW(t.state::text, t.worker_id, t.attempt::int, t.finished_at, t.error_code),
          ROW('queued'::text, NULL::uuid, 1, NULL::timestamptz, NULL::text), 'its turn is queued')
FROM hansard.turns t JOIN hansard.sessions s USING (conversation_id) WHERE s.session_id = 'a' AND t.turn_no = 1;
SELECT is(ROW(s.open_turn, s.open_worker, s.jobs, s.unanswered), ROW(NULL::int, NULL::uuid, 2, 0), 'its session has none open')
FROM hansard.sessions s WHERE s.session_id = 'a';
SELECT is(help.counted('gold'), '2, 602, 0', 'it is held as before');
SELECT is(ROW(s.open_turn, s.open_worker), ROW(1, help.id('w')), 'the live turn is left for whoever repeats it')
FROM hansard.sessions s WHERE s.session_id = 'live';
CREATE TEMP TABLE before AS SELECT help.content();
SELECT is(hansard_api.reap_workers(), 0, 'who looks again');
SELECT is(help.content(), content, '... finds nothing to do') FROM before;
SELECT is(max(deaths)::int, 1, '... and counts no death twice') FROM hansard.jobs;
SELECT is(help.finishes('{"session": "a", "caller": "gold", "worker": "w", "turn": 1, "attempt": 1}'), 'HS503',
          'a late result of the dead worker is fenced off');
SELECT is(help.content(), content, '... and stored nowhere') FROM before;
SELECT throws_ok($$SELECT help.claim('w')$$, 'HS503', NULL, 'nor does the dead worker claim');
SELECT is(help.claim('v', 1), 'a 1 2 fatal', 'another worker claims it, before those that came later');
SELECT is(help.finishes('{"session": "a", "caller": "gold", "worker": "w", "turn": 1, "attempt": 1}'), 'HS503',
          'then, too, the late result is fenced off');
SELECT is(help.outcomes('v', '{"session": "live", "words": "other"}'), 'waiting', 'a live turn waits for jobs, lost or not');

-- The second, and the third.
SELECT help.worker('x');
SELECT is(pg_temp.dies('v'), 0, 'that worker dies');
SELECT is(help.jobs(), 'a 1 (ready), a 2, b 1 (ready), live 2', '... and the job is queued again');
SELECT is(max(deaths)::int, 2, '... with two deaths') FROM hansard.jobs;
SELECT is(help.claim('x', 1), 'a 1 3 fatal', 'a third one claims it');
SELECT is(help.outcomes('x', '{"session": "a", "caller": "gold", "words": "live"}'), 'waiting', '... while a live turn waits');
SELECT help.worker('y');
SELECT is(pg_temp.dies('x'), 0, 'and dies');
SELECT is(ROW(t.state::text, t.error_code, t.worker_id, t.attempt::int, t.finished_at BETWEEN now() AND clock_timestamp()),
          ROW('failed'::text, 'worker_lost'::text, help.id('x'), 3, true), 'now the job has failed')
FROM hansard.turns t JOIN hansard.sessions s USING (conversation_id) WHERE s.session_id = 'a' AND t.turn_no = 1;
SELECT is(help.jobs(), 'a 2 (ready), b 1 (ready), live 2', 'its row is gone, and the next one is ready');
SELECT is(ROW(s.open_turn, s.jobs, s.unanswered), ROW(NULL::int, 1, 1), 'the session counts one less, and one unanswered')
FROM hansard.sessions s WHERE s.session_id = 'a';
SELECT is(help.counted('gold'), '1, 301, 0', 'it is held no more, and costs nothing');
SELECT is(help.finishes('{"session": "a", "caller": "gold", "worker": "x", "turn": 1, "attempt": 3}'), 'HS503',
          'the late result of the third is fenced off, too');
SELECT is(help.claim('y'), 'a 2 1 next, b 1 1 hello', 'the next ones are claimed');
SELECT is(deaths::int, 0, '... with no death of their own') FROM hansard.jobs WHERE worker_id = help.id('y') AND turn_no = 2;

-- Some are finished, some are not: only those go back.
SELECT is(help.finishes('{"session": "b"}'), 'finished', 'one of them is answered');
SELECT is(hansard_api.leave(help.id('y')), 0, 'the worker leaves');
SELECT is(help.jobs(), 'a 2 (ready), live 2', '... and the other is queued');
SELECT is(deaths::int, 0, '... which was no death') FROM hansard.jobs WHERE turn_no = 2 AND is_ready;
SELECT is(ROW(has_left, lost_at IS NOT NULL, buried_at), ROW(true, true, NULL::timestamptz), 'it is known to have left')
FROM hansard.workers WHERE worker_id = help.id('y');

-- A claim that comes after that: found at the next look.
UPDATE hansard.workers SET lost_at = NULL WHERE worker_id = help.id('y');
SELECT is(help.claim('y'), 'a 2 2 next', 'its claim was under way, and is done late');
UPDATE hansard.workers SET lost_at = clock_timestamp() WHERE worker_id = help.id('y');
SELECT is(hansard_api.reap_workers(), 0, 'whoever looks');
SELECT is(help.jobs(), 'a 2 (ready), live 2', '... puts back what it claimed');
SELECT is(deaths::int, 0, '... which was no death, either') FROM hansard.jobs WHERE turn_no = 2 AND is_ready;

-- The burial of the first.
SELECT help.worker('z');
SELECT help.pass('11 seconds');
SELECT help.worker('z');
SELECT is(hansard_api.reap_workers(), 1, 'after a while the live turn of the first is closed');
SELECT is(help.jobs(), 'a 2 (ready), live 2 (ready)', '... and the job behind it is ready');
SELECT is(count(*), 0::bigint, 'the dead are forgotten') FROM hansard.workers WHERE worker_id <> help.id('z');
SELECT is(help.claim('z'), 'a 2 3 next, live 2 1 hello', 'life goes on');
SELECT is(has_next, false, '... to its end') FROM help.finish('{"session": "live"}');

-- A claim that comes after the death was seen: found at the next look.
UPDATE hansard.workers SET lost_at = clock_timestamp() WHERE worker_id = help.id('z');
SELECT help.worker('last');
SELECT is(help.jobs(), 'a 2 (test)', 'a worker is lost, and has a job yet');
SELECT is(hansard_api.reap_workers(), 0, 'whoever looks');
SELECT is(help.jobs(), 'a 2 (ready)', '... puts it back');

SELECT * FROM finish();
ROLLBACK;
