-- A database as schema 3 leaves it: a conversation of a caller in a tier with caps, with a turn that failed and one that
-- is open and held; another one of his with jobs: one that was answered, one that runs and one that is queued, and words that
-- were said before the answer to the turn before; counters of limits, one of which was reached; workers with a lease and
-- without. Written out in plain statements, for the functions of that release are not there any more.

SET ROLE hansard_owner;

CREATE TABLE hansard.conversations_202601 PARTITION OF hansard.conversations
    FOR VALUES FROM ('019b76da-a800-0000-0000-000000000000') TO ('019c167e-e800-0000-0000-000000000000');
CREATE TABLE hansard.turns_202601 PARTITION OF hansard.turns
    FOR VALUES FROM ('019b76da-a800-0000-0000-000000000000') TO ('019c167e-e800-0000-0000-000000000000');
CREATE TABLE hansard.messages_202601 PARTITION OF hansard.messages
    FOR VALUES FROM ('019b76da-a800-0000-0000-000000000000') TO ('019c167e-e800-0000-0000-000000000000');

INSERT INTO hansard.tiers (tier, rate_per_minute, burst, parallel_turns, tokens_per_day, tokens_reserved)
VALUES ('gold', 600, 500, 5, 100000, 2000);
INSERT INTO hansard.users VALUES ('019b76da-a800-7000-8000-000000000001', 'ada', 'gold', '2026-01-01 00:00:00+00');
INSERT INTO hansard.api_keys VALUES (sha256('a key of ada'), '019b76da-a800-7000-8000-000000000001', '2026-01-01 00:00:00+00', NULL);
INSERT INTO hansard.workers (worker_id, name, version, started_at, heartbeat_at, lost_at, permits, beat_no, wanted, most,
                             leased_until, permits_until, buried_at, cancels)
VALUES ('019b76da-a800-7000-8000-00000000000a', '127.0.0.1:8080', '0.2.0', '2026-01-01 00:00:00+00', '2026-01-01 00:10:00+00',
        NULL, 6, 601, 3, 10, '2026-01-01 00:10:05+00', '2026-01-01 00:12:07+00', NULL, 1),
       ('019b76da-a800-7000-8000-00000000000c', '127.0.0.1:8081', '0.2.0', '2026-01-01 00:00:00+00', '2026-01-01 00:09:00+00',
        '2026-01-01 00:09:16+00', 10, 0, 0, 0, NULL, NULL, NULL, 0),
       ('019b76da-a800-7000-8000-00000000000d', '127.0.0.1:8082', '0.2.0', '2026-01-01 00:00:00+00', '2026-01-01 00:08:00+00',
        '2026-01-01 00:08:16+00', 4, 480, 1, 10, '2026-01-01 00:08:05+00', '2026-01-01 00:10:07+00', '2026-01-01 00:08:27+00', 0);
INSERT INTO hansard.rate_limits (limit_key, tat_us, emission_us, burst, granted, seen_us, refused_us)
VALUES ('user:019b76da-a800-7000-8000-000000000001', 1767225900000000, 100000, 500, 1, 1767225900250000, 0),
       ('addr:192.0.2.7', 1767225960000000, 6000000, 10, 1, 1767225900000000, 1767225901000000);
INSERT INTO hansard.allowances (limit_key, day, tokens_spent, parallel_refused_at, tokens_refused_at)
VALUES ('user:019b76da-a800-7000-8000-000000000001', '2026-01-01', 7, '2026-01-01 00:04:00+00', NULL);

DO $$
DECLARE
    owner   uuid := '019b76da-a800-7000-8000-000000000001';
    worker  uuid := '019b76da-a800-7000-8000-00000000000a';
    talk    uuid := '019b76da-a801-7000-8000-000000000002';
    work    uuid := '019b76da-a801-7000-8000-000000000003';
    begun   timestamptz := '2026-01-01 00:05:00.25+00';
    head    bytea;
    session record;
    said    record;
