-- The cap on a caller's open turns: exact, in one batch and over many, and whatever becomes of the turns.
BEGIN;
SELECT plan(45);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.capped('two', 2);
SELECT help.capped('three', 3, 1000000, 100);
SELECT help.caller('free', 'free');

-- At the cap, and one above.
SELECT is(help.outcomes('w', '{"caller": "two", "session": "a"}') || ' ' || help.outcomes('w', '{"caller": "two", "session": "b"}'),
          'accepted accepted', 'as many as the cap are accepted');
CREATE TEMP TABLE before AS SELECT help.content();
CREATE TEMP TABLE refused AS SELECT * FROM help.ask('v', '{"caller": "two", "session": "c"}');
SELECT is(ROW(outcome, policy, retry_after_ms, history, reply), ROW('HS430'::text, 'two'::text, 100, NULL::text[], NULL::text),
          'one more is refused, at another worker, too') FROM refused;
SELECT is(ROW(quota_limit, quota_remaining, tokens_limit, tokens_remaining), ROW(NULL::int, NULL::int, NULL::bigint, NULL::bigint),
          'without limits that its tier has not') FROM refused;
SELECT is(help.content(), content, 'nothing is stored') FROM before;
SELECT is(help.counted('two'), '2, 2002, 0', 'two holds are there');
SELECT is(help.finishes('{"caller": "two", "session": "a"}'), 'finished', 'one turn ends');
SELECT is(help.outcomes('w', '[{"caller": "two", "session": "a"}, {"caller": "two", "session": "c"}]'), 'accepted HS430',
          'then one more is accepted, and only one');
SELECT is(help.finishes('[{"caller": "two", "session": "a"}, {"caller": "two", "session": "b", "state": "failed"}]'),
          'finished finished', 'one ends well, one fails');
SELECT is(help.counted('two'), '0, 0, 2002', 'neither is open any more');

-- In one batch, with others.
CREATE TEMP TABLE batch AS SELECT * FROM help.ask('w', '[
    {"caller": "three", "session": "1"}, {"caller": "two", "session": "1"}, {"session": "1"}, {"caller": "three", "session": "2"},
    {"caller": "two", "session": "2"}, {"caller": "free", "session": "1"}, {"caller": "two", "session": "3"},
    {"caller": "three", "session": "3"}, {"caller": "three", "session": "4"}, {"caller": "free", "session": "2"},
    {"caller": "nobody"}, {"caller": "two", "session": "1", "words": "next"}]');
SELECT is(string_agg(outcome, ' ' ORDER BY item), 'accepted accepted accepted accepted accepted accepted HS430 accepted HS430 '
          'accepted HS401 waiting', 'each caller has his own cap, in the order of the requests') FROM batch;
SELECT is(string_agg(DISTINCT policy || ' ' || coalesce(tokens_limit::text, 'none'), ', '),
          'anonymous none, free none, three 1000000, two none', 'a tier''s cap on tokens is told to its callers only') FROM batch;
SELECT is(array_agg(tokens_remaining ORDER BY item), '{999899,999798,999697,999697}', 'with what each leaves') FROM batch
WHERE policy = 'three';
SELECT is(count(*), 5::bigint, 'who has no caps leaves no holds') FROM hansard.holds;
SELECT is(help.outcomes('w', '{"caller": "free", "session": "3"}') || count(*), 'accepted5', '... nor alone') FROM hansard.holds;
SELECT is(help.finishes('[{"caller": "two", "session": "1"}, {"caller": "two", "session": "2"}, {"caller": "three", "session": "1"},
                          {"caller": "three", "session": "2"}, {"caller": "three", "session": "3"}]'),
          'finished finished finished finished finished', 'all end');
SELECT is(count(*), 0::bigint, '... and no hold is left') FROM hansard.holds;

-- Over the rate: refused by a cap it costs no rate; refused by the rate it leaves no hold.
SELECT help.capped('rated', 2, NULL, 1000, 6, 3);
SELECT is(string_agg(outcome || coalesce(' ' || quota_remaining, ''), ', ' ORDER BY item), 'accepted 2, accepted 1, HS430 1, HS430 1',
          'refused by the cap, a request costs no quota, and is told the quota')
FROM help.ask('w', '[{"caller": "rated", "session": "1"}, {"caller": "rated", "session": "2"}, {"caller": "rated", "session": "3"},
                     {"caller": "rated", "session": "4"}]');
