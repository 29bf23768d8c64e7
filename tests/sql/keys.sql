-- Callers and their keys: what an operator may do, and what is noted of it.
BEGIN;
SELECT plan(48);
SELECT help.worker('w');

CREATE FUNCTION pg_temp.add(user_name text, tier text, key text) RETURNS text
LANGUAGE sql
AS $$ SELECT hansard_admin.add_key(user_name, tier, help.hash(key)) $$;
CREATE FUNCTION pg_temp.key_id(key text) RETURNS text
LANGUAGE sql
RETURN substr(encode(help.hash(key), 'hex'), 1, 16);
CREATE TEMP VIEW events AS
SELECT kind, (SELECT name FROM hansard.users u WHERE u.user_id = e.user_id) AS who, detail FROM hansard.audit_events e
ORDER BY happened_at;

-- Adding.
SELECT is(pg_temp.add('ann', NULL, 'k1'), 'free', 'a new user is in the free tier');
SELECT is(pg_temp.add('bob', 'paid', 'k2'), 'paid', '... or in the one that is named');
SELECT is(pg_temp.add('ann', NULL, 'k3'), 'free', 'a second key of a user');
SELECT is(count(*), 2::bigint, '... makes no second user') FROM hansard.users;
SELECT is(pg_temp.add('bob', NULL, 'k4'), 'paid', '... and leaves the tier alone');
SELECT is(pg_temp.add('ann', 'free', 'k5'), 'free', '... as does naming the same');
SELECT is_empty($$SELECT FROM events WHERE kind = 'tier_changed'$$, '... of which nothing is noted');
SELECT is(pg_temp.add('ann', 'paid', 'k6'), 'paid', 'naming another one');
SELECT is(tier, 'paid', '... moves the user') FROM hansard.users WHERE name = 'ann';
SELECT results_eq('SELECT kind, who, detail FROM events',
    format($$VALUES ('key_added', 'ann', '{"key_id": "%s"}'::jsonb), ('key_added', 'bob', '{"key_id": "%s"}'),
             ('key_added', 'ann', '{"key_id": "%s"}'),
                    ('key_added', 'bob', '{"key_id": "%s"}'), ('key_added', 'ann', '{"key_id": "%s"}'),
                    ('tier_changed', 'ann', '{"from": "free", "to": "paid"}'),
             ('key_added', 'ann', '{"key_id": "%s"}')$$,
           pg_temp.key_id('k1'), pg_temp.key_id('k2'), pg_temp.key_id('k3'), pg_temp.key_id('k4'), pg_temp.key_id('k5'),
           pg_temp.key_id('k6')),
    'all of it is noted in its order');
SELECT is(ROW(get_byte(uuid_send(user_id), 6) >> 4, created_at BETWEEN now() AND clock_timestamp()), ROW(7, true),
          'a user has a UUIDv7 and a beginning')
FROM hansard.users WHERE name = 'ann';
SELECT is(array_agg(key_hash ORDER BY key_hash),
          ARRAY(SELECT help.hash('k' || i) FROM generate_series(1, 6) AS i ORDER BY 1), 'of a key its hash is kept')
FROM hansard.api_keys;
SELECT is(help.outcomes('w',
                        '[{"session": "1", "caller": "k1"}, {"session": "2", "caller": "k2"},
                          {"session": "6", "caller": "k6"}]'), 'accepted accepted accepted', 'they work');

-- Refused.
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM events) AS events,
    (SELECT count(*) FROM hansard.api_keys) AS keys, (SELECT count(*) FROM hansard.users) AS users;
SELECT throws_ok($$SELECT pg_temp.add('cy', 'gold', 'k7')$$, 'HS404',
                 'there is no tier "gold"; there are: anonymous, free, paid',
                 'an unknown tier is refused, and the known ones are named');
SELECT throws_ok($$SELECT pg_temp.add('', NULL, 'k7')$$, 'HS400', NULL, 'a user has a name');
SELECT throws_ok($$SELECT pg_temp.add(repeat('ö', 101), NULL, 'k7')$$, 'HS400', NULL, '... of at most 200 bytes');
SELECT throws_ok($$SELECT pg_temp.add('cy', NULL, 'k1')$$, '23505', NULL, 'a key is one user''s');
SELECT throws_ok($$SELECT hansard_admin.add_key('cy', NULL, '\x00')$$, '23514', NULL, 'a hash has 32 bytes');
SELECT is(ROW((SELECT count(*) FROM events), (SELECT count(*) FROM hansard.api_keys),
              (SELECT count(*) FROM hansard.users)), ROW(events, keys, users), 'of all that nothing is stored')
FROM before;
SELECT is(pg_temp.add(repeat('ö', 100), NULL, 'k8'), 'free', '200 bytes are a name');

