-- The limit algorithm by itself: burst at once, then one every emission interval, exactly.
--
-- An interval here is an hour, so that the milliseconds that pass meanwhile change nothing: time stands still.
BEGIN;
SELECT plan(50);

CREATE FUNCTION pg_temp.now_us() RETURNS bigint
LANGUAGE sql
RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- Moves the theoretical arrival time of a key to so many hours from now.
CREATE FUNCTION pg_temp.set_ahead(key text, hours numeric) RETURNS void
LANGUAGE sql
AS $$ UPDATE hansard.rate_limits SET tat_us = pg_temp.now_us() + (hours * 3600000000)::bigint WHERE limit_key = key $$;

CREATE FUNCTION pg_temp.hours_ahead(key text) RETURNS numeric
LANGUAGE sql
AS $$ SELECT round((tat_us - pg_temp.now_us()) / 3600000000.0, 2) FROM hansard.rate_limits WHERE limit_key = key $$;

-- One turn for each key of a text, "-": not limited. "3" for granted with 3 left, "no" for refused.
CREATE FUNCTION pg_temp.take(keys text, burst integer DEFAULT 3, emission_us bigint DEFAULT 3600000000) RETURNS text
LANGUAGE sql
AS $$
    SELECT string_agg(CASE (g).is_granted WHEN true THEN (g).remaining::text WHEN false THEN 'no' ELSE '-' END, ' '
                      ORDER BY n)
    FROM (SELECT array_agg(nullif(k, '-') ORDER BY n) AS keys,
                 array_agg(CASE k WHEN '-' THEN NULL ELSE emission_us END) AS emissions,
                 array_agg(CASE k WHEN '-' THEN NULL ELSE burst END) AS bursts
          FROM string_to_table(keys, ' ') WITH ORDINALITY AS k (k, n)) AS asked,
         unnest(ARRAY(SELECT unnest(hansard.take_quota(asked.keys, asked.emissions,
                                                       asked.bursts)))) WITH ORDINALITY AS g (a, b, c, d, n),
         LATERAL (SELECT ROW(a, b, c, d)::hansard.quota_grant AS g) AS whole
$$;

-- What a single refused or granted turn of key a is told, in hours.
CREATE FUNCTION pg_temp.told(key text, OUT granted boolean, OUT remaining integer, OUT reset_h numeric,
                             OUT retry_h numeric)
LANGUAGE sql
AS $$
    SELECT g.is_granted, g.remaining, round(g.reset_ms / 3600000.0, 2), round(g.retry_after_ms / 3600000.0, 2)
    FROM unnest(hansard.take_quota(ARRAY[key], ARRAY[3600000000], ARRAY[3])) AS g
$$;

-- A burst.
SELECT is(pg_temp.told('a'), ROW(true, 2, 1.00, 0.00),
          'the first of three is granted, two are left, all is back after 1 h');
SELECT is(pg_temp.hours_ahead('a'), 1.00, '... and costs one hour');
SELECT is(pg_temp.told('a'), ROW(true, 1, 2.00, 0.00), 'so is the second');
SELECT is(pg_temp.told('a'), ROW(true, 0, 3.00, 0.00), 'so is the third');
SELECT is(pg_temp.told('a'), ROW(false, 0, 3.00, 1.00), 'the fourth is refused: the next is granted in 1 h');
SELECT is(pg_temp.hours_ahead('a'), 3.00, '... and costs nothing');

-- A refusal writes nothing.
CREATE TEMP TABLE before AS SELECT ctid AS place, l.* FROM hansard.rate_limits l;
SELECT is(pg_temp.take('a'), 'no', 'one more is refused');
SELECT is(pg_temp.take('a a a a a'), 'no no no no no', '... and five');
SELECT set_eq('SELECT ctid AS place, l.* FROM hansard.rate_limits l', 'SELECT * FROM before',
              'the very row is still there');

-- In the long run.
SELECT pg_temp.set_ahead('a', 2.01);
SELECT is(pg_temp.told('a'), ROW(false, 0, 2.01, 0.01), 'a little before the hour is over it is refused');
SELECT pg_temp.set_ahead('a', 1.99);
SELECT is(pg_temp.told('a'), ROW(true, 0, 2.99, 0.00), 'a little after, one is granted');
SELECT is(pg_temp.told('a'), ROW(false, 0, 2.99, 0.99), '... and only one');
SELECT pg_temp.set_ahead('a', 0.99);
SELECT is(pg_temp.take('a a a'), '1 0 no', 'an hour later there are two');
SELECT pg_temp.set_ahead('a', -10000);
SELECT is(pg_temp.take('a a a a'), '2 1 0 no', 'a long rest gives no more than the burst');
SELECT is(pg_temp.hours_ahead('a'), 3.00, '... counted from now');

-- Exact to the microsecond: how many turns there is room for.
SELECT is(hansard.quota_room(1000, 10, 3, 1000), 3, 'at rest there is room for the burst');
SELECT is(hansard.quota_room(1001, 10, 3, 1000), 2, 'one microsecond of debt is one turn less');
SELECT is(hansard.quota_room(1010, 10, 3, 1000), 2, 'one interval of debt');
SELECT is(hansard.quota_room(1011, 10, 3, 1000), 1, '... and a microsecond');
SELECT is(hansard.quota_room(1020, 10, 3, 1000), 1, 'room for the last');
SELECT is(hansard.quota_room(1021, 10, 3, 1000), 0, '... and for none');
SELECT is(hansard.quota_room(1030, 10, 3, 1000), 0, 'all used up');
SELECT is(hansard.quota_room(9999, 10, 3, 1000), 0, 'never less than none');
SELECT is(hansard.quota_room(0, 10, 3, 1000), 3, 'never more than the burst');