BEGIN
    INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, address, worker_id,
                               attempt, model_attempts, accepted_at, started_at, first_byte_at, finished_at, model, prompt_tokens,
                               completion_tokens, error_code, is_job)
    VALUES (talk, 1, 'completed', 'first', sha256('1'), gen_random_uuid(), '192.0.2.1', worker, 1, 1, begun, NULL, begun, begun, 'demo', 3, 4, NULL, false),
           (talk, 2, 'failed', 'second', sha256('2'), gen_random_uuid(), '192.0.2.1', worker, 1, 3, begun, NULL, NULL, begun, NULL, NULL, NULL, 'model_failed', false),
           (talk, 3, 'running', 'third', sha256('3'), gen_random_uuid(), '192.0.2.1', worker, 1, NULL, begun, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false),
           (work, 1, 'completed', 'first', sha256('1'), gen_random_uuid(), '192.0.2.1', worker, 2, 1, begun, begun, begun, begun, 'demo', 3, 4, NULL, true),
           (work, 2, 'running', 'second', sha256('2'), gen_random_uuid(), '192.0.2.1', worker, 1, NULL, begun, begun, NULL, NULL, NULL, NULL, NULL, NULL, true),
           (work, 3, 'queued', 'third', sha256('3'), gen_random_uuid(), '192.0.2.1', NULL, 0, NULL, begun, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true);
    FOR session IN
        SELECT v.*, sha256('\x01'::bytea || uuid_send(owner) || convert_to(v.name, 'UTF8')) AS key
        FROM (VALUES (talk, 'diary', 1, 3, 0), (work, 'errands', 0, 2, 2)) AS v (id, name, unanswered, open_turn, jobs)
    LOOP
        INSERT INTO hansard.conversations VALUES (session.id, session.key, owner, session.name, begun);
        head := sha256('hansard conversation 1'::bytea || uuid_send(session.id) || session.key
                       || int8send((extract(epoch FROM begun) * 1000000)::bigint));
        FOR said IN
            SELECT v.*, begun + v.at * interval '1 microsecond' AS created_at
            FROM (VALUES (talk, 0, 1, 1, 'user', 'Dear diary'), (talk, 1, 1, 2, 'assistant', 'Dear Ada'),
                         (talk, 2, 2, 1, 'user', 'Are you there?'), (talk, 3, 3, 1, 'user', 'Hello?'),
                         (work, 0, 1, 1, 'user', 'Count'), (work, 1, 2, 1, 'user', 'Count on'),
                         (work, 2, 1, 2, 'assistant', 'One, two'), (work, 3, 3, 1, 'user', 'Stop'))
                 AS v (id, at, turn_no, place, role, words)
            WHERE v.id = session.id
            ORDER BY v.at
        LOOP
            head := sha256(head || uuid_send(session.id) || int4send(said.turn_no) || int2send(said.place::smallint)
                           || int4send(octet_length(said.role)) || convert_to(said.role, 'UTF8')
                           || int8send((extract(epoch FROM said.created_at) * 1000000)::bigint)
                           || sha256('0123456789abcdef'::bytea || convert_to(said.words, 'UTF8')));
            INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash, chain_hash)
            VALUES (session.id, said.turn_no, said.place, said.role::hansard.message_role, said.words, said.created_at,
                    '0123456789abcdef', sha256('0123456789abcdef'::bytea || convert_to(said.words, 'UTF8')), head);
        END LOOP;
        INSERT INTO hansard.sessions (session_key, user_id, session_id, conversation_id, next_turn, unanswered, open_turn,
                                      open_worker, chain_head, last_activity, jobs)
        VALUES (session.key, owner, session.name, session.id, 4, session.unanswered, session.open_turn, worker, head,
                clock_timestamp(), session.jobs);
    END LOOP;
    INSERT INTO hansard.jobs (conversation_id, turn_no, session_key, limit_key, queued_at, is_ready, worker_id, deaths, webhook)
    SELECT work, v.turn_no, s.session_key, 'user:' || owner, begun, false, v.worker_id, v.deaths, v.webhook
    FROM (VALUES (2, worker, 1, 'https://example.org/told'), (3, NULL, 0, NULL)) AS v (turn_no, worker_id, deaths, webhook),
         hansard.sessions s
    WHERE s.session_id = 'errands';
    INSERT INTO hansard.holds (conversation_id, turn_no, limit_key, worker_id, tokens)
    VALUES (talk, 3, 'user:' || owner, worker, 2001),
           (work, 2, 'user:' || owner, '00000000-0000-0000-0000-000000000000', 2002),
           (work, 3, 'user:' || owner, '00000000-0000-0000-0000-000000000000', 2001);
    INSERT INTO hansard.audit_events VALUES
        (gen_random_uuid(), begun, 'key_added', owner, NULL, '{"key_id": "0123456789abcdef"}'),
        (gen_random_uuid(), begun, 'limit_reached', owner, gen_random_uuid(), '{"limit": "parallel", "tier": "gold"}'),
        (gen_random_uuid(), begun, 'limit_reached', NULL, gen_random_uuid(),
         '{"limit": "rate", "tier": "anonymous", "address": "192.0.2.7"}');
END
$$;

RESET ROLE;
