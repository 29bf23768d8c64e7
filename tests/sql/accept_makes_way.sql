-- The worker of a turn dies and nobody repeats it: the next message closes it as lost and has its turn.
BEGIN;
SELECT plan(22);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.turn('w', 's', 'hello', 'hi there');
CREATE TEMP TABLE first AS SELECT * FROM help.ask('w', '{"key": "k", "request": "r", "words": "lost words"}');
SELECT is(ROW(outcome, turn_no), ROW('accepted'::text, 2), 'a turn is open') FROM first;
SELECT is(help.outcomes('v', '{"words": "next"}'), 'waiting', 'the next message waits while the worker lives');
SELECT help.silence('w', '16 seconds');

-- Who is refused closes nothing.
UPDATE hansard.tiers SET burst = 1 WHERE tier = 'anonymous';
SELECT is(help.outcomes('v', '{"session": "t", "address": "192.0.2.1"}'), 'accepted', 'somebody uses up his quota');
SELECT is(help.outcomes('v', '{"words": "next", "address": "192.0.2.1"}'), 'HS429', 'then his message is refused');
SELECT is(ROW(t.state::text, s.open_turn), ROW('running'::text, 2), '... and closes nothing')
FROM hansard.sessions s JOIN hansard.turns t ON t.conversation_id = s.conversation_id AND t.turn_no = 2
WHERE s.session_id = 's';

CREATE TEMP TABLE next AS SELECT * FROM help.ask('v', '{"key": "n", "words": "next"}');
SELECT is(ROW(outcome, turn_no, attempt), ROW('accepted'::text, 3, 1), 'a message after the death is the next turn')
FROM next;
SELECT is(n.conversation_id, f.conversation_id, 'of the same conversation') FROM next n, first f;
SELECT is(history, ARRAY['hello', 'hi there'], 'the lost words are not shown to the model') FROM next;
SELECT is(ROW(t.state::text, t.error_code, t.worker_id, t.attempt::int),
          ROW('failed'::text, 'worker_lost'::text, help.id('w'), 1),
          'the lost turn has failed')
FROM hansard.turns t JOIN first USING (conversation_id, turn_no);
SELECT ok(t.finished_at BETWEEN now() AND clock_timestamp(), '... now') FROM hansard.turns t
JOIN first USING (conversation_id, turn_no);
SELECT is(text, 'lost words', '... and its words are kept') FROM hansard.messages m
JOIN first USING (conversation_id, turn_no);
SELECT is(ROW(open_turn, open_worker, next_turn, unanswered), ROW(3, help.id('v'), 4, 1),
          'the session counts it as unanswered')
FROM hansard.sessions WHERE session_id = 's';
SELECT is(ROW(outcome, error_code), ROW('replayed'::text, 'worker_lost'::text), 'a repeat of the lost turn is told so')
FROM help.ask('v', '{"key": "k", "words": "lost words"}');

CREATE TEMP TABLE before AS SELECT help.content();
SELECT is(help.finishes('{"worker": "w", "turn": 2, "attempt": 1}'), 'HS503',
          'the late result of the dead is fenced off');
SELECT is(help.content(), content, '... and stores nothing') FROM before;
SELECT is(help.finishes('{"answer": "the answer"}'), 'finished', 'the next turn is answered');
SELECT is(history, ARRAY['hello', 'hi there', 'next', 'the answer'],
          'what the model is shown leaves the lost turn out for ever')
FROM help.ask('v', '{"words": "and so on"}');

-- In a batch with others, and in the very first turn.
SELECT help.worker('w');
SELECT is(help.outcomes('w', '[{"session": "a"}, {"session": "b"}]'), 'accepted accepted', 'two first turns are open');
SELECT help.silence('w', '16 seconds');
SELECT is(string_agg(outcome || ' ' || turn_no, ', '), 'accepted 2, waiting 2, accepted 1, accepted 2', 'both make way')
FROM help.ask('v', '[{"session": "a"}, {"session": "a"}, {"session": "c"}, {"session": "b"}]');
SELECT is(string_agg(s.session_id || t.turn_no || t.state, ' ' ORDER BY s.session_id, t.turn_no),
          'a1failed a2running b1failed b2running c1running', 'each once')
FROM hansard.sessions s JOIN hansard.turns t USING (conversation_id) WHERE s.session_id IN ('a', 'b', 'c');

-- A worker's own turn never makes way for it.
SELECT is(help.outcomes('v', '{"session": "own"}'), 'accepted', 'a turn is open');
SELECT help.silence('v', '16 seconds');
SELECT is(help.outcomes('v', '{"session": "own"}'), 'waiting', 'a silent worker does not close its own turns');

SELECT * FROM finish();
ROLLBACK;
