-- Quota of a hot caller is taken apart from the turns: many at once, ahead of accept_turns; what does not become a turn is
-- given back.
BEGIN;
SELECT plan(43);
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

-- Ahead, for turns that are expected.
INSERT INTO hansard.tiers VALUES ('hundred', 60, 100);
SELECT help.caller('gus', 'hundred');
SELECT is(hansard_api.take_quota_for(help.hash('gus'), 'x', 1, 50), '{1,0,4}', 'a twentieth of what is left at most');
SELECT is(pg_temp.taken('gus'), 5::numeric, '... which is counted');
SELECT is(hansard_api.take_quota_for(help.hash('gus'), 'x', 1, 2), '{1,0,2}', 'no more than are expected');
SELECT is(hansard_api.take_quota_for(help.hash('gus'), 'x', 80, 50), '{80,0,0}', 'none when little is left');
SELECT is((hansard_api.take_quota_for(help.hash('gus'), 'x', 20, 50))[1:1] || (hansard_api.take_quota_for(help.hash('gus'), 'x', 1, 50))[3:3],
          '{12,0}', '... nor when not all that wait are granted');
SELECT is(pg_temp.taken('gus'), 100::numeric, 'never more than the burst');
SELECT * FROM finish();
ROLLBACK;
