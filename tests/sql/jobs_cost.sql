-- What is done with one job costs the same whether two are queued or twenty thousand.
--
-- Plans are kept, and all here are made while the tables are empty. They have to look up by keys from the first, for a queue
-- grows faster than autovacuum comes; and stay so when ANALYZE has seen it.
BEGIN;
SELECT plan(40);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.capped('gold', 1000000, 1000000000);
CREATE FUNCTION pg_temp.cancel(session text) RETURNS text
LANGUAGE sql
AS $$ SELECT hansard_api.cancel_job(help.hash('gold'), s.conversation_id, 1)::json ->> 'status'
      FROM hansard.sessions s WHERE s.session_key = help.session_key(session, 'gold') $$;
CREATE FUNCTION pg_temp.enqueue(sessions text[]) RETURNS text
LANGUAGE sql
AS $$ SELECT help.outcomes('w', jsonb_agg(jsonb_build_object('session', s, 'caller', 'gold', 'job', true, 'most_jobs', 1000)))
      FROM unnest(sessions) AS s $$;

-- Everything once, on empty tables.
SELECT help.claim('w');
SELECT hansard_api.jobs_lost(help.id('w'), '{}', '{}', '{}');
SELECT hansard_api.jobs_ended('{}', '{}');
SELECT pg_temp.enqueue('{p}'), pg_temp.enqueue('{p}'), pg_temp.enqueue('{q}');
SELECT help.claim('w', 1, '{}');
SELECT help.finishes('{"session": "p", "caller": "gold", "state": "queued"}');
SELECT help.claim('w', 1);
SELECT help.finishes('{"session": "p", "caller": "gold"}');
SELECT pg_temp.cancel('q');
SELECT help.claim('w');
SELECT help.silence('w', '13 s');
SELECT hansard_api.reap_workers();
SELECT hansard_api.erase_conversation(help.hash('gold'), 'p', help.id('r')::text);
DELETE FROM hansard.workers WHERE worker_id = help.id('w');
SELECT help.worker('w');

-- Then the queue: a hundred callers, and ours with two hundred jobs.
CREATE TEMP TABLE line AS
SELECT i, hansard.uuid_v7(now()) AS conversation_id, help.session_key('s' || i, 'gold') AS session_key,
       CASE WHEN i % 100 = 0 THEN help.limit_key('gold') ELSE 'addr:' || i % 100 END AS limit_key
FROM generate_series(1, 20000) AS i;
INSERT INTO hansard.sessions (session_key, user_id, session_id, conversation_id, next_turn, unanswered, jobs, chain_head, last_activity)
SELECT session_key, (SELECT user_id FROM hansard.users WHERE name = 'gold'), 's' || i, conversation_id, 3, 0, 2, '', now() FROM line;
INSERT INTO hansard.conversations (conversation_id, session_key, user_id, session_id, created_at)
SELECT conversation_id, session_key, (SELECT user_id FROM hansard.users WHERE name = 'gold'), 's' || i, now() FROM line;
INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, attempt, accepted_at, is_job)
SELECT conversation_id, t, 'queued', 'key ' || t, '', help.id('r'), 0, now(), true FROM line, generate_series(1, 2) AS t;
INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash, chain_hash)
SELECT conversation_id, t, 1, 'user', 'text ' || i, now(), '', '', '' FROM line, generate_series(1, 2) AS t;
INSERT INTO hansard.jobs (conversation_id, turn_no, session_key, limit_key, queued_at, is_ready)
SELECT conversation_id, t, session_key, limit_key, now() + i * interval '1 ms', t = 1 FROM line, generate_series(1, 2) AS t;
INSERT INTO hansard.holds (conversation_id, turn_no, limit_key, worker_id, tokens)
SELECT conversation_id, 1, 'addr:' || i % 100, hansard.nobody(), 100 FROM line;

CREATE FUNCTION pg_temp.rows_read() RETURNS bigint
LANGUAGE sql
AS $$
    SELECT sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::bigint FROM pg_stat_xact_user_tables
    WHERE schemaname = 'hansard' AND relname ~ '^(jobs|holds|sessions|turns|messages|conversations)'
