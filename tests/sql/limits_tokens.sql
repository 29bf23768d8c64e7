-- The cap on a day's tokens: reserved when a turn opens, settled once when it ends, and new every day.
BEGIN;
SELECT plan(60);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.capped('t', NULL, 1000, 100);
CREATE FUNCTION pg_temp.spend(tokens bigint, of_day integer DEFAULT 0) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO hansard.allowances (limit_key, day, tokens_spent)
    VALUES (help.limit_key('t'), (clock_timestamp() AT TIME ZONE 'UTC')::date + of_day, tokens)
    ON CONFLICT (limit_key) DO UPDATE SET tokens_spent = excluded.tokens_spent, day = excluded.day
$$;
CREATE FUNCTION pg_temp.ask(what jsonb, worker text DEFAULT 'w') RETURNS text
LANGUAGE sql
AS $$
    SELECT string_agg(outcome || coalesce(' ' || tokens_remaining, ''), ', ' ORDER BY item)
    FROM help.ask(worker, (SELECT jsonb_agg('{"caller": "t"}' || a) FROM jsonb_array_elements(
        CASE jsonb_typeof(what) WHEN 'array' THEN what ELSE jsonb_build_array(what) END) AS a))
$$;
CREATE FUNCTION pg_temp.finish(what jsonb) RETURNS text
LANGUAGE sql
AS $$ SELECT help.finishes('{"caller": "t"}' || what) || ': ' || help.counted('t') $$;

-- The estimate: reserved for the answer, four bytes of words to a token, and what the turn before came to.
SELECT is(pg_temp.ask('{"words": "hey"}'), 'accepted 900', 'three bytes are no token');
SELECT is(help.counted('t'), '1, 100, 0', '... what is reserved for the answer is held');
SELECT is(pg_temp.finish('{"prompt_tokens": 30, "completion_tokens": 12}'), 'finished: 0, 0, 42', 'what was used is what counts');
SELECT is(pg_temp.ask('{"words": "heyheyhe"}'), 'accepted 814', 'eight bytes are two, and the turn before is in the prompt');
SELECT is(help.counted('t'), '1, 144, 42', '... held with it');
SELECT is(pg_temp.finish('{}'), 'finished: 0, 0, 186', 'a model that does not tell costs what was reserved');
SELECT is(pg_temp.ask('{}'), 'accepted 713', 'the next turn cannot know what that came to');
SELECT is(pg_temp.finish('{"state": "failed"}'), 'finished: 0, 0, 186', 'one that failed without a word costs nothing');
SELECT is(pg_temp.ask('{}') || ' ' || pg_temp.finish('{"state": "failed", "prompt_tokens": 3, "completion_tokens": 4}'),
          'accepted 713 finished: 0, 0, 193', 'one that failed and told costs what it told');
SELECT is(pg_temp.ask('{"session": "big"}') || ' ' || pg_temp.finish('{"session": "big", "prompt_tokens": 2147483647,
                                                                                      "completion_tokens": 2147483647}'),
          'accepted 706 finished: 0, 0, 4294967487', 'more than was reserved may be used, however much');
UPDATE hansard.tiers SET tokens_per_day = 10000000000 WHERE tier = 't';
SELECT is(pg_temp.ask('{"session": "big"}'), 'accepted 1410065118', 'and the conversation goes on, if the cap allows');
SELECT is(pg_temp.finish('{"session": "big", "state": "failed"}'), 'finished: 0, 0, 4294967487', '(it ends)');
UPDATE hansard.tiers SET tokens_per_day = 1000 WHERE tier = 't';

-- At the cap, and one above.
SELECT pg_temp.spend(900);
SELECT is(pg_temp.ask('{"session": "a", "words": ""}'), 'accepted 0', 'the last tokens of the day can be reserved');
SELECT is(pg_temp.finish('{"session": "a", "state": "failed"}'), 'finished: 0, 0, 900', '(given back)');
SELECT pg_temp.spend(901);
CREATE TEMP TABLE before AS SELECT help.content();
CREATE TEMP TABLE refused AS SELECT * FROM help.ask('w', '{"caller": "t", "session": "a", "words": ""}');
SELECT is(ROW(outcome, policy, tokens_limit, tokens_remaining), ROW('HS431'::text, 't'::text, 1000::bigint, 99::bigint),
          'one token less is too few') FROM refused;
