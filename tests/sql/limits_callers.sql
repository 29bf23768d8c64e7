-- Whom a limit counts: users over all their keys, everybody else by address; and only what is opened.
BEGIN;
SELECT plan(25);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.caller('ann', 'free');
SELECT FROM hansard_admin.add_key('ann', NULL, help.hash('ann''s other key'));
SELECT help.caller('bob', 'free');

-- n requests in one batch, each in a new session of its own.
CREATE SEQUENCE pg_temp.sessions;
CREATE FUNCTION pg_temp.flood(n integer, common jsonb, worker text DEFAULT 'w') RETURNS text
LANGUAGE sql
AS $$
    SELECT string_agg(c || ' ' || outcome, ', ' ORDER BY outcome)
    FROM (SELECT outcome, count(*) AS c
          FROM help.ask(worker,
                        (SELECT jsonb_agg(common || jsonb_build_object('session', 's' || nextval('pg_temp.sessions')))
                                 FROM generate_series(1, n)))
          GROUP BY outcome) AS counts
$$;
-- So much time passes for everybody.
CREATE FUNCTION pg_temp.pass(span interval) RETURNS void
LANGUAGE sql
AS $$ UPDATE hansard.rate_limits SET tat_us = tat_us - (extract(epoch FROM span) * 1000000)::bigint $$;

-- By address.
SELECT is(pg_temp.flood(30, '{"address": "192.0.2.1"}'), '20 HS429, 10 accepted',
          'of 30 at once from one address exactly 10 pass');
SELECT is(pg_temp.flood(30, '{"address": "192.0.2.1"}', 'v'), '30 HS429', '... whatever worker they go to');
SELECT is(pg_temp.flood(30, '{"address": "192.0.2.2"}'), '20 HS429, 10 accepted', 'another address has its own 10');
SELECT is(count(*), 20::bigint, 'what was refused is nowhere') FROM hansard.turns;
SELECT pg_temp.pass('6 seconds');
SELECT is(pg_temp.flood(5, '{"address": "192.0.2.1"}'), '4 HS429, 1 accepted', 'after 6 s one more passes');
SELECT pg_temp.pass('30 seconds');
SELECT is(pg_temp.flood(30, '{"address": "192.0.2.1"}'), '25 HS429, 5 accepted', 'after 30 s five more');
SELECT pg_temp.pass('1 hour');
SELECT is(pg_temp.flood(30, '{"address": "192.0.2.1"}'), '20 HS429, 10 accepted', 'after a rest all 10, and no more');

-- By user, over keys and addresses.
SELECT is(pg_temp.flood(15, '{"caller": "ann", "address": "192.0.2.1"}'), '15 accepted',
          'a user is not counted by an address, however busy');
SELECT is(pg_temp.flood(15, '{"caller": "ann''s other key", "address": "192.0.2.9"}'), '10 HS429, 5 accepted',
          'a second key is the same user');
SELECT is(pg_temp.flood(15, '{"caller": "bob", "address": "192.0.2.1"}'), '15 accepted', 'another user is another one');
SELECT is(pg_temp.flood(1, '{"address": "192.0.2.9"}'), '1 accepted', 'nor is the address counted for a user');
SELECT set_eq('SELECT limit_key FROM hansard.rate_limits',
              $$SELECT unnest('{addr:192.0.2.1,addr:192.0.2.2,addr:192.0.2.9}'::text[])
                UNION SELECT 'user:' || user_id FROM hansard.users WHERE name IN ('ann', 'bob')$$,
              'so are the counters named');

-- A user that gets another tier.
SELECT is(pg_temp.flood(1, '{"caller": "ann"}'), '1 HS429', 'a user without quota');
UPDATE hansard.tiers SET rate_per_minute = 60, burst = 1000 WHERE tier = 'paid';
SELECT FROM hansard_admin.set_tier('ann', 'paid');
SELECT is(ROW(outcome, policy, quota_limit, quota_window_s), ROW('accepted'::text, 'paid'::text, 1000, 1000),
          'is served in a larger tier from the next request on')
FROM help.ask('w', '{"session": "paid", "caller": "ann"}');
SELECT FROM hansard_admin.set_tier('ann', 'free');
SELECT is(pg_temp.flood(1, '{"caller": "ann"}'), '1 HS429', '... and not in the smaller one');
UPDATE hansard.tiers SET burst = 22 WHERE tier = 'free';
SELECT is(pg_temp.flood(3, '{"caller": "bob"}'), '3 accepted', 'so it is when a tier itself changes');
UPDATE hansard.tiers SET rate_per_minute = NULL WHERE tier = 'free';
SELECT is(pg_temp.flood(50, '{"caller": "ann"}'), '50 accepted', 'a tier without a rate has no limit');

-- What costs: one turn, opened. 20 requests of all other kinds leave the counter where it was.
SELECT pg_temp.pass('1 hour');
SELECT is(ROW(outcome, quota_remaining), ROW('accepted'::text, 9), 'a first turn')
FROM help.ask('w', '{"session": "c", "key": "k", "request": "r", "address": "192.0.2.1"}');
CREATE TEMP TABLE before AS SELECT * FROM hansard.rate_limits;
SELECT is(string_agg(o, ' '), 'waiting accepted HS422 HS401', 'some that open nothing')
FROM (VALUES (help.outcomes('w', '{"session": "c", "address": "192.0.2.1"}')),
             (help.outcomes('w', '{"session": "c", "key": "k", "request": "r", "address": "192.0.2.1"}')),
             (help.outcomes('w', '{"session": "c", "key": "k", "words": "other", "address": "192.0.2.1"}')),
             (help.outcomes('w', '{"session": "c", "caller": "nobody", "address": "192.0.2.1"}'))) AS v (o);
SELECT help.silence('w', '16 seconds');
SELECT is(help.outcomes('v', '{"session": "c", "key": "k", "address": "192.0.2.1"}'), 'accepted', 'a takeover');
SELECT is(help.finishes('{"session": "c"}'), 'finished', 'a result');
SELECT is(help.outcomes('v', '{"session": "c", "key": "k", "address": "192.0.2.1"}'), 'replayed', 'a repeat');
SELECT set_eq('SELECT * FROM hansard.rate_limits', 'SELECT * FROM before', 'none of which costs');
SELECT is(quota_remaining, 8, 'a second turn costs one') FROM help.ask('v', '{"session": "c", "address": "192.0.2.1"}');
SELECT is(help.outcomes('v',
                        '{"session": "d", "words": "bad", "address": "192.0.2.1"}')
          || help.finishes('{"session": "d", "state": "failed"}')
          || (SELECT quota_remaining FROM help.ask('v', '{"session": "d", "address": "192.0.2.1"}')),
          'acceptedfinished6',
          'a turn that fails has cost one');

SELECT * FROM finish();
ROLLBACK;