$$;
CREATE FUNCTION pg_temp.costs(statement text, gives text, most bigint, what text) RETURNS SETOF text
LANGUAGE plpgsql
AS $$
DECLARE
    before bigint := pg_temp.rows_read();
    given  text;
    after  bigint;
BEGIN
    EXECUTE statement INTO given;
    after := pg_temp.rows_read();
    RETURN NEXT is(given, gives, what);
    RETURN NEXT cmp_ok(after - before, '<=', most, '... for which little is read');
END
$$;
CREATE FUNCTION pg_temp.all_of_it(n integer, suffix text) RETURNS SETOF text
LANGUAGE plpgsql
AS $$
BEGIN
    -- What is before that goes to the end of the line.
    UPDATE hansard.jobs j SET queued_at = j.queued_at + interval '1 hour' FROM line l
    WHERE l.conversation_id = j.conversation_id AND l.i < n;
    RETURN QUERY SELECT * FROM pg_temp.costs($q$SELECT help.claim('w', 2)$q$,
        format('s%s 1 1 text %s, s%s 1 1 text %s', n, n, n + 1, n + 1), 40, 'two jobs are claimed' || suffix);
    RETURN QUERY SELECT * FROM pg_temp.costs(format($q$SELECT help.finishes('[{"session": "s%s", "caller": "gold"},
        {"session": "s%s", "caller": "gold", "state": "queued"}]')$q$, n, n + 1), 'finished finished', 40, 'one ends, one is handed back' || suffix);
    RETURN QUERY SELECT * FROM pg_temp.costs(format($q$SELECT pg_temp.enqueue('{s%s,new%s,s%s}')$q$, n, n, n + 1),
        'queued queued queued', 640, 'jobs are queued, and those of their caller counted' || suffix);
    RETURN QUERY SELECT * FROM pg_temp.costs(format($q$SELECT help.outcomes('w', '[{"session": "s%s", "caller": "gold"},
        {"session": "live%s"}]')$q$, n, n), 'waiting accepted', 30, 'live turns come' || suffix);
    RETURN QUERY SELECT * FROM pg_temp.costs(format($q$SELECT pg_temp.cancel('s%s')$q$, n + 5), 'cancelled', 40,
        'one in the line is cancelled' || suffix);
    RETURN QUERY SELECT * FROM pg_temp.costs($q$SELECT count(*) FROM hansard_api.claim_jobs(help.id('v'), 2, 20, 65536)$q$, '2', 40,
        'two more are claimed' || suffix);
    PERFORM help.silence('v', '13 s');
    RETURN QUERY SELECT * FROM pg_temp.costs($q$SELECT hansard_api.reap_workers()$q$, '0', 40, 'their worker dies' || suffix);
    RETURN QUERY SELECT * FROM pg_temp.costs(format($q$SELECT array_length(hansard_api.jobs_lost(help.id('w'),
        array_agg(conversation_id), array_agg(1), array_agg(1)), 1) FROM line WHERE i <= 10$q$), '10', 40, 'some are looked after' || suffix);
    RETURN QUERY SELECT * FROM pg_temp.costs(format($q$SELECT array_length(hansard_api.jobs_ended(array_agg(conversation_id),
        array_agg(1)), 1) FROM line WHERE i IN (%s, %s, 10000)$q$, n, n + 5), '2', 20, 'it is asked which have ended' || suffix);
    RETURN QUERY SELECT * FROM pg_temp.costs(format($q$SELECT hansard_api.erase_conversation(help.hash('gold'), 's%s',
        help.id('r')::text)::json -> 'erased' ->> 'cancelled'$q$, n + 6), '2', 40, 'one is erased' || suffix);
    DELETE FROM hansard.workers WHERE worker_id = help.id('v');
    PERFORM help.worker('v');
END
$$;

SELECT pg_temp.all_of_it(1, '');
ANALYZE hansard.jobs, hansard.sessions, hansard.holds;
SELECT format('ANALYZE %s', inhrelid::regclass) FROM pg_inherits
WHERE inhparent IN ('hansard.messages'::regclass, 'hansard.turns'::regclass, 'hansard.conversations'::regclass)
\gexec
SELECT pg_temp.all_of_it(11, ', when the tables were analyzed');

SELECT * FROM finish();
ROLLBACK;