SELECT ok(tokens_reset_ms BETWEEN 1 AND 86400000, '... the day ends some time') FROM refused;
SELECT ok(abs(tokens_reset_ms - extract(epoch FROM date_trunc('day', now(), 'UTC') + interval '24 h' - clock_timestamp()) * 1000) < 5000,
          '... at midnight, UTC') FROM refused;
SELECT is(retry_after_ms, tokens_reset_ms, 'spent tokens are back when the day is over') FROM refused;
SELECT is(help.content(), content, 'nothing is stored') FROM before;
SELECT pg_temp.spend(700);
SELECT is(pg_temp.ask('[{"session": "a"}, {"session": "b"}, {"session": "c"}]'), 'accepted 199, accepted 98, HS431 98',
          'in one batch the reserved count one after the other');
SELECT is(pg_temp.ask('{"session": "c"}', 'v'), 'HS431 98', '... and over several, wherever');
SELECT is(retry_after_ms, 1000, 'reserved tokens may be back any time') FROM help.ask('w', '{"caller": "t", "session": "c"}');
SELECT is(help.finishes('[{"caller": "t", "session": "a", "prompt_tokens": 1, "completion_tokens": 1},
                          {"caller": "t", "session": "b", "prompt_tokens": 2, "completion_tokens": 2}]'), 'finished finished',
          'a batch of results of one caller');
SELECT is(help.counted('t'), '0, 0, 706', '... adds up');
SELECT pg_temp.spend(700);
SELECT is(pg_temp.ask(jsonb_build_array(jsonb_build_object('session', 'a', 'words', repeat('long', 300)), '{"session": "b"}'::jsonb)),
          'HS431 300, accepted 195', 'who asks for too much is not in the way of the next');
SELECT is(pg_temp.finish('{"session": "b", "state": "failed"}'), 'finished: 0, 0, 700', '(it ends)');
SELECT help.capped('both', 2, 1000, 100);
SELECT is(string_agg(outcome || ' ' || tokens_remaining, ', ' ORDER BY item), 'accepted 899, HS431 899, accepted 798, HS430 798',
          'nor does it take the place of an open turn')
FROM help.ask('w', jsonb_build_array('{"caller": "both", "session": "a"}'::jsonb,
                                     jsonb_build_object('caller', 'both', 'session', 'b', 'words', repeat('long', 1000)),
                                     '{"caller": "both", "session": "c"}'::jsonb, '{"caller": "both", "session": "d"}'::jsonb));

-- Every outcome tells what is left.
SELECT pg_temp.spend(0);
SELECT is(pg_temp.ask('{"session": "k", "key": "k", "request": "r"}'), 'accepted 899', 'accepted');
SELECT is(pg_temp.ask('{"session": "k", "key": "k", "request": "r"}'), 'accepted 899', 'accepted again');
SELECT is(pg_temp.ask('{"session": "k", "key": "l"}'), 'waiting 899', 'waiting');
SELECT is(pg_temp.ask('{"session": "k", "key": "k", "words": "x"}'), 'HS422 899', 'another request');
SELECT help.silence('w', '16 s');
SELECT is(pg_temp.ask('{"session": "k", "key": "k"}', 'v'), 'accepted 899', 'taken over');
SELECT is(help.counted('t'), '1, 101, 0', '... which holds what it held');
SELECT help.worker('w');
SELECT is(pg_temp.finish('{"session": "k", "prompt_tokens": 20, "completion_tokens": 20}'), 'finished: 0, 0, 40', '(it ends)');
SELECT is(pg_temp.ask('[{"session": "k", "key": "k"}, {"session": "l"}, {"session": "m", "caller": "nobody"}]'),
          'replayed 859, accepted 859, HS401', 'replayed, in a batch: with what is left after all of it');
SELECT ok(tokens_limit = 1000 AND tokens_reset_ms > 0 AND retry_after_ms IS NULL, '... of how much, and until when')
FROM help.ask('w', '{"caller": "t", "session": "k", "key": "k"}');
SELECT help.capped('slow', NULL, 1000, 100, 1, 1);
SELECT is(string_agg(outcome || ' ' || tokens_remaining, ', ' ORDER BY item), 'accepted 899, HS429 899, HS429 899',
          'refused by the rate: nothing is reserved for it')
FROM help.ask('w', '[{"caller": "slow", "session": "a"}, {"caller": "slow", "session": "b"}, {"caller": "slow", "session": "c"}]');
SELECT is(help.counted('slow'), '1, 101, 0', '... nor held');

