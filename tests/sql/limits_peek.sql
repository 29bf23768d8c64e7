-- What is left is told with every outcome, also with those that ask for nothing; and looking costs nothing.
BEGIN;
SELECT plan(25);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.caller('ann', 'free');
CREATE FUNCTION pg_temp.told(what jsonb, worker text DEFAULT 'w') RETURNS text
LANGUAGE sql
AS $$
    SELECT string_agg(concat_ws(' ', outcome, policy, quota_limit, quota_window_s, quota_remaining), ', ' ORDER BY item)
    FROM help.ask(worker, what)
$$;

SELECT is(pg_temp.told('{"caller": "ann", "key": "k", "request": "r"}'), 'accepted free 20 60 19', 'accepted');
CREATE TEMP TABLE before AS SELECT ctid AS place, * FROM hansard.rate_limits;
CREATE TEMP TABLE again AS SELECT * FROM help.ask('w', '{"caller": "ann", "key": "k", "request": "r"}');
SELECT is(ROW(outcome, policy, quota_limit, quota_window_s, quota_remaining, retry_after_ms),
          ROW('accepted'::text, 'free'::text, 20, 60, 19, 0), 'accepted again') FROM again;
SELECT ok(quota_reset_ms BETWEEN 2000 AND 3000, '... with the time in which it is whole again') FROM again;
SELECT is(pg_temp.told('{"caller": "ann", "key": "l"}'), 'waiting free 20 60 19', 'waiting');
SELECT is(pg_temp.told('{"caller": "ann", "key": "k"}'), 'waiting free 20 60 19', '... for the key');
SELECT is(pg_temp.told('{"caller": "ann", "key": "k", "words": "other"}'), 'HS422 free 20 60 19', 'another request');
SELECT help.silence('w', '16 s');
SELECT is(pg_temp.told('{"caller": "ann", "key": "k"}', 'v'), 'accepted free 20 60 19', 'taken over');
SELECT is(help.finishes('{"caller": "ann"}'), 'finished', '(it ends)');
SELECT is(pg_temp.told('{"caller": "ann", "key": "k"}'), 'replayed free 20 60 19', 'replayed');
SELECT is(pg_temp.told('{"caller": "nobody"}'), 'HS401', 'who is not known is told nothing');
SELECT set_eq('SELECT ctid AS place, * FROM hansard.rate_limits', 'SELECT * FROM before', 'none of which wrote anything');

-- In one batch with those that ask.
SELECT is(pg_temp.told('[{"caller": "ann", "key": "k"}, {"caller": "ann", "session": "a"}, {"caller": "ann", "key": "k"},
                         {"caller": "ann", "session": "b"}, {"caller": "nobody"}]'),
          'replayed free 20 60 17, accepted free 20 60 18, replayed free 20 60 17, accepted free 20 60 17, HS401',
          'who asks is told what he leaves, who does not what is left after all');
SELECT is(pg_temp.told('[{"session": "c", "address": "192.0.2.1", "key": "c", "request": "c"},
                         {"session": "c", "address": "192.0.2.1", "key": "c", "request": "c"}]'),
          'accepted anonymous 10 60 9, waiting anonymous 10 60 9', 'by address, too');
SELECT is(pg_temp.told('{"session": "c", "address": "192.0.2.2"}'), 'waiting anonymous 10 60 10', 'who has asked nothing yet has all');
SELECT is(count(*), 0::bigint, '... and is not remembered for asking') FROM hansard.rate_limits WHERE limit_key = 'addr:192.0.2.2';

-- Without quota.
UPDATE hansard.rate_limits SET tat_us = hansard.unix_us(clock_timestamp()) + 60000000 WHERE limit_key = help.limit_key('ann');
CREATE TEMP TABLE refused AS SELECT * FROM help.ask('w', '[{"caller": "ann", "key": "k"}, {"caller": "ann", "session": "d"}]');
SELECT is(string_agg(outcome || ' ' || quota_remaining, ', ' ORDER BY item), 'replayed 0, HS429 0', 'none is left') FROM refused;
SELECT is(retry_after_ms, NULL, '... which is no reason for a replay to be repeated') FROM refused WHERE item = 1;
SELECT ok(retry_after_ms BETWEEN 2000 AND 3000, '... and one for who was refused') FROM refused WHERE item = 2;
SELECT ok(min(quota_reset_ms) BETWEEN 59000 AND 60000 AND max(quota_reset_ms) <= 60000, '... all come back in a minute') FROM refused;
UPDATE hansard.rate_limits SET tat_us = 0 WHERE limit_key = help.limit_key('ann');
SELECT is(ROW(quota_remaining, quota_reset_ms), ROW(20, 0), 'after a rest all is there') FROM help.ask('w', '{"caller": "ann", "key": "k"}');

-- No limit, nothing to tell.
UPDATE hansard.tiers SET rate_per_minute = NULL WHERE tier = 'free';
SELECT is(pg_temp.told('[{"caller": "ann", "key": "k"}, {"caller": "ann", "session": "d"}, {"session": "c", "address": "192.0.2.1"}]'),
          'replayed free, accepted free, waiting anonymous 10 60 9', 'a tier without a rate has no quota to tell');

-- The functions by themselves.
SELECT is(hansard.peek_quota(NULL, '{addr:192.0.2.9,addr:192.0.2.1,NULL}', '{6000000,NULL,NULL}', '{7,7,7}'),
          ARRAY[ROW(NULL, 7, 0, NULL), NULL, NULL]::hansard.quota_grant[], 'of no grants at all: what is there, where there is a rate');
SELECT is(hansard.peek_quota(ARRAY[ROW(true, 3, 4, 0), ROW(false, 0, 5, 6)]::hansard.quota_grant[], '{a,b}', '{1,1}', '{9,9}'),
          ARRAY[ROW(true, 3, 4, 0), ROW(false, 0, 5, 6)]::hansard.quota_grant[], 'what was granted or refused stays');
SELECT is(hansard.peek_allowance(ARRAY[ROW(NULL, 10, 5, 1, NULL, 5), NULL]::hansard.allowance_grant[], '{NULL,a}', '{free,free}'),
          ARRAY[ROW(NULL, 10, 5, 1, NULL, 5), NULL]::hansard.allowance_grant[], 'so it is for tokens, and where there is no cap');
SELECT help.capped('t', NULL, 1000);
SELECT is(ROW(a.tokens_limit, a.tokens_remaining, a.refusal, a.retry_after_ms, a.tokens_reserved),
          ROW(1000::bigint, 1000::bigint, NULL::text, NULL::int, NULL::bigint), 'who has used nothing yet has all')
FROM unnest(hansard.peek_allowance(NULL, '{addr:192.0.2.3}', '{t}')) AS a;

SELECT * FROM finish();
ROLLBACK;