SELECT is(help.finishes('[{"caller": "rated", "session": "1"}, {"caller": "rated", "session": "2"}]'), 'finished finished', '(they end)');
CREATE TEMP TABLE rated AS
SELECT * FROM help.ask('w', '[{"caller": "rated", "session": "1"}, {"caller": "rated", "session": "2"}]');
SELECT is(string_agg(outcome || ' ' || quota_remaining, ', ' ORDER BY item), 'accepted 0, HS429 0', 'then the rate refuses one')
FROM rated;
SELECT ok(retry_after_ms BETWEEN 5000 AND 10000, '... for as long as the rate says') FROM rated WHERE outcome = 'HS429';
SELECT is(help.counted('rated'), '1, 1001, 2002', '... which leaves no hold');
UPDATE hansard.rate_limits SET tat_us = 0;
SELECT is(help.outcomes('w', '[{"caller": "rated", "session": "2"}, {"caller": "rated", "session": "3"}]'), 'accepted HS430',
          '... so that there is room for one when the rate has come back');

-- What is no new turn takes no hold, and needs no room.
SELECT help.capped('one', 1);
SELECT is(help.outcomes('w', '{"caller": "one", "key": "k", "request": "r"}'), 'accepted', 'a turn is open, and the cap is reached');
CREATE TEMP TABLE held AS SELECT * FROM hansard.holds;
SELECT is(help.outcomes('w', '{"caller": "one", "key": "k", "request": "r"}'), 'accepted', 'the same request is accepted again');
SELECT is(help.outcomes('w', '{"caller": "one", "words": "next"}') || ' ' || help.outcomes('w', '{"caller": "one", "key": "k"}'),
          'waiting waiting', 'who waits in the conversation, or for the key, waits');
SELECT is(help.outcomes('w', '{"caller": "one", "key": "k", "words": "other"}'), 'HS422', 'another request under the key is refused as such');
SELECT set_eq('SELECT * FROM hansard.holds', 'SELECT * FROM held', 'none of which changes a hold');

-- The worker dies: its hold does not count, moves with a takeover, and goes with the turn that makes way.
SELECT help.silence('w', '16 seconds');
SELECT is(help.outcomes('v', '{"caller": "one", "key": "k"}'), 'accepted', 'a turn is taken over');
SELECT is(worker_id, help.id('v'), '... and its hold goes along') FROM hansard.holds WHERE limit_key = help.limit_key('one');
SELECT is(help.outcomes('v', '{"caller": "one", "session": "t"}'), 'HS430', '... and counts');
SELECT help.worker('w');
SELECT help.worker('x');
SELECT help.silence('v', '16 seconds');
SELECT is(help.outcomes('w', '[{"caller": "one", "session": "t"}, {"caller": "one", "session": "u"}]'), 'accepted HS430',
          'holds of the dead do not count');
SELECT is(help.counted('one'), '2, 2002, 0', '... though they are there');
SELECT is(help.outcomes('x', '{"caller": "one", "words": "next"}'), 'HS430', 'a turn that would make way stays when its successor is refused');
SELECT is(help.counted('one'), '2, 2002, 0', '... and its hold with it');
SELECT is(help.finishes('{"caller": "one", "session": "t", "prompt_tokens": 5, "completion_tokens": 2}'), 'finished', 'the other ends');
SELECT is(help.outcomes('x', '{"caller": "one", "words": "next"}'), 'accepted', 'now it makes way');
SELECT is(help.counted('one'), '1, 1001, 7', '... its hold is gone, and nothing was spent');
SELECT is(worker_id, help.id('x'), 'the one left is that of the new turn') FROM hansard.holds WHERE limit_key = help.limit_key('one');
SELECT is(help.finishes('{"caller": "one"}'), 'finished', 'which ends');

-- A session that begins anew leaves the old turn''s hold no more than it leaves the turn.
SELECT is(help.outcomes('w', '{"caller": "one", "session": "old"}'), 'accepted', 'a turn is open');
SELECT help.silence('w', '2 days');
UPDATE hansard.sessions SET last_activity = now() - interval '2 days' WHERE session_id = 'old';
SELECT is(help.outcomes('x', '{"caller": "one", "session": "old"}'), 'accepted', 'two days later a new conversation begins');
SELECT is(count(*), 1::bigint, '... and the old hold is gone') FROM hansard.holds WHERE limit_key = help.limit_key('one');
SELECT is(help.finishes('{"caller": "one", "session": "old"}'), 'finished', '(it ends)');

-- By address, and after a change of tier.
UPDATE hansard.tiers SET parallel_turns = 1 WHERE tier = 'anonymous';
SELECT is(help.outcomes('x', '[{"session": "a", "address": "192.0.2.1"}, {"session": "b", "address": "192.0.2.1"},
                               {"session": "c", "address": "192.0.2.2"}, {"caller": "one", "address": "192.0.2.1"}]'),
          'accepted HS430 accepted accepted', 'who has no key is counted by address');
SELECT hansard_admin.set_tier('one', 'two');
SELECT is(help.outcomes('x', '[{"caller": "one", "session": "y"}, {"caller": "one", "session": "z"}]'), 'accepted HS430',
          'in another tier its cap counts at once, and the turn that was open before');

SELECT * FROM finish();
ROLLBACK;
