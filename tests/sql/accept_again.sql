-- A reply was lost on its way to the worker: the same call is made again, and finds out what happened.
BEGIN;
SELECT plan(17);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.turn('w', 's', 'hello', 'hi there');
CREATE TEMP TABLE first AS SELECT *
FROM help.ask('w', '{"key": "k", "request": "r", "words": "more", "address": "192.0.2.1"}');
SELECT is(outcome, 'accepted', 'a turn is open') FROM first;
CREATE TEMP TABLE before AS SELECT help.content();

CREATE TEMP TABLE again AS SELECT *
FROM help.ask('w', '{"key": "k", "request": "r", "words": "more", "address": "192.0.2.1"}');
SELECT is(outcome, 'accepted', 'the same request is accepted again') FROM again;
SELECT is(ROW(a.conversation_id, a.session_key, a.turn_no, a.attempt),
          ROW(f.conversation_id, f.session_key, f.turn_no, f.attempt),
          'as the same attempt at the same turn') FROM again a, first f;
SELECT is(history, ARRAY['hello', 'hi there'], 'with the same history') FROM again;
SELECT is(ROW(a.quota_limit, a.quota_window_s, a.quota_remaining, a.retry_after_ms), ROW(10, 60, f.quota_remaining, 0),
          'and told the quota that is left, as the first was') FROM again a, first f;
SELECT ok(a.quota_reset_ms BETWEEN 1 AND f.quota_reset_ms, '... which is whole again when it was to be')
FROM again a, first f;
SELECT is(help.outcomes('w',
                        '[{"key": "k", "request": "r", "words": "more"},
                          {"key": "k", "request": "r", "words": "more"}]'),
          'accepted accepted', 'however often');
SELECT is(help.outcomes('w', '{"key": "k", "request": "r", "words": "less"}'), 'HS422', 'but not with other words');
SELECT is(help.content(), content, 'nothing was stored, and no quota taken') FROM before;
SELECT is(help.finishes('{"worker": "w", "turn": 2, "attempt": 1}'), 'finished', 'its result is taken');
SELECT is(ROW(outcome, reply), ROW('replayed'::text, 'hi there'::text), 'after that the request gets the answer')
FROM help.ask('w', '{"key": "k", "request": "r", "words": "more"}');

-- The quota is spent meanwhile: a repeat does not ask for any.
SELECT is(help.outcomes('w', '{"key": "last", "request": "last", "address": "192.0.2.1"}'), 'accepted',
          'the next turn is open');
UPDATE hansard.rate_limits SET tat_us = tat_us + 60000000 WHERE limit_key = 'addr:192.0.2.1';
SELECT is(help.outcomes('w', '{"session": "t", "address": "192.0.2.1"}'), 'HS429', 'then the quota is spent');
SELECT is(help.outcomes('w', '{"key": "last", "request": "last", "address": "192.0.2.1"}'), 'accepted',
          'and the repeat is accepted all the same');

-- After an unanswered turn the history is read in another way.
SELECT is(help.finishes('{"state": "failed"}'), 'finished', 'the turn fails');
SELECT is(array_length(history, 1), 4, 'the next one is shown two turns')
FROM help.ask('w', '{"key": "z", "request": "z"}');
SELECT is(history, ARRAY['hello', 'hi there', 'more', 'hi there'], '... and again when it is asked again')
FROM help.ask('w', '{"key": "z", "request": "z"}');

SELECT * FROM finish();
ROLLBACK;
