-- The worker of a turn dies: a repeat under the same key takes the turn over, and the dead worker's result is fenced off.
BEGIN;
SELECT plan(33);
SELECT help.worker(w) FROM unnest('{w,v,u}'::text[]) AS w;
SELECT help.turn('w', 's', 'hello', 'hi there');
CREATE TEMP TABLE first AS SELECT *
FROM help.ask('w', '{"key": "k", "request": "r1", "words": "more", "address": "192.0.2.1"}');
SELECT is(ROW(outcome, attempt), ROW('accepted'::text, 1), 'a turn is open') FROM first;
CREATE TEMP TABLE quota AS SELECT * FROM hansard.rate_limits;
CREATE TEMP TABLE said AS SELECT * FROM hansard.messages;
SELECT help.silence('w', '16 seconds');

SELECT is(help.outcomes('v', '{"key": "k", "words": "less"}'), 'HS422', 'other words do not take it over');
CREATE TEMP TABLE taken AS SELECT *
FROM help.ask('v', '{"key": "k", "request": "r2", "words": "more", "address": "192.0.2.1"}');
SELECT is(ROW(t.outcome, t.turn_no, t.attempt), ROW('accepted'::text, 2, 2),
          'a repeat at another worker is the second attempt at the turn') FROM taken t;
SELECT is(ROW(t.conversation_id, t.session_key), ROW(f.conversation_id, f.session_key), 'the same turn') FROM taken t,
    first f;
SELECT is(history, ARRAY['hello', 'hi there'], 'with the same history') FROM taken;
SELECT is(ROW(quota_limit, quota_remaining), ROW(10, 9), 'and the quota that the first left') FROM taken;
SELECT set_eq('SELECT * FROM hansard.rate_limits', 'SELECT * FROM quota', 'and none taken');
SELECT set_eq('SELECT * FROM hansard.messages', 'SELECT * FROM said', 'no word is stored twice');
SELECT is(ROW(t.state::text, t.worker_id, t.attempt::int, t.request_id),
          ROW('running'::text, help.id('v'), 2, help.id('r2')),
          'the turn names its new worker, attempt and request')
FROM hansard.turns t JOIN taken USING (conversation_id, turn_no);
SELECT is(ROW(s.open_turn, s.open_worker, s.next_turn, s.unanswered), ROW(2, help.id('v'), 3, 0), 'so does the session')
FROM hansard.sessions s JOIN taken USING (session_key);
SELECT is(help.outcomes('u', '{"key": "k", "words": "more"}'), 'waiting',
          'now it is the new worker that others wait for');
SELECT is(ROW(outcome, attempt), ROW('accepted'::text, 2), 'whose own repeat is the same attempt')
FROM help.ask('v', '{"key": "k", "request": "r2", "words": "more"}');

CREATE TEMP TABLE before AS SELECT help.content();
SELECT is(help.finishes('{"worker": "w", "turn": 2, "attempt": 1, "answer": "too late"}'), 'HS503',
          'the result of the dead comes too late');
SELECT is(help.finishes('{"worker": "w", "turn": 2, "attempt": 2, "answer": "too late"}'), 'HS503',
          '... whatever attempt it says it was');
SELECT is(help.finishes('{"worker": "v", "turn": 2, "attempt": 1, "answer": "too late"}'), 'HS503',
          'so is a result of the first attempt by the second worker');
SELECT is(help.content(), content, 'nothing of it was stored') FROM before;
SELECT is(help.finishes('{"worker": "v", "turn": 2, "attempt": 2, "answer": "in time"}'), 'finished',
          'the result of the new worker is taken');
SELECT is(reply, 'in time', '... and is the answer') FROM help.ask('u', '{"key": "k", "words": "more"}');

-- Three ways of being dead.
SELECT help.worker('w');
SELECT is(help.outcomes('w', '[{"session": "silent", "key": "k"}, {"session": "own", "key": "k", "request": "own"}]'),
          'accepted accepted', 'turns are open');
SELECT help.silence('w', '16 seconds');
SELECT is(help.outcomes('v', '{"session": "silent", "key": "k"}'), 'accepted', 'silent for longer than 15 s');
SELECT is(help.outcomes('w', '{"session": "own", "key": "k"}'), 'waiting',
          'a silent worker does not take over from itself');
SELECT is(ROW(outcome, attempt), ROW('accepted'::text, 1), '... but repeats its own request')
FROM help.ask('w', '{"session": "own", "key": "k", "request": "own"}');
SELECT help.worker('w');
SELECT is(help.outcomes('w', '[{"session": "lost", "key": "k"}, {"session": "unknown", "key": "k"}]'),
          'accepted accepted', 'more turns are open');
UPDATE hansard.workers SET lost_at = clock_timestamp() WHERE worker_id = help.id('w');
SELECT is(help.outcomes('v', '{"session": "lost", "key": "k"}'), 'accepted', 'declared lost');
DELETE FROM hansard.workers WHERE worker_id = help.id('w');
SELECT is(help.outcomes('v', '{"session": "unknown", "key": "k"}'), 'accepted', 'not there at all');
SELECT is(array_agg(DISTINCT attempt::int), ARRAY[2], 'each taken over once')
FROM hansard.turns t JOIN hansard.sessions s USING (conversation_id)
WHERE s.session_id IN ('silent', 'lost', 'unknown');

-- It may happen again and again, and to several turns at once.
SELECT help.worker('w');
SELECT is(help.outcomes('w', '[{"session": "a", "key": "k"}, {"session": "b", "key": "k"}]'), 'accepted accepted',
          'two turns are open');
SELECT help.silence('w', '16 seconds');
SELECT is(help.outcomes('v', '[{"session": "b", "key": "k"}, {"session": "c"}, {"session": "a", "key": "k"}]'),
          'accepted accepted accepted',
          'both are taken over, and a third is opened, in one batch');
SELECT help.silence('v', '16 seconds');
SELECT is(string_agg(outcome || ' ' || attempt, ', '), 'accepted 3, accepted 3', 'the second worker dies, too')
FROM help.ask('u', '[{"session": "a", "key": "k"}, {"session": "b", "key": "k"}]');
SELECT is(help.finishes('[{"session": "a", "worker": "v", "attempt": 2}, {"session": "b"}]'), 'HS503 finished',
          'the third has the say');

-- Of two repeats in one batch one takes over, the other waits for it.
SELECT help.worker('w');
SELECT is(help.outcomes('w', '{"session": "twice", "key": "k"}'), 'accepted', 'one more turn is open');
SELECT help.silence('w', '16 seconds');
SELECT is(help.outcomes('u', '[{"session": "twice", "key": "k"}, {"session": "twice", "key": "k"}]'),
          'accepted waiting',
          'of two repeats in one batch one takes over');
SELECT is(attempt::int, 2, '... once')
FROM hansard.turns t JOIN hansard.sessions s USING (conversation_id) WHERE s.session_id = 'twice';

SELECT * FROM finish();
ROLLBACK;
