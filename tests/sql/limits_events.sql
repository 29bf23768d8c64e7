-- Who reaches a limit is noted for the auditors: once a window, a limit and a caller.
BEGIN;
SELECT plan(31);
SELECT help.worker('w');
SELECT help.capped('p', 1);
SELECT help.capped('t', NULL, 1000, 900);
SELECT help.capped('r', NULL, NULL, 1000, 6, 2);
SELECT help.capped('both', 1, 1000, 100);

-- What was noted since one looked last.
CREATE TEMP TABLE seen (event_id uuid);
CREATE FUNCTION pg_temp.noted() RETURNS SETOF hansard.audit_events
LANGUAGE sql
AS $$
    WITH fresh AS (
        INSERT INTO seen SELECT event_id FROM hansard.audit_events
        WHERE kind = 'limit_reached' AND event_id NOT IN (SELECT event_id FROM seen)
        RETURNING event_id
    )
    SELECT e.* FROM hansard.audit_events e JOIN fresh USING (event_id) ORDER BY e.detail::text
$$;
CREATE FUNCTION pg_temp.limits_noted() RETURNS text
LANGUAGE sql
AS $$ SELECT coalesce(string_agg(detail ->> 'limit', ' ' ORDER BY detail ->> 'limit'), '-') FROM pg_temp.noted() $$;
CREATE FUNCTION pg_temp.user_of(name text) RETURNS uuid
LANGUAGE sql
AS $$ SELECT user_id FROM hansard.users u WHERE u.name = user_of.name $$;

-- The rate.
SELECT is(help.outcomes('w', '[{"session": "a", "address": "192.0.2.1"}, {"caller": "r", "session": "a"}]') || ' ' || pg_temp.limits_noted(),
          'accepted accepted -', 'what is granted is not noted');
