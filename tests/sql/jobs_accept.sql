-- A job is stored and queued, nobody answers it yet; asked for again, its status is told and nothing is stored twice.
BEGIN;
SELECT plan(42);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.caller('ann', 'free');

-- Queued.
CREATE TEMP TABLE first AS
SELECT * FROM help.ask('w', '{"job": true, "words": "think", "key": "k", "request": "r", "caller": "ann", "address": "192.0.2.1",
                              "webhook": "https://example.org/told"}');
SELECT is(ROW(outcome, turn_no, status), ROW('queued'::text, 1, 'queued'::text), 'a job is queued') FROM first;
SELECT is(ROW(history, history_after, reply, error_code), ROW(NULL::text[], NULL::int, NULL::text, NULL::text),
          '... and nothing is said of a history or an answer') FROM first;
SELECT is(ROW(policy, quota_limit, quota_remaining), ROW('free'::text, 20, 19), 'it costs quota as every turn does') FROM first;
SELECT is(ROW(t.state::text, t.is_job, t.worker_id, t.attempt::int, t.request_id, t.address),
          ROW('queued'::text, true, NULL::uuid, 0, help.id('r'), '192.0.2.1'::text), 'its turn is nobody''s, and not begun')
FROM hansard.turns t;
SELECT is(ROW(t.started_at, t.finished_at), ROW(NULL::timestamptz, NULL::timestamptz), '... nor ended') FROM hansard.turns t;
SELECT is(ROW(s.open_turn, s.open_worker, s.jobs, s.next_turn), ROW(NULL::int, NULL::uuid, 1, 2),
          'the session has a job and no open turn') FROM hansard.sessions s;
SELECT is(ROW(j.conversation_id, j.turn_no, j.session_key, j.limit_key, j.is_ready, j.worker_id, j.deaths::int, j.webhook),
          ROW(f.conversation_id, 1, help.session_key('s', 'ann'), help.limit_key('ann'), true, NULL::uuid, 0,
              'https://example.org/told'::text), 'it may be claimed, and is told of where it wished')
FROM hansard.jobs j, first f;
SELECT is(j.queued_at, t.accepted_at, 'its place in line is by the time it was accepted') FROM hansard.jobs j, hansard.turns t;
SELECT is(ROW(m.position::int, m.role::text, m.text), ROW(1, 'user'::text, 'think'::text), 'its words are stored')
FROM hansard.messages m;

-- Asked for again, in each state.
CREATE TEMP TABLE before AS SELECT help.content();
CREATE FUNCTION pg_temp.again(request text DEFAULT 'another', words text DEFAULT 'think') RETURNS text
LANGUAGE sql
AS $$
    SELECT concat_ws(' ', outcome, turn_no, status)
    FROM help.ask('v', jsonb_build_object('job', true, 'words', words, 'key', 'k', 'request', request, 'caller', 'ann'))
$$;
SELECT is(pg_temp.again('r'), 'queued 1 queued', 'the same request once more is queued as before, whichever worker asks');
SELECT is(pg_temp.again(), 'known 1 queued', 'a repeat under its key is told that it is queued');
SELECT is(pg_temp.again(words => 'else'), 'HS422 1', 'the key is not for other words');
SELECT is(help.content(), content, 'none of it stored anything or took quota') FROM before;
SELECT is(help.jobs(), 's 1 (ready)', '... and there is one job');
SELECT is(help.claim('w'), 's 1 1 think', 'it is claimed');
SELECT is(pg_temp.again('r'), 'queued 1 running', 'the same request once more is told that it runs');
SELECT is(pg_temp.again(), 'known 1 running', '... and so is a repeat');
SELECT is(help.finishes('{"caller": "ann", "answer": "done"}'), 'finished', 'it is answered');
SELECT is(pg_temp.again('r'), 'queued 1 completed', 'the same request once more is told that it is completed');
SELECT is(pg_temp.again(), 'known 1 completed', '... and so is a repeat');
SELECT is(ROW(reply, quota_remaining >= 18), ROW(NULL::text, true), '... without the answer, for which read_job is')
FROM help.ask('w', '{"job": true, "words": "think", "key": "k", "caller": "ann"}');

-- Live, under the key of a job.
SELECT is(ROW(outcome, reply), ROW('replayed'::text, 'done'::text), 'a live repeat is given the answer')
FROM help.ask('w', '{"words": "think", "key": "k", "caller": "ann"}');
SELECT is(help.outcomes('w', '{"job": true, "session": "t", "key": "k", "request": "r"}'), 'queued', 'another job is queued');
SELECT is(ROW(outcome, turn_no), ROW('waiting'::text, 1), 'a live repeat of it waits')
FROM help.ask('w', '{"session": "t", "key": "k"}');
SELECT is(help.outcomes('w', '{"session": "t", "key": "k", "request": "r"}'), 'waiting', '... even of the same request');
SELECT is(help.claim('w'), 't 1 1 hello', 'it is claimed');
SELECT is(help.outcomes('w', '{"session": "t", "key": "k", "request": "q"}'), 'waiting', 'the live repeat waits on');
SELECT is(help.finishes('{"session": "t", "state": "failed", "error": "model_failed"}'), 'finished', 'the job fails');
SELECT is(ROW(outcome, error_code), ROW('replayed'::text, 'model_failed'::text), '... which the live repeat is told')
FROM help.ask('w', '{"session": "t", "key": "k"}');
SELECT is(ROW(outcome, status), ROW('known'::text, 'failed'::text), '... and a repeat as a job')
FROM help.ask('w', '{"job": true, "session": "t", "key": "k"}');

-- As a job, under the key of a live turn.
SELECT is(help.outcomes('w', '{"session": "u", "key": "k"}'), 'accepted', 'a live turn is open');
SELECT is(ROW(outcome, turn_no, status), ROW('known'::text, 1, 'running'::text), 'asked for as a job, it is known')
FROM help.ask('w', '{"job": true, "session": "u", "key": "k"}');
SELECT is(help.outcomes('v', '{"job": true, "session": "u", "key": "k", "words": "else"}'), 'HS422', '... by its words');
SELECT is(help.jobs(), NULL, 'it is no job for that');
SELECT help.silence('w', '16 seconds');
SELECT is(help.outcomes('v', '{"job": true, "session": "u", "key": "k"}'), 'known',
          'nobody takes it over as a job when its worker is dead');
SELECT is(ROW(outcome, attempt), ROW('accepted'::text, 2), '... but a live repeat does')
FROM help.ask('v', '{"session": "u", "key": "k"}');
SELECT is(help.finishes('{"session": "u"}'), 'finished', '... and answers it');
SELECT is(help.outcomes('v', '{"job": true, "session": "u", "key": "k"}'), 'known', 'it is known ever after');

-- Who may not.
SELECT is(help.outcomes('v', '{"job": true, "caller": "nobody"}'), 'HS401', 'an unknown key is refused');
SELECT is(count(*), 3::bigint, '... and nothing is stored') FROM hansard.sessions;
SELECT throws_ok($$SELECT help.outcomes('stranger', '{"job": true}')$$, 'HS503', NULL, 'a worker must be registered');
SELECT is(help.outcomes('v', '{"job": true, "key": "k", "session": "s"}'), 'queued', 'keys are of one caller''s session only');

SELECT * FROM finish();
ROLLBACK;
