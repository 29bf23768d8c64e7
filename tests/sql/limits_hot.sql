-- Quota of a hot caller is taken apart from the turns: many at once, ahead of accept_turns, and some for turns that are
-- expected; what does not become a turn, or does not come, is given back.
BEGIN;
SELECT plan(67);
SELECT help.worker('w');
INSERT INTO hansard.tiers VALUES ('five', 60, 5, NULL), ('none', NULL, 1, NULL), ('one-open', 60, 5, 1);
SELECT help.caller('ann', 'five');
SELECT help.caller('bob', 'none');
SELECT help.caller('cat', 'one-open');
SELECT help.caller('dan', 'five');

CREATE FUNCTION pg_temp.taken(caller text) RETURNS numeric
LANGUAGE sql
AS $$
    SELECT round(greatest(l.tat_us - hansard.unix_us(clock_timestamp()), 0) / 1000000.0)
    FROM hansard.rate_limits l WHERE l.limit_key = help.limit_key(caller)
$$;

-- take_quota_for.
CREATE TEMP TABLE first AS SELECT hansard_api.take_quota_for(help.hash('ann'), 'x', 3) AS told;
SELECT is(told[1], 3, 'as many as are asked for') FROM first;
SELECT is(told[2], 0, '... and no wait') FROM first;
SELECT is(pg_temp.taken('ann'), 3::numeric, '... all are counted');
CREATE TEMP TABLE second AS SELECT hansard_api.take_quota_for(help.hash('ann'), 'x', 10) AS told;
SELECT is(told[1], 2, 'as many as there is room for') FROM second;
SELECT ok(told[2] BETWEEN 1 AND 1000, '... and when the next one would be') FROM second;
SELECT is(pg_temp.taken('ann'), 5::numeric, '... no more are counted');
SELECT is((hansard_api.take_quota_for(help.hash('ann'), 'x', 1))[1], 0, 'none');
SELECT is(array_agg(e.detail ->> 'limit' || ' ' || (e.detail ->> 'tier')), ARRAY['rate five'], 'one event for all that were refused')
FROM hansard.audit_events e WHERE e.kind = 'limit_reached';
SELECT is(hansard_api.take_quota_for(help.hash('bob'), 'x', 3), NULL, 'who is not limited is not counted');
SELECT is(hansard_api.take_quota_for(help.hash('nobody'), 'x', 3), NULL, 'nor who is not known');
SELECT is(count(*), 1::bigint, '... neither has a row') FROM hansard.rate_limits;
SELECT is((hansard_api.take_quota_for(NULL, '192.0.2.1', 11))[1], 10, 'an anonymous caller by address');
SELECT is(e.detail, '{"tier": "anonymous", "limit": "rate", "address": "192.0.2.1"}', '... whose event has the address')
FROM hansard.audit_events e WHERE e.kind = 'limit_reached' AND e.detail ? 'address';
UPDATE hansard.api_keys SET revoked_at = now() WHERE key_hash = help.hash('dan');
SELECT is(hansard_api.take_quota_for(help.hash('dan'), 'x', 1), NULL, 'a revoked key is not known');
UPDATE hansard.api_keys SET revoked_at = NULL WHERE key_hash = help.hash('dan');

-- accept_turns with what was paid.
UPDATE hansard.rate_limits SET tat_us = hansard.unix_us(clock_timestamp()) + 4000000 WHERE limit_key = help.limit_key('ann');
SELECT is(help.outcomes('w', '[{"caller": "ann", "session": "a", "paid": true}, {"caller": "ann", "session": "b", "paid": true},
                               {"caller": "ann", "session": "c"}, {"caller": "ann", "session": "d"}]'),
          'accepted accepted accepted HS429', 'what was paid takes no quota, what was not does');
SELECT is(pg_temp.taken('ann'), 5::numeric, '... of what is left');
SELECT is(ROW(outcome, policy, quota_limit, quota_remaining), ROW('accepted'::text, 'five'::text, 5, 0), 'what is left is told')
FROM help.ask('w', '{"caller": "ann", "session": "e", "paid": true}');
SELECT is(pg_temp.taken('ann'), 5::numeric, '... and nothing taken for it');