-- Several in one call.
SELECT is(pg_temp.take('b b b b b'), '2 1 0 no no', 'of five of a new key the first three are granted');
SELECT is(pg_temp.hours_ahead('b'), 3.00, '... and three are counted');
SELECT pg_temp.set_ahead('b', 1.5);
SELECT is(pg_temp.take('c b - b a c b - c c d'), '2 0 - no no 1 no - 0 no 2',
          'keys do not disturb each other, and order decides within each');
SELECT is(array_agg(pg_temp.hours_ahead(k) ORDER BY k), ARRAY[3.00, 2.50, 3.00, 1.00], 'what was granted is counted')
FROM unnest('{a,b,c,d}'::text[]) AS k;
SELECT is(pg_temp.take('- - -'), '- - -', 'who is not limited is not counted');
SELECT is(array_agg(round(g.retry_after_ms / 3600000.0, 2)), ARRAY[1.00, 1.00],
          'two refused in one call are told the same time: whoever comes first then')
FROM unnest(hansard.take_quota('{c,c}', '{3600000000,3600000000}', '{3,3}')) AS g;
SELECT is(count(*), 4::bigint, 'each key has one row') FROM hansard.rate_limits;

-- Another tier: from the next request on.
SELECT pg_temp.set_ahead('a', 2.5);
SELECT is(pg_temp.take('a', burst => 5), '1', 'a larger burst has room at once');
SELECT is(ROW(emission_us, burst), ROW(3600000000, 5), '... and is what is noted from then on') FROM hansard.rate_limits
WHERE limit_key = 'a';
SELECT pg_temp.set_ahead('a', 2.5);
SELECT is(pg_temp.take('a a a a a a', emission_us => 1800000000, burst => 6), '0 no no no no no',
          'a shorter interval, too');
SELECT is(emission_us, 1800000000::bigint, '... and is noted, too') FROM hansard.rate_limits WHERE limit_key = 'a';
SELECT pg_temp.set_ahead('a', 2.5);
SELECT is(pg_temp.take('a', burst => 2), 'no', 'a smaller burst has no room');
SELECT is(pg_temp.take('a a', burst => 2), 'no no', '... and says so again');

-- A time further ahead than a grant can set it: the clock was set back, or the tier is a smaller one.
SELECT pg_temp.set_ahead('b', 24 * 365);
SELECT is(pg_temp.told('b'), ROW(false, 0, 3.00, 1.00),
          'a clock that was set back locks nobody out for longer than the burst');
SELECT is(pg_temp.hours_ahead('b'), 3.00, '... because the time is set right');
SELECT pg_temp.set_ahead('b', 1.99);
SELECT is(pg_temp.take('b b'), '0 no', '... and goes on from there');
SELECT pg_temp.set_ahead('b', 3 + 5 / 3600.0);
UPDATE before SET place = l.ctid, tat_us = l.tat_us FROM hansard.rate_limits l WHERE l.limit_key = 'b';
SELECT is(pg_temp.take('b'), 'no', 'some seconds ahead are those for which somebody waited for the row');
SELECT is(l.ctid, b.place, '... and are left alone: exactness would be lost') FROM hansard.rate_limits l, before b
WHERE l.limit_key = 'b';

-- Whoever waited for the row while somebody else decided has an older time than that: the later one counts.
SELECT is(hansard.quota_now(1000, 1001), 1001::bigint, 'the time is now');
SELECT is(hansard.quota_now(1001, 1000), 1001::bigint, '... but no earlier than that of the last decision');
SELECT is(hansard.quota_now(5001000, 1000), 5001000::bigint, '... which may be 5 s ahead, for no wait is longer');
SELECT is(hansard.quota_now(5001001, 1000), 1000::bigint, '... and not more: then it is the clock that was wrong');
SELECT is(pg_temp.take('waited', emission_us => 1000000), '2', 'a limit of one in a second');
UPDATE hansard.rate_limits SET seen_us = pg_temp.now_us() + 3000000, tat_us = pg_temp.now_us() + 4500000
WHERE limit_key = 'waited';
SELECT is(pg_temp.take('waited waited', emission_us => 1000000), '0 no',
          'has room for one by the last decision''s time, and none by an older one');
SELECT cmp_ok(seen_us, '>', pg_temp.now_us() + 1000000, '... and time does not go back') FROM hansard.rate_limits
WHERE limit_key = 'waited';

-- The largest tier that can be.
SELECT hansard.take_quota(array_fill('huge'::text, ARRAY[1]), '{60000000}', '{1000000}');
UPDATE hansard.rate_limits SET tat_us = pg_temp.now_us() + 999999 * 60000000::bigint WHERE limit_key = 'huge';
SELECT is(pg_temp.take('huge huge', 1000000, 60000000), '0 no', 'the largest numbers a tier may have work');

SELECT * FROM finish();
ROLLBACK;
