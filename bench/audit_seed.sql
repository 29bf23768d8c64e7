-- A month of conversations as if they had been held, for bench/audit.py: in the order of time, with a chain that checks. Of
-- the month that runs, until now.
--
-- Variables of psql: month (its first day), conversations (how many begin in it), first (number of the first), seed.
-- Callers and texts are made by audit_base.sql. A conversation has 1 to 9 turns, some of which end in the next month.

\set ON_ERROR_STOP on
SET synchronous_commit = off;
SET work_mem = '512MB';
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET timezone = 'UTC';
SELECT setseed(:seed);

-- By itself, for it locks what others want that fill another month.
SET ROLE hansard_owner;
SELECT hansard.make_partition(parent, :'month') FROM unnest('{conversations,turns,messages}'::text[]) AS parent;
RESET ROLE;

BEGIN;

CREATE TEMPORARY TABLE held ON COMMIT DROP AS
SELECT i, begun, (1 + floor(9 * random() * random() * 1.3))::integer AS turns, user_id, session_id,
       hansard.session_key(user_id, session_id) AS session_key, model,
       (substr(hansard.uuid_floor(begun)::text, 1, 14) || '7' || substr(mixed, 1, 3) || '-8' || substr(mixed, 4, 3) || '-'
        || substr(mixed, 7, 12))::uuid AS conversation_id
FROM (SELECT i, starts + random() * (ends - starts) AS begun,
             -- A fifth have no key; of the rest, few have many conversations.
             CASE WHEN random() > 0.2 THEN floor(power(random(), 2) * (SELECT count(*) FROM bench.callers))::integer END AS caller,
             'session ' || i AS session_id, (ARRAY['small', 'small', 'large', 'unpriced'])[1 + floor(random() * 3.2)::integer] AS model,
             md5(i::text) AS mixed
      FROM generate_series(:first::bigint, :first::bigint + :conversations - 1) AS i,
           (SELECT starts, greatest(least(starts + interval '1 month' - interval '1 second', now() - interval '30 minutes'), starts) AS ends
            FROM (SELECT :'month'::timestamp AT TIME ZONE 'UTC' AS starts) AS m) AS m) AS c
LEFT JOIN bench.callers USING (caller);

CREATE TEMPORARY TABLE asked ON COMMIT DROP AS
SELECT h.i, h.conversation_id, h.model, turn_no, accepted_at, state,
       CASE WHEN state <> 'failed' THEN accepted_at + wait / 3 END AS first_byte_at, accepted_at + wait AS finished_at,
       number % 5000 AS question, (i * 7919 + turn_no * 613) % 5000 AS answer, number
FROM (SELECT h.*, turn_no, h.begun + (turn_no - 1) * interval '3 minutes' AS accepted_at, h.i * 10 + turn_no AS number,
             CASE WHEN random() < 0.005 THEN interval '15 seconds' ELSE interval '3 seconds' END * (0.1 + random()) AS wait,
             CASE WHEN random() < 0.98 THEN 'completed' WHEN random() < 0.9 THEN 'failed' ELSE 'cancelled' END::hansard.turn_state AS state
      FROM held h, generate_series(1, h.turns) AS turn_no) AS h;

INSERT INTO hansard.conversations (conversation_id, session_key, user_id, session_id, created_at)
SELECT conversation_id, session_key, user_id, session_id, begun FROM held ORDER BY begun;

INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, address, worker_id,
                           attempt, model_attempts, accepted_at, first_byte_at, finished_at, model, prompt_tokens,
                           completion_tokens, error_code)
SELECT conversation_id, turn_no, state, 'key ' || turn_no, sha256(int8send(number)), md5('request ' || number)::uuid,
       '10.0.' || i % 250 || '.' || i % 199, md5('worker ' || i % 5)::uuid, 1, 1 + (number % 50 = 0)::integer, accepted_at, first_byte_at,
       finished_at, CASE state WHEN 'completed' THEN model END, CASE state WHEN 'completed' THEN 100 * turn_no END,
       CASE state WHEN 'completed' THEN 50 + number % 200 END,
       CASE state WHEN 'failed' THEN (ARRAY['model_failed', 'model_timeout', 'worker_lost'])[1 + number % 3]
                  WHEN 'cancelled' THEN 'turn_cancelled' END
FROM asked ORDER BY accepted_at;

INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash, chain_hash)
SELECT conversation_id, turn_no, position, role, text, at, salt, text_hash,
       bench.chain(hansard.chain_start(conversation_id, session_key, begun), conversation_id, turn_no, position, role::text, at,
                   text_hash) OVER (PARTITION BY conversation_id ORDER BY turn_no, position)
FROM (SELECT s.*, md5('salt ' || number || position)::uuid AS seed
      FROM (SELECT a.conversation_id, h.session_key, h.begun, a.turn_no, 1::smallint AS position, 'user'::hansard.message_role AS role,
                   a.accepted_at AS at, t.question || ' case' || a.number AS text, a.number
            FROM asked a JOIN held h USING (i) JOIN bench.texts t ON t.n = a.question
            UNION ALL
            SELECT a.conversation_id, h.session_key, h.begun, a.turn_no, 2::smallint, 'assistant', a.finished_at,
                   t.answer || ' case' || a.number, a.number
            FROM asked a JOIN held h USING (i) JOIN bench.texts t ON t.n = a.answer
            WHERE a.state = 'completed') AS s) AS m
CROSS JOIN LATERAL (SELECT uuid_send(m.seed) AS salt OFFSET 0) AS salted
CROSS JOIN LATERAL (SELECT hansard.text_hash(salt, text) AS text_hash OFFSET 0) AS hashed
ORDER BY at;

INSERT INTO hansard.audit_events (event_id, happened_at, kind, user_id, request_id, detail)
SELECT gen_random_uuid(), begun, 'limit_reached', user_id, md5('request ' || i)::uuid,
       jsonb_build_object('limit', (ARRAY['rate', 'rate', 'parallel', 'tokens'])[1 + i % 4],
                          'tier', CASE WHEN user_id IS NULL THEN 'anonymous' ELSE 'paid' END, 'address', '10.0.0.' || i % 200)
FROM held WHERE i % 50 = 0 ORDER BY begun;

COMMIT;
