-- A turn ends with what the model said, or without: what is in the record then. A repeat writes nothing.
BEGIN;
SELECT plan(36);
SELECT help.worker('w');
SELECT help.worker('v');

-- Completed.
CREATE TEMP TABLE first AS SELECT * FROM help.ask('w', '{"words": "hello", "key": "k"}');
UPDATE hansard.sessions SET last_activity = now() - interval '1 minute';
UPDATE hansard.turns SET accepted_at = '2026-01-02 03:04:05.678901+00';
SELECT is(help.finishes('{"answer": "hi there", "model": "m-1", "prompt_tokens": 3, "completion_tokens": 5,
                          "first_byte_ms": 1250, "calls": 2}'),
          'finished', 'a turn is completed');
CREATE TEMP TABLE done AS SELECT * FROM hansard.turns;
SELECT is(ROW(state::text, model, prompt_tokens, completion_tokens, model_attempts::int, error_code),
          ROW('completed'::text, 'm-1'::text, 3, 5, 2, NULL::text), 'what is known of the answer is in the record')
          FROM done;
SELECT is(first_byte_at, '2026-01-02 03:04:06.928901+00'::timestamptz,
          'the first byte is dated from the moment of acceptance') FROM done;
SELECT ok(finished_at BETWEEN now() AND clock_timestamp(), 'it ended now') FROM done;
SELECT is(ROW(worker_id, attempt::int, idempotency_key), ROW(help.id('w'), 1, 'k'::text),
          'the rest of the turn is as it was') FROM done;
SELECT results_eq('SELECT position::int, role::text, text FROM hansard.messages ORDER BY position',
                  $$VALUES (1, 'user', 'hello'), (2, 'assistant', 'hi there')$$,
                  'the answer is the second message of the turn');
SELECT is(ROW(octet_length(m.salt), m.text_hash, m.created_at),
          ROW(16, sha256(m.salt || 'hi there'::bytea), d.finished_at),
          '... with its salted hash, at the moment the turn ended')
FROM hansard.messages m, done d WHERE m.position = 2;
SELECT is(ROW(s.open_turn, s.open_worker, s.next_turn, s.unanswered), ROW(NULL::int, NULL::uuid, 2, 0),
          'the session is free') FROM hansard.sessions s;
SELECT is(s.chain_head, m.chain_hash, 'its chain ends with the answer') FROM hansard.sessions s, hansard.messages m
WHERE m.position = 2;
SELECT is(s.last_activity, d.finished_at, 'its rest begins now') FROM hansard.sessions s, done d;

-- Again, since the reply was lost.
CREATE TEMP TABLE before AS SELECT help.content();
SELECT is(help.finishes('{"worker": "w", "turn": 1, "attempt": 1}'), 'finished', 'the same call again says the same');
SELECT is(help.finishes('{"worker": "w", "turn": 1, "attempt": 1, "answer": "something else"}'), 'finished',
          '... whatever the answer is this time');
SELECT is(help.finishes('{"worker": "w", "turn": 1, "attempt": 1, "state": "failed"}'), 'HS503',
          'but a completed turn does not fail');
SELECT is(help.content(), content, 'nothing was written') FROM before;
SELECT is(help.outcomes('v', '{"words": "next"}'), 'accepted', 'the next turn is open');
SELECT is(help.finishes('{"worker": "w", "turn": 1, "attempt": 1}'), 'finished',
          'the same call once more says the same');
SELECT is(ROW(open_turn, open_worker), ROW(2, help.id('v')), '... and leaves the next turn open') FROM hansard.sessions;

-- Failed.
CREATE TEMP TABLE head AS SELECT chain_head FROM hansard.sessions;
SELECT is(help.finishes('{"state": "failed", "error": "model_timeout", "calls": 3}'), 'finished', 'a turn fails');
SELECT is(ROW(state::text, error_code, model_attempts::int, model, prompt_tokens, completion_tokens, first_byte_at),
          ROW('failed'::text, 'model_timeout'::text, 3, NULL::text, NULL::int, NULL::int, NULL::timestamptz),
          'the record says why')
FROM hansard.turns WHERE turn_no = 2;
SELECT ok(finished_at BETWEEN now() AND clock_timestamp(), '... and that it ended now') FROM hansard.turns
WHERE turn_no = 2;
SELECT is(array_agg(text), ARRAY['next'], 'its words are kept, and there is no answer') FROM hansard.messages
WHERE turn_no = 2;
SELECT is(ROW(open_turn, open_worker, next_turn, unanswered), ROW(NULL::int, NULL::uuid, 3, 1),
          'the session is free and has an unanswered turn') FROM hansard.sessions;
SELECT is(s.chain_head, h.chain_head, 'the chain is as it was') FROM hansard.sessions s, head h;
UPDATE before SET content = help.content();
SELECT is(help.finishes('{"worker": "v", "turn": 2, "attempt": 1, "state": "failed", "error": "model_timeout"}'), 'finished',
          'the same call again says the same');
SELECT is(help.finishes('{"worker": "v", "turn": 2, "attempt": 1}'), 'HS503', 'but a failed turn is not completed');
SELECT is(help.content(), content, 'nothing was written') FROM before;

-- An empty answer is one; a model may tell nothing of itself.
SELECT is(help.outcomes('w', '{"words": "say nothing"}'), 'accepted', 'a third turn is open');
SELECT is(help.finishes('{"answer": ""}'), 'finished', 'its answer is empty');
SELECT is(ROW(m.text, t.state::text, t.model, t.prompt_tokens, t.completion_tokens),
          ROW(''::text, 'completed'::text, NULL::text, NULL::int, NULL::int), '... and is an answer all the same')
FROM hansard.messages m JOIN hansard.turns t USING (conversation_id, turn_no) WHERE m.turn_no = 3 AND m.position = 2;
SELECT is(unanswered, 1, '... which counts') FROM hansard.sessions;

-- What no worker would send.
SELECT is(help.outcomes('w', '{}'), 'accepted', 'a fourth turn is open');
UPDATE before SET content = help.content();
SELECT throws_ok($$SELECT help.finishes('{"answer": null}')$$, '23502', NULL, 'completed without an answer is refused');
SELECT throws_ok($$SELECT help.finishes('{"state": "running"}')$$, '23514', NULL, 'running is not an end');
SELECT throws_ok($$SELECT help.finishes('{"state": "finished"}')$$, '22P02', NULL, 'nor is a word that means nothing');
SELECT is(help.finishes('{"session": "nowhere", "worker": "w", "turn": 1,
                          "conversation": "01890000-0000-7000-8000-000000000000"}'),
          'HS503', 'a turn that never was is nobody''s');
SELECT is(help.content(), content, 'nothing was written') FROM before;

SELECT * FROM finish();
ROLLBACK;
