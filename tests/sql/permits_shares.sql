-- Max-min fair shares: first what each wants, the most modest first, then what is left over.
BEGIN;
SELECT plan(28);

-- Some by hand: total, wants, mosts.
SELECT is(hansard.fair_shares(10, '{10,10}', '{10,10}'), '{5,5}', 'two that want all have half each');
SELECT is(hansard.fair_shares(10, '{2,10}', '{10,10}'), '{2,8}', 'who wants less than half has that');
SELECT is(hansard.fair_shares(10, '{2,3}', '{10,10}'), '{5,5}', 'what nobody wants is shared alike');
SELECT is(hansard.fair_shares(10, '{2,3}', '{3,4}'), '{3,4}', '... as far as each takes it');
SELECT is(hansard.fair_shares(10, '{0,0,0}', '{10,10,1}'), '{4,5,1}', '... also when nobody wants any');
SELECT is(hansard.fair_shares(10, '{9,9,1}', '{10,10,10}'), '{4,5,1}', 'what does not divide goes to the last');
SELECT is(hansard.fair_shares(2, '{1,1,1}', '{5,5,5}'), '{0,1,1}', 'of too few somebody gets none');
SELECT is(hansard.fair_shares(0, '{5,5}', '{5,5}'), '{0,0}', 'of nothing all get nothing');
SELECT is(hansard.fair_shares(10, '{3}', '{7}'), '{7}', 'one alone has what he takes');
SELECT is(hansard.fair_shares(10, '{20,5}', '{4,10}'), '{4,6}', 'a want above what he takes is no want');
SELECT is(hansard.fair_shares(10, '{0,5}', '{0,20}'), '{0,10}', 'who takes nothing gets nothing');

-- And many by chance.
SELECT setseed(0.5);
CREATE TEMP TABLE tried AS
SELECT n, total, wants, mosts, hansard.fair_shares(total, wants, mosts) AS shares
FROM (SELECT n, (random() * 40)::integer AS total,
             (SELECT array_agg((random() * 20)::integer) FROM generate_series(1, 1 + n % 9)) AS wants,
             (SELECT array_agg((random() * 25)::integer) FROM generate_series(1, 1 + n % 9)) AS mosts
      FROM generate_series(1, 1000) AS n) AS r;
CREATE TEMP TABLE parts AS
SELECT n, total, i, least(wants[i], mosts[i]) AS want, mosts[i] AS most, shares[i] AS share
FROM tried, generate_subscripts(wants, 1) AS i;
CREATE TEMP VIEW sums AS
SELECT n, total, sum(share) AS share, sum(want) AS want, sum(most) AS most, count(*) AS size FROM parts GROUP BY n, total;
SELECT is(count(*), 1000::bigint, 'a thousand cases') FROM sums WHERE size = (1 + n % 9);
SELECT is_empty('SELECT * FROM parts WHERE share IS NULL OR share < 0 OR share > most', 'nobody has more than he takes');
SELECT is_empty('SELECT * FROM sums WHERE share <> least(total, most)',
                'all is given out, unless nobody takes any more, and never more than there is');
SELECT is_empty('SELECT p.* FROM parts p JOIN sums s USING (n) WHERE s.want <= s.total AND p.share < p.want',
                'where there is enough for all wants, all are met');
SELECT is_empty('SELECT p.* FROM parts p JOIN sums s USING (n) WHERE s.want >= s.total AND p.share > p.want',
                'where there is not, nobody has more than he wants');
SELECT is_empty('SELECT p.* FROM parts p JOIN sums s USING (n) WHERE p.share < least(p.want, p.total / s.size)',
                'who wants no more than an equal part has it, whatever others want');
SELECT is_empty('SELECT p.*, q.* FROM parts p JOIN parts q USING (n) JOIN sums s USING (n)
                 WHERE s.want >= s.total AND p.share < p.want AND q.share > p.share + 1',
                'whose want is not met has as much as anybody, but for one');
SELECT is_empty('SELECT p.*, q.* FROM parts p JOIN parts q USING (n) JOIN sums s USING (n)
                 WHERE s.want < s.total AND p.share < p.most AND q.share - q.want > p.share - p.want + 1',
                'so it is with what is left over');
SELECT is_empty('SELECT * FROM tried WHERE hansard.fair_shares(total, wants, mosts) <> shares', 'it is the same every time');
SELECT cmp_ok(count(*), '>', 200::bigint, 'both kinds of cases were among them') FROM sums
WHERE want < total AND (SELECT count(*) FROM sums WHERE want > total) > 200;

-- Fewer permits than workers that want one.
SELECT is(ARRAY(SELECT hansard.shares_in_turn(1, '{5,5,1}', t)::text FROM generate_series(0, 3) t),
          '{"{1,0,0}","{0,1,0}","{0,0,1}","{1,0,0}"}', 'one permit goes round, however much who wants');
SELECT is(ARRAY(SELECT hansard.shares_in_turn(2, '{5,0,5,5}', t)::text FROM generate_series(0, 2) t),
          '{"{1,0,1,0}","{1,0,0,1}","{0,0,1,1}"}', '... two go round among those who want any');
SELECT is(hansard.shares_in_turn(0, '{5,5}', 7), '{0,0}', 'of nothing all get nothing');
CREATE TEMP TABLE turns AS
SELECT n, total, size, hansard.shares_in_turn(total, array_fill(3, ARRAY[size]), turn) AS shares
FROM (SELECT n, 1 + n % 7 AS total, 2 + n % 7 + n % 11 AS size FROM generate_series(1, 77) n) AS s
CROSS JOIN LATERAL generate_series(400000000, 400000000 + 2 * size / total + 1) AS turn;
SELECT is_empty('SELECT * FROM turns WHERE (SELECT sum(s) FROM unnest(shares) s) <> total', 'all are given out, and never more');
SELECT is_empty('SELECT n, i FROM turns, generate_subscripts(shares, 1) AS i GROUP BY n, i HAVING sum(shares[i]) = 0',
                'everybody has one within twice the turns it would take');
SELECT is((SELECT count(DISTINCT n) FROM turns), 77::bigint, '(of all cases)');
CREATE FUNCTION pg_temp.had_one(worker text) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    other text;
BEGIN
    -- Three turns of 5 s, and some time for the last.
    FOR i IN 1 .. 34 LOOP
        FOREACH other IN ARRAY '{a,b,c}'::text[] LOOP
            IF help.lease(other, '{"cap": 1, "holding": 0}') LIKE '1%' AND other = worker THEN
                RETURN true;
            END IF;
        END LOOP;
        PERFORM pg_sleep(0.5);
    END LOOP;
    RETURN false;
END
$$;
SELECT is(ARRAY(SELECT w FROM unnest('{a,b,c}'::text[]) w WHERE NOT pg_temp.had_one(w)), '{}', 'so it is with leases');

SELECT * FROM finish();
ROLLBACK;
