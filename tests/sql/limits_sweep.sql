-- The sweep: limits that say no more than none are forgotten, page by page.
BEGIN;
SELECT plan(25);
SELECT help.worker('w');

-- A counter: its quota whole for so long, seen, refused so long ago; 6 s a turn, burst 10: whole after a minute.
CREATE FUNCTION pg_temp.counter(key text, whole interval, seen interval, refused interval) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO hansard.rate_limits (limit_key, tat_us, emission_us, burst, granted, seen_us, refused_us)
    SELECT key, hansard.unix_us(now - whole), 6000000, 10, 1, hansard.unix_us(now - seen), coalesce(hansard.unix_us(now - refused), 0)
    FROM clock_timestamp() AS now
$$;
CREATE FUNCTION pg_temp.allowance(key text, days_ago integer, spent bigint DEFAULT 10) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO hansard.allowances (limit_key, day, tokens_spent)
    VALUES (key, (clock_timestamp() AT TIME ZONE 'UTC')::date - days_ago, spent)
$$;
CREATE FUNCTION pg_temp.names() RETURNS text
LANGUAGE sql
AS $$
    SELECT coalesce(string_agg(k, ' ' ORDER BY k COLLATE "C"), '-')
    FROM (SELECT limit_key FROM hansard.rate_limits UNION ALL SELECT limit_key || '*' FROM hansard.allowances) AS x (k)
$$;

SELECT is(hansard_api.sweep_limits('', 10), NULL, 'of nothing, that is the end');

-- What stays, what goes.
SELECT pg_temp.counter('used', '-1 s', '1 minute', NULL);
SELECT pg_temp.counter('seen', '1 s', '9 s', NULL);
SELECT pg_temp.counter('refused', '1 s', '1 hour', '59 s');
SELECT pg_temp.counter('whole', '1 s', '11 s', NULL);
SELECT pg_temp.counter('forgiven', '1 s', '11 s', '61 s');
SELECT pg_temp.counter('far', '-10 years', '1 hour', NULL);
SELECT pg_temp.allowance('today', 0);
SELECT pg_temp.allowance('yesterday', 1);
SELECT pg_temp.allowance('gone', 2);
SELECT pg_temp.allowance('long gone', 100, 0);
SELECT pg_temp.allowance('tomorrow', -1);
SELECT pg_temp.allowance('held', 2);
INSERT INTO hansard.holds VALUES (help.id('c'), 1, 'held', help.id('w'), 10);
SELECT is(hansard_api.sweep_limits('', 100), NULL, 'a page that has room for all');
SELECT is(pg_temp.names(), 'far held* refused seen today* tomorrow* used yesterday*',
          'forgotten is who has his whole quota, is not in use, and was not refused within the window; whose day is over; and holds nothing');
DELETE FROM hansard.holds;
SELECT is(hansard_api.sweep_limits('', 100), NULL, 'once more');
SELECT is(pg_temp.names(), 'far refused seen today* tomorrow* used yesterday*', '... without the hold');
DELETE FROM hansard.rate_limits;
DELETE FROM hansard.allowances;

-- Page by page.
SELECT pg_temp.counter(k, '1 h', '1 h', NULL) FROM unnest('{a,b,d,e,g}'::text[]) AS k;
SELECT pg_temp.counter('c', '-1 h', '1 h', NULL);
SELECT pg_temp.allowance(k, 3) FROM unnest('{a,b2,f,h}'::text[]) AS k;
SELECT pg_temp.allowance('c', 0);
SELECT is(hansard_api.sweep_limits('', 3), 'b2', 'a page: callers in the order of their keys, by whatever limit');
SELECT is(pg_temp.names(), 'c c* d e f* g h*', '... of which those are forgotten that may be, and nobody else');
SELECT is(hansard_api.sweep_limits('b2', 3), 'e', 'the next page begins after that');
SELECT is(pg_temp.names(), 'c c* f* g h*', '... and steps over who stays');
SELECT is(hansard_api.sweep_limits('e', 3), 'h', 'a last page that is just full');
SELECT is(pg_temp.names(), 'c c*', '... leaves nothing');
SELECT is(hansard_api.sweep_limits('h', 3), NULL, '... as the next one finds');
SELECT is(hansard_api.sweep_limits('', 1), 'c', 'pages of one');
SELECT is(hansard_api.sweep_limits('c', 1), NULL, '... and its end');
SELECT is(hansard_api.sweep_limits('', 2), NULL, 'a page that is not full is the end at once');
SELECT pg_temp.allowance(to_char(i, 'FM0000'), 5) FROM generate_series(1, 500) AS i;
SELECT pg_temp.counter('x' || to_char(i, 'FM0000'), '1 h', '1 h', NULL) FROM generate_series(1, 500) AS i;
CREATE FUNCTION pg_temp.pages(size integer) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    after text := '';
    n     integer := 0;
BEGIN
    WHILE after IS NOT NULL LOOP
        after := hansard_api.sweep_limits(after, size);
        n := n + 1;
    END LOOP;
    RETURN n;
END
$$;
SELECT is(pg_temp.pages(64), 16, 'a thousand and one callers are sixteen pages of 64');
SELECT is(pg_temp.names(), 'c c*', '... after which they are forgotten');

-- A turn after it is served as it would have been without.
DELETE FROM hansard.rate_limits;
SELECT is(count(*), 10::bigint, 'who has used up his quota') FROM generate_series(1, 10) AS i
WHERE help.outcomes('w', jsonb_build_object('session', 'n' || i, 'address', '192.0.2.1')) = 'accepted';
SELECT is(pg_temp.pages(10), 1, '... is looked at');
SELECT is(help.outcomes('w', '{"session": "n11", "address": "192.0.2.1"}'), 'HS429', '... and stays refused');
UPDATE hansard.rate_limits SET tat_us = tat_us - 61000000, seen_us = seen_us - 61000000;
SELECT is(pg_temp.pages(10), 1, 'a minute later he is looked at again');
SELECT is(count(*), 1::bigint, '... and remembered as long as his refusal is') FROM hansard.rate_limits;
UPDATE hansard.rate_limits SET refused_us = refused_us - 61000000;
SELECT is(pg_temp.pages(10), 1, 'a minute later');
SELECT is(count(*), 0::bigint, '... he is forgotten') FROM hansard.rate_limits;
SELECT is(quota_remaining, 9, '... and has a whole quota') FROM help.ask('w', '{"session": "n11", "address": "192.0.2.1"}');

SELECT * FROM finish();
ROLLBACK;
