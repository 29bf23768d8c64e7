-- Jobs of one conversation run one after another, in the order they came, and live turns wait until all have ended.
BEGIN;
SELECT plan(37);
SELECT help.worker('w');
SELECT help.worker('v');

-- Jobs behind a live turn.
SELECT is(help.outcomes('w', '{"words": "live", "key": "live"}'), 'accepted', 'a live turn is open');
SELECT is(help.outcomes('w', '{"job": true, "words": "second"}'), 'queued', 'a job is queued behind it');
SELECT is(help.outcomes('v', '{"job": true, "words": "third"}'), 'queued', '... and another, at another worker');
SELECT is(help.jobs(), 's 2, s 3', 'neither may be claimed');
SELECT is(ROW(open_turn, jobs, next_turn), ROW(1, 2, 4), 'the live turn is still the one that is open') FROM hansard.sessions;
SELECT is(help.claim('v'), NULL, '... so nobody gets any');
SELECT is(ROW(outcome, has_next), ROW('finished'::text, true), 'when it is answered, there is a next one') FROM help.finish('{}');
SELECT is(help.jobs(), 's 2 (ready), s 3', '... which may be claimed');

-- Live turns behind jobs.
CREATE TEMP TABLE before AS SELECT help.content();
SELECT is(help.outcomes('w', '{"words": "fourth", "key": "fourth"}'), 'waiting', 'a live turn waits while jobs are queued');
SELECT is(ROW(quota_remaining, turn_no), ROW(10, 4), '... as anybody who waits') FROM help.ask('w', '{"words": "fourth"}');
SELECT is(help.claim('w'), 's 2 1 second', 'the first job is claimed');
SELECT is(help.jobs(), 's 2 (test), s 3', '... and only it');
SELECT is(help.claim('v'), NULL, '... by others, too');
SELECT is(help.outcomes('w', '{"words": "fourth"}'), 'waiting', 'a live turn waits while a job runs');
SELECT is(help.outcomes('v', '{"job": true, "words": "fifth"}'), 'queued', 'a job does not');
SELECT is(has_next, true, 'the first is answered, and the next may be claimed') FROM help.finish('{"answer": "one"}');
SELECT is(help.outcomes('w', '{"words": "fourth"}'), 'waiting', 'live turns wait on');
SELECT is(help.claim('w'), 's 3 1 third', 'the second job is claimed');
SELECT is(has_next, true, 'it fails, and the next may be claimed') FROM help.finish('{"state": "failed"}');
SELECT is(help.claim('v'), 's 4 1 fifth', 'which is the one that came last');
SELECT is(has_next, false, 'after it there is none') FROM help.finish('{"answer": "two"}');
SELECT is(ROW(jobs, open_turn, unanswered), ROW(0, NULL::int, 1), 'the session is at rest') FROM hansard.sessions;
SELECT is(ROW(outcome, turn_no, history),
          ROW('accepted'::text, 5, '{live,"hi there",second,one,fifth,two}'::text[]), 'now the live turn is accepted')
FROM help.ask('w', '{"words": "sixth"}');
SELECT is(help.finishes('{}'), 'finished', '... and answered');

-- One batch.
SELECT is(help.outcomes('w', '[{"session": "a", "job": true}, {"session": "b"}, {"session": "a"}, {"session": "b", "job": true},
                              {"session": "c", "job": true}, {"session": "c", "job": true}, {"session": "s", "job": true}]'),
          'queued accepted waiting waiting queued waiting queued', 'one of each session in a batch');
SELECT is(help.jobs(), 'a 1 (ready), c 1 (ready), s 6 (ready)', 'the jobs of it are ready');
SELECT is(string_agg(concat_ws(' ', session_id, open_turn, next_turn, jobs), ', ' ORDER BY session_id), 'a 2 1, b 1 2 0, c 2 1, s 7 1',
          '... and each session has what is its own') FROM hansard.sessions;
SELECT is(help.outcomes('w', '[{"session": "b", "job": true, "key": "k", "request": "r"},
                               {"session": "b", "job": true, "key": "k", "request": "r"}]'), 'queued waiting',
          'of one key twice in a batch the second asks again');
SELECT is(help.outcomes('w', '[{"session": "b", "job": true, "key": "k", "request": "r"},
                               {"session": "b", "job": true, "key": "k"}, {"session": "b", "key": "k"}]'), 'queued known waiting',
          '... and then has its answer, wherever it is in the batch');

-- A live turn whose worker dies with jobs behind it.
SELECT help.silence('w', '16 seconds');
SELECT is(help.outcomes('v', '{"session": "b", "words": "jump the queue"}'), 'waiting',
          'a live turn does not overtake jobs by the death of the one before them');
SELECT is(help.outcomes('v', '{"session": "b", "job": true}'), 'queued', 'a job is queued behind the lost turn');
SELECT is(help.jobs(), 'a 1 (ready), b 2, b 3, c 1 (ready), s 6 (ready)', '... and none of them is ready');
SELECT is(hansard_api.reap_workers(), 0, 'the worker is declared lost');
SELECT is(help.jobs(), 'a 1 (ready), b 2, b 3, c 1 (ready), s 6 (ready)', '... and for now its turn is kept');
SELECT help.pass('11 seconds');
SELECT help.worker('v');
SELECT is(hansard_api.reap_workers(), 1, 'then it is closed');
SELECT is(help.jobs(), 'a 1 (ready), b 2 (ready), b 3, c 1 (ready), s 6 (ready)', '... and the first job behind it is ready');
SELECT is(ROW(open_turn, jobs, unanswered), ROW(NULL::int, 2, 1), '... in a session that counts them') FROM hansard.sessions
WHERE session_id = 'b';

SELECT * FROM finish();
ROLLBACK;
