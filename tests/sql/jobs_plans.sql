-- A claim costs the same whatever is ready, also by a plan that was made when hardly anything was.
BEGIN;
SELECT plan(4);
SELECT help.worker('w');
SELECT help.caller('ann', 'paid');

CREATE FUNCTION pg_temp.queue(prefix text, sessions integer, ready boolean) RETURNS void
LANGUAGE sql
AS $$
    WITH line AS MATERIALIZED (
        SELECT prefix || i AS session_id, hansard.uuid_v7(now()) AS conversation_id,
               hansard.session_key(u.user_id, prefix || i) AS session_key, u.user_id
        FROM generate_series(1, sessions) AS i, hansard.users u
        WHERE u.name = 'ann'
    ), begun AS (
        INSERT INTO hansard.sessions (session_key, user_id, session_id, conversation_id, next_turn, unanswered, jobs, chain_head,
                                      last_activity)
        SELECT session_key, user_id, session_id, conversation_id, 2, 0, 1, '', now() FROM line
    ), headed AS (
        INSERT INTO hansard.conversations (conversation_id, session_key, user_id, session_id, created_at)
        SELECT conversation_id, session_key, user_id, session_id, now() FROM line
    ), turned AS (
        INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, attempt, accepted_at,
                                   is_job)
        SELECT conversation_id, 1, 'queued', 'key', '', help.id('r'), 0, now(), true FROM line
    ), said AS (
        INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash, chain_hash)
        SELECT conversation_id, 1, 1, 'user', 'x', now(), '', '', '' FROM line
    )
    INSERT INTO hansard.jobs (conversation_id, turn_no, session_key, limit_key, queued_at, is_ready)
    SELECT conversation_id, 1, session_key, 'user:' || user_id, now(), ready FROM line
$$;
CREATE FUNCTION pg_temp.rows_read() RETURNS bigint
LANGUAGE sql
AS $$
    SELECT sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::bigint FROM pg_stat_xact_user_tables
    WHERE schemaname = 'hansard' AND relname ~ '^(jobs|sessions|turns|messages)'
$$;

SELECT pg_temp.queue('blocked ', 3000, false), pg_temp.queue('first ', 1, true);
ANALYZE hansard.jobs, hansard.sessions;
SELECT is(count(*), 1::bigint, 'one is ready, and the plans are made') FROM hansard_api.claim_jobs(help.id('w'), 64, 20, 65536);
SELECT pg_temp.queue('ready ', 3000, true);
CREATE TEMP TABLE before AS SELECT pg_temp.rows_read() AS n;
SELECT is(count(*), 64::bigint, 'then much is') FROM hansard_api.claim_jobs(help.id('w'), 64, 20, 65536);
SELECT cmp_ok(pg_temp.rows_read() - n, '<=', 64 * 20::bigint, 'of which little is read') FROM before;
SELECT is(count(*), 65::bigint, 'they run') FROM hansard.jobs WHERE worker_id = help.id('w');

SELECT finish();
ROLLBACK;
