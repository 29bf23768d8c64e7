-- Many results in one call: each turn gets its own, and one that comes too late spoils nothing.
BEGIN;
SELECT plan(13);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.turn('w', 'done', 'hello', 'hi there');
SELECT is(help.outcomes('w',
                        '[{"session": "a", "words": "qa"}, {"session": "b", "words": "qb"},
                          {"session": "c", "words": "qc"},
                               {"session": "d", "words": "qd"}, {"session": "e", "words": "qe"}]'),
          'accepted accepted accepted accepted accepted', 'five turns are open');
SELECT is(help.outcomes('v', '{"session": "f"}'), 'accepted', 'and one elsewhere');
UPDATE hansard.turns t SET state = 'cancelled', finished_at = now() FROM hansard.sessions s
WHERE s.conversation_id = t.conversation_id AND s.session_id = 'e';

SELECT results_eq(
    $$SELECT item, outcome FROM help.finish('[
        {"session": "d", "answer": "ad", "model": "md", "prompt_tokens": 4, "completion_tokens": 40},
        {"session": "f", "worker": "w"},
        {"session": "b", "state": "failed", "error": "model_failed"},
        {"session": "done", "worker": "w", "turn": 1},
        {"session": "a", "answer": "aa", "model": "ma", "prompt_tokens": 1, "completion_tokens": 10},
        {"session": "e", "answer": "ae"},
        {"session": "c", "answer": "ac", "model": "mc", "prompt_tokens": 3, "completion_tokens": 30}]')$$,
    $$VALUES (1, 'finished'), (2, 'HS503'), (3, 'finished'), (4, 'finished'), (5, 'finished'), (6, 'HS499'),
      (7, 'finished')$$,
    'each is told its own outcome');
SELECT results_eq(
    $$SELECT s.session_id, t.state::text, t.model, t.prompt_tokens, t.completion_tokens, t.error_code
      FROM hansard.sessions s JOIN hansard.turns t USING (conversation_id) ORDER BY s.session_id COLLATE "C"$$,
    $$VALUES ('a', 'completed', 'ma', 1, 10, NULL), ('b', 'failed', NULL, NULL, NULL, 'model_failed'),
      ('c', 'completed', 'mc', 3, 30, NULL),
             ('d', 'completed', 'md', 4, 40, NULL), ('done', 'completed', NULL, NULL, NULL, NULL),
             ('e', 'cancelled', NULL, NULL, NULL, NULL), ('f', 'running', NULL, NULL, NULL, NULL)$$,
    'each turn has its own end');
SELECT results_eq(
    $$SELECT s.session_id, string_agg(m.text, ' ' ORDER BY m.position)
      FROM hansard.sessions s JOIN hansard.messages m USING (conversation_id)
      WHERE s.session_id IN ('a', 'b', 'c', 'd', 'e') GROUP BY s.session_id ORDER BY s.session_id COLLATE "C"$$,
    $$VALUES ('a', 'qa aa'), ('b', 'qb'), ('c', 'qc ac'), ('d', 'qd ad'), ('e', 'qe')$$,
    '... and its own answer');
SELECT is(string_agg(session_id || unanswered, ' ' ORDER BY session_id COLLATE "C"), 'a0 b1 c0 d0 done0',
          'their sessions are free')
FROM hansard.sessions WHERE open_turn IS NULL;
SELECT is(array_agg(open_worker ORDER BY session_id), ARRAY[help.id('w'), help.id('v')], 'the others are not')
FROM hansard.sessions WHERE open_turn IS NOT NULL;
SELECT is(count(*), 5::bigint, 'each chain ends with its newest message')
FROM hansard.sessions s
JOIN LATERAL (SELECT chain_hash FROM hansard.messages m WHERE m.conversation_id = s.conversation_id
                                      ORDER BY turn_no DESC, position DESC LIMIT 1) AS m ON m.chain_hash = s.chain_head
WHERE s.open_turn IS NULL;

-- The same result twice in one call: one message.
SELECT is(help.finishes('[{"session": "f", "answer": "af"}, {"session": "f", "answer": "af"}]'), 'finished finished',
          'the same result twice in one call is taken');
SELECT is(count(*), 1::bigint, '... once')
FROM hansard.messages m JOIN hansard.sessions s USING (conversation_id) WHERE s.session_id = 'f' AND m.position = 2;
SELECT is(ROW(open_turn, unanswered), ROW(NULL::int, 0), '... and the session is free') FROM hansard.sessions
WHERE session_id = 'f';

-- Two attempts at one turn in one call: the one that has it.
SELECT is(help.outcomes('w', '{"session": "f"}'), 'accepted', 'the next turn is open');
SELECT is(help.finishes('[{"session": "f", "attempt": 2, "answer": "wrong"}, {"session": "f", "answer": "right"},
                          {"session": "f", "worker": "v", "answer": "wrong"}]'),
          'HS503 finished HS503', 'of several results in one call the right one is taken');

SELECT * FROM finish();
ROLLBACK;
