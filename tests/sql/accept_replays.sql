-- One key, one turn: when it has ended, a repeat gets what is stored, costs nothing and stores nothing.
BEGIN;
SELECT plan(21);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.caller('ann', 'free');

SELECT is(help.outcomes('w', '{"key": "good", "words": "hello", "address": "192.0.2.1"}'), 'accepted',
          'a turn is opened');
SELECT is(help.outcomes('w', '{"key": "good", "words": "bye"}'), 'HS422',
          'its key cannot stand for other words while it runs');
SELECT is(help.finishes('{"answer": "hi there", "model": "m-1", "prompt_tokens": 3, "completion_tokens": 5}'),
          'finished', 'it is answered');
SELECT is(help.outcomes('w', '{"key": "bad", "words": "trouble"}'), 'accepted', 'another is opened');
SELECT is(help.finishes('{"state": "failed", "error": "model_timeout"}'), 'finished', 'it fails');
SELECT is(help.outcomes('w', '{"key": "gone", "words": "never mind"}'), 'accepted', 'a third is opened');
UPDATE hansard.turns SET state = 'cancelled', finished_at = now(), error_code = 'turn_cancelled'
WHERE idempotency_key = 'gone';
UPDATE hansard.sessions SET open_turn = NULL, open_worker = NULL, unanswered = unanswered + 1;
CREATE TEMP TABLE before AS SELECT help.content();

SELECT is(ROW(outcome, turn_no, reply, model, prompt_tokens, completion_tokens, error_code),
          ROW('replayed'::text, 1, 'hi there'::text, 'm-1'::text, 3, 5, NULL::text),
          'a repeat gets the answer, and what is known of it')
FROM help.ask('v', '{"key": "good", "words": "hello"}');
SELECT is(ROW(outcome, turn_no, reply, error_code), ROW('replayed'::text, 2, NULL::text, 'model_timeout'::text),
          'a repeat of the failed turn gets its error')
FROM help.ask('v', '{"key": "bad", "words": "trouble"}');
SELECT is(ROW(outcome, turn_no, reply, error_code), ROW('replayed'::text, 3, NULL::text, 'turn_cancelled'::text),
          'so does one of the cancelled turn')
FROM help.ask('v', '{"key": "gone", "words": "never mind"}');
SELECT is(help.outcomes('w', '{"key": "good", "words": "bye"}'), 'HS422', 'the key cannot stand for other words');
SELECT is(help.outcomes('w', '{"key": "bad", "words": "bye"}'), 'HS422', '... nor that of the failed turn');
SELECT is(ROW(conversation_id, reply, error_code, quota_limit, retry_after_ms),
          ROW((SELECT s.conversation_id FROM hansard.sessions s), NULL::text, NULL::text, 10, NULL::int),
          'nothing of the turn is told to such a request')
FROM help.ask('w', '{"key": "good", "words": "bye"}');
SELECT is(help.outcomes('w', '[{"key": "good", "words": "hello"}, {"key": "good", "words": "hello"}]'),
          'replayed replayed',
          'two repeats in one batch both get the answer');
SELECT is(help.content(), content, 'nothing was stored, and no quota taken') FROM before;

UPDATE hansard.rate_limits SET tat_us = tat_us + 60000000 WHERE limit_key = 'addr:192.0.2.1';
SELECT is(help.outcomes('w',
                        '[{"session": "t", "address": "192.0.2.1"},
                          {"key": "good", "words": "hello", "address": "192.0.2.1"}]'),
          'HS429 replayed', 'a repeat is answered when the quota is spent');

SELECT is(help.outcomes('w', '{"key": "busy"}'), 'accepted', 'a fourth turn is open');
SELECT is(help.outcomes('w', '{"key": "good", "words": "hello"}'), 'replayed',
          'a repeat of the first is answered meanwhile');
SELECT is(help.outcomes('w',
                        '[{"session": "t", "key": "good", "words": "bye"},
                          {"caller": "ann", "key": "good", "words": "bye"}]'),
          'accepted accepted', 'in another session, or of another owner, it is another key');

-- A key lives as long as its conversation is the current one, however long that rests.
SELECT is(help.finishes('{}'), 'finished', 'the fourth turn is answered');
UPDATE hansard.sessions SET last_activity = now() - interval '30 days' WHERE session_key = help.session_key('s');
SELECT is(ROW(outcome, reply), ROW('replayed'::text, 'hi there'::text),
          'a repeat after the session has expired gets the answer')
FROM help.ask('w', '{"key": "good", "words": "hello"}');
SELECT is(count(*), 1::bigint, '... and starts no new conversation')
FROM hansard.conversations WHERE session_key = help.session_key('s');

SELECT * FROM finish();
ROLLBACK;