-- What does not become a turn.
SELECT is(help.outcomes('w', '{"caller": "ann", "session": "a", "paid": true}'), 'waiting', 'who has to wait');
SELECT is(pg_temp.taken('ann'), 4::numeric, '... gets it back');
SELECT is(help.finishes('{"caller": "ann", "session": "b"}'), 'finished', '(one ends)');
SELECT is(help.outcomes('w', '[{"caller": "ann", "session": "b", "key": "k", "paid": true}, {"caller": "ann", "session": "b", "paid": true}]'),
          'accepted waiting', 'of two of one session');
SELECT is(pg_temp.taken('ann'), 3::numeric, '... one gets it back');
SELECT is(help.outcomes('w', '{"caller": "ann", "session": "b", "key": "k", "words": "other", "paid": true}'), 'HS422', 'another request');
SELECT is(pg_temp.taken('ann'), 2::numeric, '... gets it back');
SELECT is(help.outcomes('w', '{"caller": "nobody", "session": "b", "paid": true}'), 'HS401', 'who is not known any more has nothing to get back');
SELECT is((hansard_api.take_quota_for(help.hash('cat'), 'x', 2))[1], 2, '(two are paid by a caller who may have one open)');
SELECT is(help.outcomes('w', '[{"caller": "cat", "session": "a", "paid": true}, {"caller": "cat", "session": "b", "paid": true}]'),
          'accepted HS430', 'refused by a cap');
SELECT is(pg_temp.taken('cat'), 1::numeric, '... gets it back');
SELECT is(help.outcomes('w', '[{"caller": "cat", "session": "a", "paid": true}, {"caller": "ann", "session": "x"},
                               {"caller": "ann", "session": "y", "paid": false}]'),
          'waiting accepted accepted', 'in one batch with those that pay now');
SELECT is(ROW(pg_temp.taken('cat'), pg_temp.taken('ann')), ROW(0::numeric, 4::numeric), '... each of his own');
SELECT is(help.outcomes('w', '{"caller": "bob", "session": "a", "paid": true}'), 'accepted', 'who is not limited any more');
SELECT is(count(*), 0::bigint, '... has no row') FROM hansard.rate_limits WHERE limit_key = help.limit_key('bob');

-- The reply was lost, and the same call is made again.
SELECT help.caller('eve', 'five');
SELECT is((hansard_api.take_quota_for(help.hash('eve'), 'x', 2))[1], 2, '(two are paid)');
SELECT is(help.outcomes('w', '[{"caller": "eve", "session": "a", "key": "k", "request": "r", "paid": true},
                               {"caller": "eve", "session": "a", "key": "l", "request": "q", "paid": true}]'),
          'accepted waiting', '(one becomes a turn)');
