-- A job ends as a live turn does, or goes back to the queue; then the next one of its conversation may be claimed.
BEGIN;
SELECT plan(55);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.capped('gold', NULL, 10000, 300);
CREATE FUNCTION pg_temp.turn_of(session text, turn integer) RETURNS hansard.turns
LANGUAGE sql
AS $$ SELECT t FROM hansard.turns t JOIN hansard.sessions s USING (conversation_id) WHERE s.session_id = session AND t.turn_no = turn $$;

-- Completed.
SELECT help.outcomes('w', jsonb_build_object('job', true, 'words', w, 'caller', 'gold'))
FROM (VALUES ('one'), ('two'), ('three')) AS v (w);
SELECT is(help.claim('w'), 's 1 1 one', 'a job is claimed');
UPDATE hansard.turns SET accepted_at = '2026-01-02 03:04:05', started_at = '2026-01-02 03:05:06' WHERE turn_no = 1;
SELECT is(ROW(outcome, has_next), ROW('finished'::text, true), 'it is answered, and there is a next one')
FROM help.finish('{"caller": "gold", "answer": "done", "model": "demo", "prompt_tokens": 5, "completion_tokens": 7, "calls": 2,
                   "first_byte_ms": 1250}');
SELECT is(ROW(t.state::text, t.model, t.prompt_tokens, t.completion_tokens, t.model_attempts::int, t.worker_id),
          ROW('completed'::text, 'demo'::text, 5, 7, 2, help.id('w')), 'its turn says so') FROM pg_temp.turn_of('s', 1) t;
SELECT is(t.first_byte_at, '2026-01-02 03:05:07.25', 'its first byte is counted from the claim') FROM pg_temp.turn_of('s', 1) t;
SELECT is(m.text, 'done', 'the answer is stored') FROM hansard.messages m WHERE m.position = 2;
SELECT is(help.jobs(), 's 2 (ready), s 3', 'its row is gone, and the next is ready');
SELECT is(ROW(s.jobs, s.open_turn, s.open_worker, s.unanswered), ROW(2, NULL::int, NULL::uuid, 0), 'the session counts one less')
FROM hansard.sessions s;
SELECT is(help.counted('gold'), '2, 601, 12', 'it is held no more, and costs what it used');
CREATE TEMP TABLE before AS SELECT help.content();
SELECT is(ROW(outcome, has_next), ROW('finished'::text, false), 'the same once more is finished already')
FROM help.finish('{"caller": "gold", "worker": "w", "turn": 1}');
SELECT is(help.content(), content, '... and changes nothing') FROM before;

-- Failed.
SELECT is(help.claim('w'), 's 2 1 two', 'the next is claimed');
SELECT is(ROW(outcome, has_next), ROW('finished'::text, true), 'it fails, and there is a next one')
FROM help.finish('{"caller": "gold", "state": "failed", "error": "model_failed", "calls": 3}');
SELECT is(ROW(t.state::text, t.error_code), ROW('failed'::text, 'model_failed'::text), 'its turn says so') FROM pg_temp.turn_of('s', 2) t;
SELECT is(ROW(s.jobs, s.unanswered), ROW(1, 1), '... and its session') FROM hansard.sessions s;
SELECT is(help.counted('gold'), '1, 301, 12', 'it costs nothing');

-- Handed back.
SELECT is(help.claim('w'), 's 3 1 three', 'the next is claimed');
SELECT is(help.outcomes('w', '{"job": true, "words": "four", "caller": "gold"}'), 'queued', 'another one is queued');
CREATE TEMP TABLE line AS SELECT * FROM hansard.jobs;
SELECT is(ROW(outcome, has_next), ROW('finished'::text, false), 'it is handed back')
FROM help.finish('{"caller": "gold", "state": "queued"}');
SELECT is(help.jobs(), 's 3 (ready), s 4', '... to be claimed again, and only it');
SELECT is(j.queued_at, l.queued_at, '... in the place it had') FROM hansard.jobs j JOIN line l USING (conversation_id, turn_no) WHERE turn_no = 3;
SELECT is(ROW(t.state::text, t.worker_id, t.attempt::int, t.finished_at), ROW('queued'::text, NULL::uuid, 1, NULL::timestamptz),
          'its turn is queued') FROM pg_temp.turn_of('s', 3) t;
SELECT is(ROW(s.jobs, s.open_turn, s.open_worker, s.unanswered), ROW(2, NULL::int, NULL::uuid, 1), 'the session has none open')
FROM hansard.sessions s;
SELECT is(help.counted('gold'), '2, 602, 12', 'it is held as before');
SELECT is(ROW(deaths::int, failures::int), ROW(0, 0), 'it was no death, and no failure') FROM hansard.jobs WHERE turn_no = 3;
UPDATE before SET content = help.content();
SELECT is(help.finishes('{"caller": "gold", "state": "queued", "worker": "w", "turn": 3, "attempt": 1}'), 'finished',
          'the same once more is done already');
