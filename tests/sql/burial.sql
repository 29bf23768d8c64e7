-- What becomes of the turns of a worker that is buried, and of those that somebody else saw to before.
BEGIN;
SELECT plan(23);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.turn('w', 'closed', 'hello', 'hi there');
SELECT is(help.outcomes('w', '[{"session": "closed", "words": "lost", "key": "lost"}, {"session": "taken", "key": "k"},
                               {"session": "made way", "key": "k"}, {"session": "finished", "key": "k"},
                               {"session": "erased"}]'),
          'accepted accepted accepted accepted accepted', 'a worker has five turns open');
SELECT help.silence('w', '16 seconds');
SELECT hansard_api.reap_workers();
SELECT is(lost_at IS NOT NULL, true, 'it is lost') FROM hansard.workers WHERE worker_id = help.id('w');

SELECT is(help.outcomes('v', '[{"session": "taken", "key": "k"}, {"session": "made way", "words": "next"}]'),
          'accepted accepted',
          'one is taken over, one makes way');
SELECT is(help.finishes('{"session": "finished"}'), 'finished', 'one it ends itself, just in time');
SELECT lives_ok($$SELECT hansard_api.erase_conversation(NULL, 'erased', help.id('r')::text)$$, 'one is erased');
CREATE TEMP TABLE before AS
SELECT s.session_id, s.open_turn, s.open_worker, s.unanswered, s.chain_head FROM hansard.sessions s
WHERE session_id <> 'closed';
CREATE TEMP TABLE closed AS SELECT * FROM hansard.sessions WHERE session_id = 'closed';
CREATE TEMP TABLE turns AS SELECT t.* FROM hansard.turns t, closed c WHERE t.conversation_id <> c.conversation_id;
UPDATE hansard.workers SET lost_at = clock_timestamp() - interval '11 seconds' WHERE worker_id = help.id('w');

SELECT is(hansard_api.reap_workers(), 1, 'the one that is left is closed');
SELECT is(ROW(s.open_turn, s.open_worker, s.next_turn, s.unanswered), ROW(NULL::int, NULL::uuid, 3, 1),
          'its session is free, with an unanswered turn')
FROM hansard.sessions s WHERE session_id = 'closed';
SELECT is(s.chain_head, c.chain_head, 'the chain is as it was') FROM hansard.sessions s
JOIN closed c USING (session_key);
SELECT ok(s.last_activity BETWEEN now() AND clock_timestamp(), 'its rest begins now') FROM hansard.sessions s
JOIN closed USING (session_key);
SELECT is(ROW(t.state::text, t.error_code, t.worker_id, t.attempt::int),
          ROW('failed'::text, 'worker_lost'::text, help.id('w'), 1), 'the turn has failed')
FROM hansard.turns t JOIN closed c USING (conversation_id) WHERE t.turn_no = 2;
SELECT is(t.finished_at, s.last_activity, '... at that moment') FROM hansard.turns t
JOIN hansard.sessions s USING (conversation_id)
WHERE s.session_id = 'closed' AND t.turn_no = 2;
SELECT is(t.state::text, 'completed', 'the turn before it is as it was') FROM hansard.turns t
JOIN closed USING (conversation_id) WHERE t.turn_no = 1;
SELECT is(array_agg(m.text ORDER BY turn_no, position), ARRAY['hello', 'hi there', 'lost'], 'no word is lost')
FROM hansard.messages m JOIN closed USING (conversation_id);
SELECT set_eq($$SELECT s.session_id, s.open_turn, s.open_worker, s.unanswered, s.chain_head FROM hansard.sessions s
                WHERE session_id <> 'closed'$$,
              'SELECT * FROM before', 'the sessions that others saw to are as they were');
SELECT set_eq('SELECT t.* FROM hansard.turns t, closed c WHERE t.conversation_id <> c.conversation_id',
              'SELECT * FROM turns', '... and their turns');

-- What comes after.
SELECT is(help.finishes('{"session": "closed", "worker": "w", "turn": 2, "attempt": 1, "answer": "too late"}'), 'HS503',
          'a late result is fenced off');
SELECT is(ROW(outcome, error_code), ROW('replayed'::text, 'worker_lost'::text),
          'a repeat is told that its worker was lost')
FROM help.ask('v', '{"session": "closed", "words": "lost", "key": "lost"}');
SELECT is(ROW(outcome, turn_no, history), ROW('accepted'::text, 3, '{hello,"hi there"}'::text[]),
          'the next message goes on, without the lost words')
FROM help.ask('v', '{"session": "closed"}');
SELECT is(help.finishes('[{"session": "taken"}, {"session": "made way"}, {"session": "closed"}]'),
          'finished finished finished', 'what the others have open ends well');

-- Somebody has the session locked for the moment: it is left to the next time, and so is the worker.
SELECT help.worker('x');
SELECT is(help.outcomes('x', '{"session": "x"}'), 'accepted', 'a turn is open');
SELECT is(hansard.bury_worker(help.id('nobody')), 0, 'burying nobody closes nothing');
SELECT is(hansard.bury_worker(help.id('x')), 1, 'burying closes what is open');
SELECT is_empty($$SELECT FROM hansard.sessions WHERE open_turn IS NOT NULL OR open_worker IS NOT NULL$$,
                'nothing is open any more');

SELECT * FROM finish();
ROLLBACK;
