-- Only the worker that has a turn ends it: everybody else writes nothing and is told why.
BEGIN;
SELECT plan(22);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.turn('w', 's', 'hello', 'hi there');
CREATE TEMP TABLE open AS SELECT * FROM help.ask('w', '{"words": "more", "key": "k"}');
SELECT is(outcome, 'accepted', 'a turn is open') FROM open;
SELECT is(help.outcomes('w', '{"session": "other"}'), 'accepted', 'so is one of another session');
CREATE TEMP TABLE before AS SELECT help.content();

SELECT is(help.finishes('{"worker": "v"}'), 'HS503', 'another worker does not end it');
SELECT is(help.finishes('{"attempt": 2}'), 'HS503', 'nor does another attempt');
SELECT is(help.finishes('{"attempt": 0}'), 'HS503', '... before or after');
SELECT is(help.finishes('{"turn": 1, "state": "failed"}'), 'HS503', 'nor another result for an earlier turn');
SELECT is(help.finishes('{"turn": 3}'), 'HS503', 'nor one for a turn to come');
SELECT is(help.finishes('{"conversation": "01890000-0000-7000-8000-000000000000"}'), 'HS503',
          'nor one for another conversation');
SELECT is(help.finishes(jsonb_build_object('session', 'other', 'worker', 'w', 'turn', 2, 'conversation',
                                           conversation_id)), 'HS503',
          'nor one for another session') FROM open;
SELECT is(help.content(), content, 'nothing was written') FROM before;

-- Cancelled.
UPDATE hansard.turns t SET state = 'cancelled', finished_at = now(), error_code = 'turn_cancelled'
FROM open o WHERE t.conversation_id = o.conversation_id AND t.turn_no = o.turn_no;
UPDATE before SET content = help.content();
SELECT is(help.finishes('{}'), 'HS499', 'a turn that was cancelled meanwhile takes no answer');
SELECT is(help.finishes('{"state": "failed"}'), 'HS499', '... and does not fail');
SELECT is(help.finishes('{"worker": "v", "attempt": 2}'), 'HS499', 'whoever asks');
SELECT is(help.content(), content, 'nothing was written') FROM before;

-- A worker that was declared lost may still end what is still its own.
UPDATE hansard.workers SET lost_at = clock_timestamp() WHERE worker_id = help.id('w');
SELECT is(help.finishes('{"session": "other", "answer": "just in time"}'), 'finished',
          'a lost worker ends what nobody has taken from it');
SELECT is(m.text, 'just in time', '... and its answer counts')
FROM hansard.messages m JOIN hansard.sessions s USING (conversation_id) WHERE s.session_id = 'other' AND m.position = 2;

-- The session has moved on to a new conversation, and has turn 1 open again.
SELECT is(help.outcomes('v', '{"session": "moved", "key": "k"}'), 'accepted', 'turn 1 of a session is open');
CREATE TEMP TABLE moved AS SELECT * FROM hansard.sessions WHERE session_id = 'moved';
UPDATE hansard.workers SET lost_at = clock_timestamp() WHERE worker_id = help.id('v');
UPDATE hansard.workers SET lost_at = NULL WHERE worker_id = help.id('w');
UPDATE hansard.sessions SET last_activity = now() - interval '2 days' WHERE session_id = 'moved';
SELECT is(ROW(outcome, turn_no), ROW('accepted'::text, 1), 'turn 1 of its next conversation is open')
FROM help.ask('w', '{"session": "moved"}');
SELECT is(help.finishes(jsonb_build_object('session', 'moved', 'conversation', conversation_id, 'worker', 'v')),
          'HS503',
          'a late result for turn 1 of the old one does not end it') FROM moved;

-- The turn was closed for it, as lost, by the next question: its own failure is not what is stored, so it is not told.
SELECT help.worker('u');
SELECT is(help.outcomes('u', '{"session": "closed", "words": "first"}'), 'accepted', 'a turn is open');
UPDATE hansard.workers SET lost_at = clock_timestamp() WHERE worker_id = help.id('u');
SELECT is(help.outcomes('w', '{"session": "closed", "words": "next"}'), 'accepted', 'the next question closes it');
SELECT is(help.finishes('{"session": "closed", "worker": "u", "turn": 1, "attempt": 1, "state": "failed",
                          "error": "model_failed"}'), 'HS503', 'a failure of another kind comes too late');

SELECT * FROM finish();
ROLLBACK;