SELECT is(help.finishes('{"caller": "gold", "worker": "w", "turn": 3, "attempt": 1}'), 'HS503', 'an answer to it comes too late');
SELECT is(help.content(), content, 'neither changes anything') FROM before;
SELECT is(help.claim('v'), 's 3 2 three', 'another worker claims it');
UPDATE before SET content = help.content();
SELECT is(help.finishes('{"caller": "gold", "state": "queued", "worker": "w", "turn": 3, "attempt": 1}'), 'HS503',
          'then the first cannot hand it back');
SELECT is(help.finishes('{"caller": "gold", "state": "queued", "attempt": 1}'), 'HS503', '... nor this one an earlier attempt');
SELECT is(help.content(), content, '... which changes nothing') FROM before;
SELECT is(ROW(outcome, has_next), ROW('finished'::text, true), 'this one answers it') FROM help.finish('{"caller": "gold"}');
SELECT help.claim('v');
SELECT is(has_next, false, 'after the last there is none') FROM help.finish('{"caller": "gold"}');

-- What is no job, or not of this conversation, is not handed back.
SELECT is(help.outcomes('w', '{"session": "live"}'), 'accepted', 'a live turn is open');
UPDATE before SET content = help.content();
SELECT is(help.finishes('{"session": "live", "state": "queued"}'), 'HS503', 'it cannot be handed back');
SELECT help.outcomes('w', '{"session": "t", "job": true}');
SELECT is(help.claim('w'), 't 1 1 hello', 'a job runs');
SELECT is(help.finishes(jsonb_build_object('session', 't', 'state', 'queued', 'conversation', help.id('erased'))), 'HS503',
          'one of another conversation of the session is not it');
SELECT is(help.jobs(), 't 1 (test)', '... so it runs on');

-- A batch.
SELECT help.outcomes('w', '[{"session": "x", "job": true}, {"session": "y", "job": true}, {"session": "z", "job": true}]');
SELECT help.outcomes('w', '[{"session": "x", "job": true}, {"session": "y", "job": true}, {"session": "z", "job": true}]');
SELECT help.claim('v');
SELECT is(string_agg(outcome || ' ' || has_next, ', ' ORDER BY item),
          'finished true, finished false, finished false, HS503 false, finished false, finished true', 'a batch of them')
FROM help.finish('[{"session": "x"}, {"session": "y", "state": "queued"}, {"session": "live"}, {"session": "t", "worker": "v"},
                   {"session": "t"}, {"session": "z", "state": "failed"}]');
SELECT is(help.jobs(), 'x 2 (ready), y 1 (ready), y 2, z 2 (ready)', '... each ends in its way');

-- Handed back because its call failed: that is counted by itself, once for each.
SELECT is(help.claim('w', 1), 'y 1 2 hello', 'one of them is claimed again');
CREATE FUNCTION pg_temp.counts() RETURNS text
LANGUAGE sql
AS $$ SELECT concat_ws(' ', t.attempt, j.deaths, j.failures) FROM hansard.jobs j JOIN hansard.turns t USING (conversation_id, turn_no)
      JOIN hansard.sessions s USING (conversation_id) WHERE s.session_id = 'y' AND j.turn_no = 1 $$;
SELECT is(help.finishes('{"session": "y", "state": "queued", "error": "model_failed"}'), 'finished', 'it is handed back, for its model failed');
SELECT is(pg_temp.counts(), '2 0 1', '... which is counted');
SELECT is(help.finishes('{"session": "y", "worker": "w", "turn": 1, "attempt": 2, "state": "queued", "error": "model_failed"}'),
          'finished', 'the same once more is done already');
SELECT is(pg_temp.counts(), '2 0 1', '... and not counted again');
SELECT is((pg_temp.turn_of('y', 1)).error_code, NULL, '... nor is it how the job ended');
SELECT is(ROW(attempt, failures), ROW(3, 1), 'whoever claims it is told') FROM hansard_api.claim_jobs(help.id('w'), 1, 20, 65536);
SELECT is(help.finishes('{"session": "y", "state": "queued"}'), 'finished', 'it is handed back, for no call was free');
SELECT is(pg_temp.counts(), '3 0 1', '... which is no failure');
SELECT help.claim('w', 1);
SELECT help.silence('w', '13 seconds');
SELECT is(hansard_api.reap_workers(), 0, 'its worker dies');
SELECT is(pg_temp.counts(), '4 1 1', '... which is none, either');

-- Who is told of an end.
SELECT is(help.outcomes('v', '[{"session": "told", "job": true, "webhook": "https://hooks.example/"}, {"session": "untold", "job": true},
                               {"session": "back", "job": true, "webhook": "https://hooks.example/"}]'),
          'queued queued queued', 'two jobs have a webhook');
SELECT help.claim('v');
SELECT is(string_agg(item || ' ' || has_webhook, ', ' ORDER BY item), '1 true, 2 false, 3 false, 4 false, 5 false',
          'whoever ends one is told that there is a message')
FROM help.finish('[{"session": "told"}, {"session": "untold"}, {"session": "x"}, {"session": "back", "state": "queued"},
                   {"session": "told", "worker": "v", "turn": 1, "attempt": 7}]');
SELECT is(has_webhook, false, '... once') FROM help.finish('{"session": "told", "worker": "v", "turn": 1}');
SELECT is(count(*), 1::bigint, '... that is due') FROM hansard.webhooks;

SELECT * FROM finish();
ROLLBACK;
