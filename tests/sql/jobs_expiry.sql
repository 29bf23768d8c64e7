-- A session that rested for too long begins a new conversation, but not while a job of the old one has not ended.
BEGIN;
SELECT plan(22);
SELECT help.worker('w');
SELECT help.worker('v');
CREATE FUNCTION pg_temp.rest() RETURNS void
LANGUAGE sql
AS $$ UPDATE hansard.sessions SET last_activity = now() - interval '2 days' $$;

-- Jobs begin new conversations as live turns do.
SELECT help.turn('w', 's', 'old', 'answer');
SELECT pg_temp.rest();
CREATE TEMP TABLE old AS SELECT conversation_id FROM hansard.sessions;
SELECT is(ROW(outcome, turn_no), ROW('queued'::text, 1), 'after a rest a job begins a new conversation')
FROM help.ask('w', '{"job": true, "words": "new", "key": "k"}');
SELECT isnt(s.conversation_id, o.conversation_id, '... which is the session''s') FROM hansard.sessions s, old o;
SELECT is(ROW(jobs, unanswered, next_turn, open_turn), ROW(1, 0, 2, NULL::int), '... from its beginning') FROM hansard.sessions;
SELECT is(help.jobs(), 's 1 (ready)', '... and it may be claimed');

-- While there are jobs, it does not.
SELECT pg_temp.rest();
CREATE TEMP TABLE kept AS SELECT conversation_id FROM hansard.sessions;
SELECT is(ROW(outcome, turn_no), ROW('queued'::text, 2), 'a job behind a queued one belongs to its conversation')
FROM help.ask('w', '{"job": true, "words": "more"}');
SELECT pg_temp.rest();
SELECT is(ROW(a.outcome, a.turn_no, a.conversation_id), ROW('waiting'::text, 3, k.conversation_id), 'a live turn waits for them')
FROM help.ask('w', '{}') a, kept k;
SELECT is(help.claim('w'), 's 1 1 new', 'the job is claimed');
SELECT ok(last_activity > now() - interval '1 minute', '... which is an activity') FROM hansard.sessions;
SELECT pg_temp.rest();
SELECT is(help.outcomes('w', '{}'), 'waiting', 'a live turn waits while one runs');
SELECT is(help.outcomes('w', '{"job": true, "words": "even more"}'), 'queued', 'another job is queued');
SELECT is(has_next, true, 'the first is answered') FROM help.finish('{}');
SELECT ok(last_activity > now() - interval '1 minute', '... which is an activity, too') FROM hansard.sessions;
SELECT is(help.claim('w'), 's 2 1 more', 'the second is claimed');
SELECT is(help.finishes('{}'), 'finished', '... and answered');
SELECT is(help.claim('w'), 's 3 1 even more', 'the third is claimed');
SELECT is(help.finishes('{}'), 'finished', '... and answered');
SELECT is(s.conversation_id, k.conversation_id, 'all in one conversation') FROM hansard.sessions s, kept k;
SELECT pg_temp.rest();
SELECT is(ROW(outcome, turn_no), ROW('accepted'::text, 1), 'then a live turn begins a new one') FROM help.ask('w', '{}');

-- Behind a live turn that is lost.
SELECT help.silence('w', '16 seconds');
SELECT pg_temp.rest();
SELECT is(ROW(outcome, turn_no), ROW('queued'::text, 2), 'a job behind an open turn belongs to its conversation, though it is lost')
FROM help.ask('v', '{"job": true}');
SELECT is(help.jobs(), 's 2', '... and waits for its end');
SELECT is(help.outcomes('v', '{}'), 'waiting', '... as does a live turn');
SELECT is(hansard_api.leave(help.id('w')), 1, 'the lost turn is closed');

SELECT * FROM finish();
ROLLBACK;
