-- A page of the list, and of the export, costs the same however many conversations others have, or the owner himself. There
-- are few owners: so few that by the planner's reckoning each has much of all there is.
BEGIN;
SELECT plan(6);
SELECT help.caller('ann', 'free');
SELECT help.caller('bob', 'free');
SELECT help.caller('eve', 'free');

CREATE FUNCTION pg_temp.talks(caller text, many integer) RETURNS void
LANGUAGE sql
AS $$
    WITH talks AS MATERIALIZED (
        SELECT hansard.uuid_v7(clock_timestamp()) AS id, i, u.user_id
        FROM generate_series(1, many) AS i, (SELECT 1) AS one LEFT JOIN hansard.users u ON u.name = caller
    ), headed AS (
        INSERT INTO hansard.conversations (conversation_id, session_key, user_id, session_id, created_at)
        SELECT id, hansard.session_key(user_id, 'talk ' || i), user_id, 'talk ' || i, now() FROM talks
    )
    INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, attempt, accepted_at,
                               finished_at)
    SELECT id, n, 'completed', 'key ' || n, '', help.id('r'), 1, now(), now() FROM talks, generate_series(1, 2) AS n
$$;
CREATE FUNCTION pg_temp.rows_read() RETURNS bigint
LANGUAGE sql
AS $$
    SELECT sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::bigint FROM pg_stat_xact_user_tables
    WHERE schemaname = 'hansard' AND relname ~ '^(conversations|turns)_'
$$;
CREATE FUNCTION pg_temp.list(caller text, after_id uuid) RETURNS jsonb
LANGUAGE sql
AS $$ SELECT hansard_api.list_conversations(help.hash(caller), after_id, 20)::jsonb $$;

SELECT pg_temp.talks(NULL, 3000), pg_temp.talks('bob', 3000), pg_temp.talks('eve', 50), pg_temp.talks('ann', 50);
ANALYZE hansard.conversations, hansard.turns;

CREATE TEMP TABLE mark AS SELECT pg_temp.rows_read() AS n;
SELECT is(jsonb_array_length(pg_temp.list('ann', hansard.nobody()) -> 'conversations'), 20, 'who came last has a page');
SELECT cmp_ok(pg_temp.rows_read() - n, '<=', 3 * 20::bigint, '... for which little is read') FROM mark;

UPDATE mark SET n = pg_temp.rows_read();
SELECT is(count(*), 20::bigint, 'of the export as well')
FROM hansard_admin.export_user('ann', hansard.nobody(), 0, 20, 65536);
SELECT cmp_ok(pg_temp.rows_read() - n, '<=', 10 * 20::bigint, '... for which little is read') FROM mark;

CREATE TEMP TABLE far AS
SELECT conversation_id FROM hansard.conversations JOIN hansard.users USING (user_id)
WHERE name = 'bob' ORDER BY conversation_id OFFSET 2000 LIMIT 1;
UPDATE mark SET n = pg_temp.rows_read();
SELECT is(jsonb_array_length(pg_temp.list('bob', conversation_id) -> 'conversations'), 20, 'a page in the middle of many') FROM far;
SELECT cmp_ok(pg_temp.rows_read() - n, '<=', 3 * 20::bigint, '... is like the first') FROM mark;

SELECT * FROM finish();
ROLLBACK;
