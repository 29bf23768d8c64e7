-- Who is refused gets a reason, and leaves no trace in the record and none in the quota.
BEGIN;
SELECT plan(27);
SELECT help.worker('w');
SELECT help.caller('ann', 'free');
SELECT help.caller('eve', 'free');
SELECT hansard_admin.revoke_key(hansard.key_id(help.hash('eve')));
CREATE TEMP TABLE before AS SELECT help.content();

-- HS401
SELECT is(help.outcomes('w', '{"caller": "nobody"}'), 'HS401', 'an unknown key is refused');
SELECT is(help.outcomes('w', '{"caller": "eve"}'), 'HS401', 'a revoked key is refused');
SELECT is(help.outcomes('w', '[{"caller": "eve"}, {"caller": "nobody"}, {"caller": "eve"}]'), 'HS401 HS401 HS401',
          '... a batch of them, too');
SELECT is(ROW(session_key, history, policy, quota_limit, quota_remaining, retry_after_ms),
          ROW(NULL::bytea, NULL::text[], NULL::text, NULL::int, NULL::int, NULL::int), 'and is told nothing')
FROM help.ask('w', '{"caller": "nobody"}');
SELECT is(help.content(), content, 'nothing was stored, and no quota taken') FROM before;
SELECT is(help.outcomes('w', '{"caller": "ann"}'), 'accepted', 'a key in force is accepted');
SELECT is(help.finishes('{"caller": "ann"}'), 'finished', '... and answered');
SELECT hansard_admin.revoke_key(hansard.key_id(help.hash('ann')));
SELECT is(help.outcomes('w', '{"caller": "ann"}'), 'HS401',
          'until it is revoked: that counts from the next request on');

-- HS429
SELECT is(count(*), 10::bigint, 'ten requests of one address are accepted')
FROM generate_series(1, 10) AS i
WHERE help.outcomes('w', jsonb_build_object('session', 'n' || i, 'address', '192.0.2.1')) = 'accepted';
TRUNCATE before;
INSERT INTO before SELECT help.content();
CREATE TEMP TABLE refused AS SELECT * FROM help.ask('w', '{"session": "n11", "address": "192.0.2.1"}');
SELECT is(outcome, 'HS429', 'the eleventh is refused') FROM refused;
SELECT is(ROW(policy, quota_limit, quota_window_s, quota_remaining), ROW('anonymous'::text, 10, 60, 0),
          'with what it may do') FROM refused;
SELECT cmp_ok(retry_after_ms, '<=', 6000, 'and when the next would be accepted') FROM refused;
SELECT cmp_ok(retry_after_ms, '>', 5000, '... no earlier than that') FROM refused;
SELECT cmp_ok(quota_reset_ms, '<=', 60000, 'and when the quota is whole again') FROM refused;
SELECT cmp_ok(quota_reset_ms, '>', 59000, '... no earlier than that') FROM refused;
SELECT is(history, NULL, 'and no history') FROM refused;
SELECT is(count(*), 30::bigint, 'however often it is asked')
FROM generate_series(1, 30) AS i
WHERE help.outcomes('w', '{"session": "n11", "address": "192.0.2.1"}') = 'HS429';
SELECT is(help.outcomes('w', '{"session": "n1", "address": "192.0.2.1"}'), 'waiting',
          'who would have to wait anyway does not ask for quota');
SELECT is(help.content(), content, 'nothing was stored, and no quota taken') FROM before;

-- HS503
SELECT throws_ok($$SELECT help.ask('stranger', '{}')$$, 'HS503', NULL,
                 'a worker that never registered accepts nothing');
UPDATE hansard.workers SET lost_at = clock_timestamp() WHERE worker_id = help.id('w');
SELECT throws_ok($$SELECT help.ask('w', '{}')$$, 'HS503', NULL, 'nor does one that was declared lost');
SELECT throws_ok($$SELECT help.ask('w', '{"caller": "nobody"}')$$, 'HS503', NULL, '... whoever asks');
SELECT throws_ok($$SELECT help.ask('w', '{"session": "n11", "address": "192.0.2.1"}')$$, 'HS503', NULL,
                 '... with or without quota');
SELECT is(help.content(), content, 'nothing was stored, and no quota taken') FROM before;
UPDATE hansard.workers SET lost_at = NULL WHERE worker_id = help.id('w');
SELECT help.silence('w', '1 hour');
SELECT is(help.outcomes('w', '{}'), 'accepted', 'one that is merely silent goes on until it is declared lost');

-- No tier for those without a key: they have to have one.
DELETE FROM hansard.tiers WHERE tier = 'anonymous';
SELECT is(help.outcomes('w', '{"session": "anonymous"}'), 'HS401',
          'without an anonymous tier nobody is served without a key');
SELECT is(count(*), 0::bigint, 'and nothing is stored') FROM hansard.sessions WHERE session_id = 'anonymous';

SELECT * FROM finish();
ROLLBACK;