SELECT is(help.outcomes('w', '[{"caller": "r", "session": "b"}, {"caller": "r", "session": "c", "request": "first"},
                               {"caller": "r", "session": "d", "request": "second"}]'), 'accepted HS429 HS429', 'two are refused at once');
CREATE TEMP TABLE rate AS SELECT * FROM pg_temp.noted();
SELECT is(count(*), 1::bigint, 'the first is noted') FROM rate;
SELECT is(ROW(kind, user_id, request_id, detail), ROW('limit_reached'::text, pg_temp.user_of('r'), help.id('first'),
                                                      '{"limit": "rate", "tier": "r"}'::jsonb),
          '... with who asked for what, and no address of a user') FROM rate;
SELECT ok(happened_at BETWEEN now() AND clock_timestamp()
          AND abs(extract(epoch FROM happened_at) * 1000 - ('x' || substr(replace(event_id::text, '-', ''), 1, 12))::bit(48)::bigint) < 2,
          '... now') FROM rate;
SELECT is(help.outcomes('w', '{"caller": "r", "session": "c"}') || ' ' || pg_temp.limits_noted(), 'HS429 -', 'the next is not');
-- The window is the time in which the burst comes back: here 20 s.
UPDATE hansard.rate_limits SET refused_us = refused_us - 15000000 WHERE limit_key = help.limit_key('r');
SELECT is(help.outcomes('w', '{"caller": "r", "session": "c"}') || ' ' || pg_temp.limits_noted(), 'HS429 -', '... before the window is over');
UPDATE hansard.rate_limits SET refused_us = refused_us - 5000000, tat_us = tat_us + 20000000 WHERE limit_key = help.limit_key('r');
SELECT is(help.outcomes('w', '[{"caller": "r", "session": "c"}, {"caller": "r", "session": "c"}]') || ' ' || pg_temp.limits_noted(),
          'HS429 waiting rate', 'then one is, once more');
SELECT is(count(*), 9::bigint, '(nine more of an address)') FROM generate_series(1, 9) AS i
WHERE help.outcomes('w', jsonb_build_object('session', 'n' || i, 'address', '192.0.2.1')) = 'accepted';
SELECT is(help.outcomes('w', '[{"session": "x", "address": "192.0.2.1", "request": "x"}, {"session": "y", "address": "192.0.2.1"},
                               {"caller": "nobody", "address": "192.0.2.1"}, {"session": "y2", "address": "192.0.2.2"}]'),
          'HS429 HS429 HS401 accepted', 'who has no key is refused by address');
SELECT is(ROW(user_id, request_id, detail), ROW(NULL::uuid, help.id('x'), '{"limit": "rate", "tier": "anonymous", "address": "192.0.2.1"}'::jsonb),
          '... and it is noted') FROM pg_temp.noted();
SELECT is(refused_us, 0::bigint, '... of nobody else') FROM hansard.rate_limits WHERE limit_key = 'addr:192.0.2.2';

-- Open turns: once a minute.
SELECT is(help.outcomes('w', '[{"caller": "p"}, {"caller": "p", "session": "b", "request": "p1"}, {"caller": "p", "session": "c"}]'),
          'accepted HS430 HS430', 'two turns too many');
SELECT is(ROW(user_id, request_id, detail), ROW(pg_temp.user_of('p'), help.id('p1'), '{"limit": "parallel", "tier": "p"}'::jsonb),
          'one is noted') FROM pg_temp.noted();
UPDATE hansard.allowances SET parallel_refused_at = parallel_refused_at - interval '59 s';
SELECT is(help.outcomes('w', '{"caller": "p", "session": "b"}') || ' ' || pg_temp.limits_noted(), 'HS430 -', 'no other within the minute');
UPDATE hansard.allowances SET parallel_refused_at = parallel_refused_at - interval '1 s';
SELECT is(help.outcomes('w', '{"caller": "p", "session": "b"}') || ' ' || pg_temp.limits_noted(), 'HS430 parallel', '... but after it');
SELECT is(help.outcomes('w', '{"caller": "p", "session": "b"}') || ' ' || pg_temp.limits_noted(), 'HS430 -', '... from which the next begins');
SELECT is(tokens_refused_at, NULL, 'the other cap''s time is its own') FROM hansard.allowances WHERE limit_key = help.limit_key('p');

-- Tokens: once a day.
SELECT is(help.outcomes('w', '[{"caller": "t"}, {"caller": "t", "session": "b", "request": "t1"}, {"caller": "t", "session": "c"}]'),
          'accepted HS431 HS431', 'two turns for which there are no tokens');
SELECT is(ROW(user_id, request_id, detail), ROW(pg_temp.user_of('t'), help.id('t1'), '{"limit": "tokens", "tier": "t"}'::jsonb),
          'one is noted') FROM pg_temp.noted();
UPDATE hansard.allowances SET tokens_refused_at = (clock_timestamp() AT TIME ZONE 'UTC')::date::timestamp AT TIME ZONE 'UTC';
SELECT is(help.outcomes('w', '{"caller": "t", "session": "b"}') || ' ' || pg_temp.limits_noted(), 'HS431 -', 'no other on that day');
UPDATE hansard.allowances SET tokens_refused_at = tokens_refused_at - interval '1 ms';
SELECT is(help.outcomes('w', '{"caller": "t", "session": "b"}') || ' ' || pg_temp.limits_noted(), 'HS431 tokens', '... but on the next');
SELECT is(parallel_refused_at, NULL, 'the other cap''s time is its own') FROM hansard.allowances WHERE limit_key = help.limit_key('t');

-- All in one batch.
UPDATE hansard.rate_limits SET refused_us = 0;
UPDATE hansard.allowances SET parallel_refused_at = NULL, tokens_refused_at = NULL;
SELECT is(help.outcomes('w', jsonb_build_array(
              jsonb_build_object('caller', 'both', 'session', 'a', 'words', repeat('long', 1000)), '{"caller": "both", "session": "b"}'::jsonb,
              '{"caller": "both", "session": "c"}'::jsonb, '{"caller": "p", "session": "c"}'::jsonb,
              '{"session": "z", "address": "192.0.2.1"}'::jsonb, '{"caller": "t", "session": "d"}'::jsonb)),
          'HS431 accepted HS430 HS430 HS429 HS431', 'all kinds of refusals');
SELECT set_eq($$SELECT coalesce(u.name, n.detail ->> 'address') || ' ' || (n.detail ->> 'limit')
                FROM pg_temp.noted() n LEFT JOIN hansard.users u USING (user_id)$$,
              $$VALUES ('both parallel'), ('both tokens'), ('p parallel'), ('t tokens'), ('192.0.2.1 rate')$$,
              'each is noted, both caps of one caller, too');
SELECT is(help.outcomes('w', '[{"caller": "both", "session": "c"}, {"caller": "p", "session": "c"}, {"session": "z", "address": "192.0.2.1"},
                               {"caller": "t", "session": "d"}]') || ' ' || pg_temp.limits_noted(), 'HS430 HS430 HS429 HS431 -', 'and not again');

-- The function by itself.
SELECT lives_ok($$SELECT hansard.note_refusals('{NULL,HS422,waiting}', '{a,b,c}', '{1,1,1}', '{NULL,NULL,NULL}')$$, 'what is no refusal');
SELECT lives_ok($$SELECT hansard.note_refusals('{HS429,HS430,HS431}', '{a,b,c}', '{1,1,1}', '{"{}","{}","{}"}')$$, '... or of nobody known');
SELECT is(pg_temp.limits_noted(), '-', '... is not noted');
-- Events are for auditors only as far as others are: no words, no keys.
SELECT is_empty($$SELECT e.detail FROM hansard.audit_events e, jsonb_object_keys(e.detail) k
                  WHERE e.kind = 'limit_reached' AND k NOT IN ('limit', 'tier', 'address')$$, 'nothing else is told');
SELECT is_empty($$SELECT e.detail FROM hansard.audit_events e
                  WHERE e.kind = 'limit_reached' AND (e.user_id IS NULL) <> (e.detail ? 'address')$$, 'an address stands for who has no key');

SELECT * FROM finish();
ROLLBACK;