-- Counted once.
CREATE TEMP TABLE l AS SELECT conversation_id FROM hansard.sessions WHERE session_id = 'l';
SELECT is(pg_temp.finish('{"session": "l", "prompt_tokens": 5, "completion_tokens": 5}'), 'finished: 0, 0, 50', 'a result');
SELECT is(pg_temp.finish(jsonb_build_object('session', 'l', 'worker', 'w', 'turn', 1, 'attempt', 1, 'conversation', conversation_id,
                                            'prompt_tokens', 5, 'completion_tokens', 5)),
          'finished: 0, 0, 50', 'the same result once more') FROM l;
SELECT is(pg_temp.finish(jsonb_build_object('session', 'l', 'worker', 'v', 'turn', 1, 'attempt', 1, 'conversation', conversation_id,
                                            'prompt_tokens', 5, 'completion_tokens', 5)),
          'HS503: 0, 0, 50', 'the result of a worker whose turn it is not') FROM l;
SELECT is(pg_temp.ask('{"session": "late"}'), 'accepted 849', 'a turn is open');
CREATE TEMP TABLE late AS SELECT conversation_id FROM hansard.sessions WHERE session_id = 'late';
SELECT help.silence('w', '16 s');
SELECT is(pg_temp.ask('{"session": "late", "words": "next"}', 'v'), 'accepted 849', 'its worker dies, and it makes way');
SELECT is(pg_temp.finish(jsonb_build_object('session', 'late', 'worker', 'w', 'turn', 1, 'attempt', 1, 'conversation',
                                            conversation_id, 'prompt_tokens', 5, 'completion_tokens', 5)),
          'HS503: 1, 101, 50', 'the late result counts for nothing') FROM late;
SELECT is(help.finishes('{"caller": "t", "session": "late", "turn": 2, "prompt_tokens": 3, "completion_tokens": 0}'), 'finished', '(it ends)');
SELECT help.worker('w');
SELECT is(help.counted('t'), '0, 0, 53', 'what is known of a turn''s tokens counts');
SELECT is(pg_temp.ask('{"session": "erased"}'), 'accepted 846', 'a turn is open');
CREATE TEMP TABLE erased AS SELECT conversation_id FROM hansard.sessions WHERE session_id = 'erased';
SELECT lives_ok($$SELECT hansard_api.erase_conversation(help.hash('t'), 'erased', help.id('r')::text)$$, 'it is erased');
SELECT is(help.counted('t'), '0, 0, 154', '... and costs what was reserved, for its model goes on');
SELECT is(pg_temp.finish(jsonb_build_object('session', 'erased', 'worker', 'w', 'turn', 1, 'attempt', 1, 'conversation',
                                            conversation_id, 'prompt_tokens', 5, 'completion_tokens', 5)),
          'HS499: 0, 0, 154', '... once') FROM erased;
SELECT lives_ok($$SELECT hansard_api.erase_conversation(help.hash('t'), 'late', help.id('r')::text)$$, 'one with nothing open is erased');
SELECT is(help.counted('t'), '0, 0, 154', '... and costs nothing');
SELECT is(pg_temp.ask('{"session": "buried"}'), 'accepted 745', 'a turn is open');
UPDATE hansard.workers SET lost_at = now() - interval '11 s' WHERE worker_id = help.id('w');
SELECT is(hansard_api.reap_workers() || ': ' || help.counted('t'), '4: 0, 0, 154', 'buried with its worker it costs nothing');
SELECT is(count(*), 0::bigint, '... and leaves no hold') FROM hansard.holds;

-- The days.
SELECT help.worker('w');
SELECT pg_temp.spend(950, -1);
SELECT is(help.outcomes('w', '{"caller": "t", "session": "k", "key": "k"}') || ' ' || tokens_remaining, 'replayed 1000',
          'yesterday''s tokens are not today''s') FROM help.ask('w', '{"caller": "t", "session": "k", "key": "k"}');
SELECT is(pg_temp.ask('{"session": "n"}'), 'accepted 899', 'a new day begins with the first turn');
SELECT pg_temp.spend(950, -1);
SELECT is(pg_temp.finish('{"session": "n", "prompt_tokens": 7, "completion_tokens": 1}'), 'finished: 0, 0, 8',
          '... or with the end of one that began the day before');
SELECT pg_temp.spend(950, 1);
SELECT is(pg_temp.ask('{"session": "n"}'), 'HS431 50', 'who waited here over midnight does not turn the day back');
SELECT pg_temp.spend(950, 400);
SELECT is(pg_temp.ask('{"session": "o"}'), 'accepted 899', 'but a clock that was set back locks nobody out');

SELECT * FROM finish();
ROLLBACK;