-- Listing.
UPDATE hansard.api_keys SET created_at = created_at - interval '1 day' WHERE key_hash = help.hash('k5');
SELECT results_eq($$SELECT user_name, tier, key_id, revoked_at FROM hansard_admin.list_keys()
                    WHERE user_name IN ('ann', 'bob')$$,
    format($$VALUES ('ann', 'paid', '%s', NULL::timestamptz), ('ann', 'paid', '%s', NULL), ('ann', 'paid', '%s', NULL),
             ('ann', 'paid', '%s', NULL),
                    ('bob', 'paid', '%s', NULL), ('bob', 'paid', '%s', NULL)$$,
           pg_temp.key_id('k5'), pg_temp.key_id('k1'), pg_temp.key_id('k3'), pg_temp.key_id('k6'), pg_temp.key_id('k2'),
           pg_temp.key_id('k4')),
    'keys are listed by user, oldest first, and not shown');
SELECT is(count(*), 7::bigint, 'each once') FROM hansard_admin.list_keys();

-- Revoking.
SELECT is(hansard_admin.revoke_key(pg_temp.key_id('k1')), 'ann', 'a key is revoked by its id: it was ann''s');
SELECT ok(revoked_at IS NOT NULL, '... from now on') FROM hansard.api_keys WHERE key_hash = help.hash('k1');
SELECT is(count(*), 1::bigint, '... and no other') FROM hansard.api_keys WHERE revoked_at IS NOT NULL;
SELECT is(help.outcomes('w', '[{"session": "a", "caller": "k1"}, {"session": "b", "caller": "k3"}]'), 'HS401 accepted',
          'it works no more, the other keys do');
SELECT is(count(*), 1::bigint, 'it is listed as revoked') FROM hansard_admin.list_keys()
WHERE revoked_at IS NOT NULL AND key_id = pg_temp.key_id('k1');
SELECT is(ROW(who, detail), ROW('ann'::text, jsonb_build_object('key_id', pg_temp.key_id('k1'))), 'it is noted')
FROM events WHERE kind = 'key_revoked';
UPDATE before SET events = (SELECT count(*) FROM events);
CREATE TEMP TABLE revoked AS SELECT * FROM hansard.api_keys;
SELECT throws_ok($$SELECT hansard_admin.revoke_key(pg_temp.key_id('k1'))$$, 'HS404', NULL,
                 'a revoked key is not revoked again');
SELECT throws_ok($$SELECT hansard_admin.revoke_key('0123456789abcdef')$$, 'HS404', NULL, 'nor one that never was');
SELECT throws_ok($$SELECT hansard_admin.revoke_key('')$$, 'HS404', NULL, 'nor none');
SELECT throws_ok($$SELECT hansard_admin.revoke_key('%')$$, 'HS404', NULL, 'nor all');
SELECT set_eq('SELECT * FROM hansard.api_keys', 'SELECT * FROM revoked', 'which changes nothing');
SELECT is((SELECT count(*) FROM events), events, '... and is not noted') FROM before;
SELECT throws_ok($$SELECT pg_temp.add('ann', NULL, 'k1')$$, '23505', NULL, 'a revoked key cannot be added again');

-- Tiers.
SELECT is(hansard_admin.set_tier('ann', 'free'), 3, 'a user is moved, with the keys that are in force');
SELECT is(ROW(tier), ROW('free'::text), '... to the other tier') FROM hansard.users WHERE name = 'ann';
SELECT is(tier, 'paid', '... and nobody else') FROM hansard.users WHERE name = 'bob';
SELECT is(policy, 'free', '... from the next request on') FROM help.ask('w', '{"session": "t", "caller": "k3"}');
SELECT is(count(*), 1::bigint, 'it is noted') FROM events
WHERE kind = 'tier_changed' AND who = 'ann' AND detail = '{"from": "paid", "to": "free"}';
UPDATE before SET events = (SELECT count(*) FROM events);
SELECT throws_ok($$SELECT hansard_admin.set_tier('nobody', 'free')$$, 'HS404', NULL, 'a user has to be there');
SELECT throws_ok($$SELECT hansard_admin.set_tier('ann', 'gold')$$, 'HS404', NULL, '... and a tier');
SELECT is((SELECT count(*) FROM events), events, 'which is not noted') FROM before;

-- Nothing that opens a door is anywhere.
SELECT is_empty($$SELECT FROM hansard.audit_events e, hansard.api_keys k
                  WHERE e.detail::text LIKE '%' || encode(k.key_hash, 'hex') || '%'$$,
                'no event holds the hash of a key');
SELECT is_empty($$SELECT FROM hansard_admin.list_keys() l, hansard.api_keys k
                  WHERE l::text LIKE '%' || encode(k.key_hash, 'hex') || '%'$$, '... nor does the list');
SELECT is_empty($$SELECT FROM hansard.audit_events
                  WHERE get_byte(uuid_send(event_id), 6) >> 4 <> 7
                    OR happened_at NOT BETWEEN now() AND clock_timestamp()$$,
                'events have their time in their id, too');

-- Rules of the tables themselves.
SELECT throws_ok($$INSERT INTO hansard.tiers VALUES ('Gold!', 1, 1)$$, '23514', NULL, 'a tier has a plain name');
SELECT throws_ok($$DELETE FROM hansard.tiers WHERE tier = 'paid'$$, '23503', NULL, 'a tier in use cannot be dropped');

SELECT * FROM finish();
ROLLBACK;