SELECT is(help.outcomes('w', '[{"caller": "eve", "session": "a", "key": "k", "request": "r", "paid": true},
                               {"caller": "ann", "session": "a"}]'), 'accepted waiting', 'what is open already is accepted again');
SELECT is(pg_temp.taken('eve'), 1::numeric, '... and gets nothing back, whoever else is refused');

-- For turns that are expected.
INSERT INTO hansard.tiers VALUES ('hundred', 60, 100, NULL);
SELECT help.caller(name, 'hundred') FROM unnest(ARRAY['fay', 'gus', 'hal']) AS name;

CREATE FUNCTION pg_temp.ask(caller text, turns integer, ahead integer, unused integer) RETURNS integer[]
LANGUAGE sql
AS $$ SELECT hansard_api.take_quota_for(help.hash(caller), 'x', turns, ahead, unused) $$;

CREATE FUNCTION pg_temp.used(caller text, turns integer) RETURNS void
LANGUAGE sql
AS $$
    UPDATE hansard.rate_limits SET tat_us = hansard.unix_us(clock_timestamp()) + turns * 1000000 WHERE limit_key = help.limit_key(caller)
$$;

SELECT is(pg_temp.ask('fay', 3, 10, 0), '{3,0,4}', 'a twentieth of what is left after those that wait');
SELECT is(pg_temp.taken('fay'), 7::numeric, '... is taken with them');
SELECT is(pg_temp.ask('fay', 1, 2, 0), '{1,0,2}', '... and no more than are expected');
SELECT is(pg_temp.taken('fay'), 10::numeric, '... are taken');
SELECT is(pg_temp.ask('fay', 0, 0, 6), '{0,0,0}', 'nobody came');
SELECT is(pg_temp.taken('fay'), 4::numeric, '... so as many are given back');
SELECT pg_temp.used('fay', 79);
SELECT is(pg_temp.ask('fay', 1, 10, 0), '{1,0,1}', 'with twenty left after it');
SELECT is(pg_temp.taken('fay'), 81::numeric, '... one');
SELECT is(pg_temp.ask('fay', 0, 10, 0), '{0,0,0}', 'with less');
SELECT is(pg_temp.ask('fay', 2, 10, 0), '{2,0,0}', '... none');
SELECT is(pg_temp.taken('fay'), 83::numeric, '... are taken but those that wait');
SELECT pg_temp.used('fay', 98);
CREATE TEMP TABLE ahead AS SELECT pg_temp.ask('fay', 5, 10, 0) AS told;
SELECT is(ROW(told[1], told[3]), ROW(2, 0), 'with too few for those that wait, nothing is taken ahead') FROM ahead;
SELECT ok(told[2] BETWEEN 1 AND 1000, '... and when the next one would be is told') FROM ahead;
TRUNCATE ahead;
INSERT INTO ahead SELECT pg_temp.ask('fay', 4, 10, 3);
SELECT is(ROW(told[1], told[3]), ROW(3, 0), 'what is given back is there for those that wait') FROM ahead;
SELECT ok(told[2] BETWEEN 1 AND 1000, '... one of whom is refused') FROM ahead;
SELECT is(pg_temp.taken('fay'), 100::numeric, '... for all is taken');
SELECT is(count(*), 1::bigint, '... which is told of once in a window')
FROM hansard.audit_events e WHERE e.kind = 'limit_reached' AND e.detail ->> 'tier' = 'hundred';
SELECT is(pg_temp.ask('fay', 1, 10, 40), '{1,0,1}', 'given back is first, then what is left is counted');
SELECT is(pg_temp.taken('fay'), 62::numeric, '... as it is by then');

SELECT is(pg_temp.ask('gus', 1, 10, 0), '{1,0,4}', '(another one)');
UPDATE hansard.rate_limits SET tat_us = tat_us - 600000000, seen_us = seen_us - 600000000 WHERE limit_key = help.limit_key('gus');
SELECT is(pg_temp.ask('gus', 0, 0, 4), '{0,0,0}', 'given back when all is whole again');
SELECT is((pg_temp.ask('gus', 120, 0, 0))[1], 100, '... it is no more than a burst');
SELECT is(pg_temp.ask('hal', 0, 0, 5), '{0,0,0}', 'by one who is not counted');
SELECT is((pg_temp.ask('hal', 120, 0, 0))[1], 100, '... it is nothing');

-- Whatever has become of the caller since.
UPDATE hansard.users SET tier = 'none' WHERE user_id = (SELECT k.user_id FROM hansard.api_keys k WHERE k.key_hash = help.hash('hal'));
SELECT is(pg_temp.ask('hal', 1, 1, 5), NULL, 'who is not limited any more');
UPDATE hansard.api_keys SET revoked_at = now() WHERE key_hash = help.hash('gus');
SELECT is(pg_temp.ask('gus', 1, 1, 5), NULL, 'or whose key is revoked');
SELECT is(ROW(pg_temp.taken('hal'), pg_temp.taken('gus')), ROW(95::numeric, 95::numeric), '... gives back all the same: he may have other keys');
SELECT is((hansard_api.take_quota_for(NULL, 'x', 5))[1], 5, '(an address)');
SELECT is(pg_temp.ask('nobody', 0, 0, 5), NULL, 'who was never known');
SELECT is((hansard_api.take_quota_for(NULL, 'x', 10))[1], 5, '... gives back nothing to anybody');
SELECT * FROM finish();
ROLLBACK;
