-- What the stories share: pgTAP in a schema of its own, and words for what callers and workers do.
--
-- Names stand for ids: worker 'w' is help.id('w') everywhere, and caller 'ann' has the key whose hash is help.hash('ann').

CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA help;

CREATE FUNCTION help.id(name text) RETURNS uuid
LANGUAGE sql IMMUTABLE
RETURN md5(name)::uuid;

CREATE FUNCTION help.hash(name text) RETURNS bytea
LANGUAGE sql IMMUTABLE
RETURN sha256(name::bytea);

-- A worker that lives.
CREATE FUNCTION help.worker(name text) RETURNS void
LANGUAGE sql
AS $$ SELECT FROM hansard_api.heartbeat(help.id(name), '127.0.0.1:8080', 'test', 10) $$;

-- ... and has been silent for so long.
CREATE FUNCTION help.silence(worker text, for_so_long interval) RETURNS void
LANGUAGE sql
AS $$ UPDATE hansard.workers SET heartbeat_at = clock_timestamp() - for_so_long WHERE worker_id = help.id(worker) $$;

CREATE FUNCTION help.caller(name text, tier text) RETURNS void
LANGUAGE sql
AS $$ SELECT FROM hansard_admin.add_key(name, tier, help.hash(name)) $$;

CREATE FUNCTION help.session_key(session text, caller text DEFAULT NULL) RETURNS bytea
LANGUAGE sql STABLE
RETURN hansard.session_key((SELECT user_id FROM hansard.users WHERE name = caller), session);

-- accept_turns: one request or an array of them. Each has what it does not say:
--   session 's', words 'hello', a key of its own, no caller, an address of its own, a request id of its own, a
--   fingerprint of its words, no history that the worker knows (known_conversation, known_turn), and no quota that was
--   taken before (paid); and it is no job (job, webhook; most_jobs and has_room count for all).
CREATE FUNCTION help.ask(worker text, asks jsonb, most_messages integer DEFAULT 20, most_bytes integer DEFAULT 65536,
                         ttl interval DEFAULT '24 hours')
RETURNS TABLE (item integer, outcome text, session_key bytea, conversation_id uuid, turn_no integer, attempt integer,
               history text[], history_after integer, reply text, model text, prompt_tokens integer,
               completion_tokens integer, error_code text, policy text, quota_limit integer, quota_window_s integer,
               quota_remaining integer, quota_reset_ms integer, retry_after_ms integer,
               tokens_limit bigint, tokens_remaining bigint, tokens_reset_ms integer, status text)
LANGUAGE sql
AS $$
    SELECT accepted.*
    FROM (
        SELECT array_agg(CASE WHEN a ? 'caller' THEN help.hash(a ->> 'caller') END ORDER BY n) AS hashes,
               array_agg(coalesce(a ->> 'address', 'address of ' || gen_random_uuid()) ORDER BY n) AS addresses,
               array_agg(coalesce(a ->> 'session', 's') ORDER BY n) AS sessions,
               array_agg(coalesce(a ->> 'words', 'hello') ORDER BY n) AS words,
               array_agg(coalesce(a ->> 'key', gen_random_uuid()::text) ORDER BY n) AS keys,
               array_agg(help.hash(coalesce(a ->> 'words', 'hello')) ORDER BY n) AS fingerprints,
               array_agg(coalesce(help.id(a ->> 'request'), gen_random_uuid())::text ORDER BY n) AS requests,
               array_agg((a ->> 'known_conversation')::uuid ORDER BY n) AS known_conversations,
               array_agg((a ->> 'known_turn')::integer ORDER BY n) AS known_turns,
               array_agg((a ->> 'paid')::boolean ORDER BY n) AS paid,
               array_agg((a ->> 'job')::boolean ORDER BY n) AS are_jobs,
               array_agg(a ->> 'webhook' ORDER BY n) AS webhooks,
               min((a ->> 'most_jobs')::integer) AS most_jobs,
               bool_and(coalesce((a ->> 'has_room')::boolean, true)) AS has_room
        FROM jsonb_array_elements(CASE jsonb_typeof(asks) WHEN 'array' THEN asks ELSE jsonb_build_array(asks) END)
             WITH ORDINALITY AS e (a, n)
    ) AS asked
    CROSS JOIN LATERAL hansard_api.accept_turns(
        help.id(worker), most_messages, most_bytes, extract(epoch FROM ttl)::bigint * 1000,
        hashes, addresses, sessions, words, keys, fingerprints, requests,
        known_conversations, known_turns, paid, are_jobs, webhooks, most_jobs, has_room) AS accepted
    ORDER BY item
$$;

-- Outcomes of a batch, in the order of its requests.
CREATE FUNCTION help.outcomes(worker text, asks jsonb) RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(outcome, ' ' ORDER BY item) FROM help.ask(worker, asks) $$;

-- finish_turns: one turn or an array of them. Each has what it does not say: session 's', no caller, state completed,
-- answer 'hi there' when completed, error 'model_failed' when failed (queued: none, if it is not said); conversation, turn, attempt and worker of the
-- session's open turn.
CREATE FUNCTION help.finish(finishes jsonb) RETURNS TABLE (item integer, outcome text, has_next boolean, has_webhook boolean)
LANGUAGE sql
AS $$
    SELECT finished.*
    FROM (
        SELECT array_agg(coalesce(help.id(f ->> 'worker'), s.open_worker) ORDER BY n) AS workers,
               array_agg(help.session_key(f ->> 'session', f ->> 'caller') ORDER BY n) AS session_keys,
               array_agg(coalesce((f ->> 'conversation')::uuid, s.conversation_id) ORDER BY n) AS conversations,
               array_agg(coalesce((f ->> 'turn')::integer, s.open_turn) ORDER BY n) AS turns,
               array_agg(coalesce((f ->> 'attempt')::integer, t.attempt, 1) ORDER BY n) AS attempts,
               array_agg(f ->> 'state' ORDER BY n) AS states,
               array_agg(CASE f ->> 'state' WHEN 'completed' THEN f ->> 'answer' END ORDER BY n) AS answers,
               array_agg(f ->> 'model' ORDER BY n) AS models,
               array_agg((f ->> 'prompt_tokens')::integer ORDER BY n) AS prompt_counts,
               array_agg((f ->> 'completion_tokens')::integer ORDER BY n) AS completion_counts,
               array_agg(CASE f ->> 'state' WHEN 'failed' THEN coalesce(f ->> 'error', 'model_failed')
                                             WHEN 'queued' THEN f ->> 'error' END ORDER BY n) AS error_codes,
               array_agg((f ->> 'first_byte_ms')::integer ORDER BY n) AS first_bytes,
               array_agg((f ->> 'calls')::integer ORDER BY n) AS calls
        FROM (
            SELECT '{"session": "s", "state": "completed", "answer": "hi there", "calls": 1}' || e AS f, n
            FROM jsonb_array_elements(CASE jsonb_typeof(finishes) WHEN 'array' THEN finishes
                                      ELSE jsonb_build_array(finishes) END) WITH ORDINALITY AS e (e, n)
        ) AS told
        LEFT JOIN hansard.sessions s ON s.session_key = help.session_key(f ->> 'session', f ->> 'caller')
        LEFT JOIN hansard.turns t ON t.conversation_id = s.conversation_id AND t.turn_no = s.open_turn
    ) AS asked
    CROSS JOIN LATERAL hansard_api.finish_turns(workers, session_keys, conversations, turns, attempts, states, answers,
                                                models, prompt_counts, completion_counts, error_codes, first_bytes,
                                                calls) AS finished
    ORDER BY item
$$;

CREATE FUNCTION help.finishes(finishes jsonb) RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(outcome, ' ' ORDER BY item) FROM help.finish(finishes) $$;

-- claim_jobs: "session turn attempt words" of each, in order; NULL: none.
CREATE FUNCTION help.claim(worker text, most integer DEFAULT 10, known uuid[] DEFAULT NULL) RETURNS text
LANGUAGE sql
AS $$
    SELECT string_agg(concat_ws(' ', (SELECT s.session_id FROM hansard.sessions s WHERE s.session_key = c.session_key), c.turn_no,
                                c.attempt, c.words), ', ')
    FROM hansard_api.claim_jobs(help.id(worker), most, 20, 65536, known) AS c
$$;

-- Jobs that have not ended: "session turn (ready)" or "session turn (worker)" or "session turn", by session and turn.
CREATE FUNCTION help.jobs() RETURNS text
LANGUAGE sql
AS $$
    SELECT string_agg(concat_ws(' ', s.session_id, j.turn_no, CASE WHEN j.is_ready THEN '(ready)' END,
                                (SELECT '(' || w.version || ')' FROM hansard.workers w WHERE w.worker_id = j.worker_id)),
                      ', ' ORDER BY s.session_id, j.turn_no)
    FROM hansard.jobs j JOIN hansard.sessions s ON s.session_key = j.session_key
$$;

-- One turn from question to answer; without an answer it fails. The words are its key, too.
CREATE FUNCTION help.turn(worker text, session text, words text, answer text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    outcomes text[];
BEGIN
    outcomes := ARRAY[
        help.outcomes(worker, jsonb_build_object('session', session, 'words', words, 'key', left(words, 100))),
        help.finishes(jsonb_build_object('session', session, 'answer', answer,
                                         'state', CASE WHEN answer IS NULL THEN 'failed' ELSE 'completed' END))];
    IF outcomes <> '{accepted,finished}' THEN
        RAISE EXCEPTION 'the turn "%" of session "%" went wrong: %', words, session, outcomes;
    END IF;
END
$$;

-- A tier with caps, and a caller in it who bears its name.
CREATE FUNCTION help.capped(tier text, parallel integer, tokens bigint DEFAULT NULL, reserved integer DEFAULT 1000,
                            rate integer DEFAULT NULL, burst integer DEFAULT 100) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO hansard.tiers (tier, rate_per_minute, burst, parallel_turns, tokens_per_day, tokens_reserved)
    VALUES (tier, rate, burst, parallel, tokens, reserved);
    SELECT help.caller(tier, tier);
$$;

CREATE FUNCTION help.limit_key(caller text) RETURNS text
LANGUAGE sql STABLE
RETURN (SELECT 'user:' || user_id FROM hansard.users WHERE name = caller);

-- What counts against a caller's caps: "open turns, tokens reserved, tokens spent".
CREATE FUNCTION help.counted(caller text) RETURNS text
LANGUAGE sql
AS $$
    SELECT concat_ws(', ', count(h), coalesce(sum(h.tokens), 0),
                     (SELECT coalesce(max(a.tokens_spent), 0) FROM hansard.allowances a
                      WHERE a.limit_key = help.limit_key(caller)))
    FROM hansard.holds h WHERE h.limit_key = help.limit_key(caller)
$$;

-- lease_permits: "granted of them", or "granted down to so many". What is not said: the next heartbeat of this worker, that
-- it limits itself to what it has, wants 10, takes 10 at most, of a cap of 10; leases of 5 s, calls of 8 s.
CREATE FUNCTION help.lease(worker text, what jsonb DEFAULT '{}') RETURNS text
LANGUAGE sql
AS $$
    SELECT CASE WHEN reply[3] < reply[2] THEN reply[2] || ' down to ' || reply[3] ELSE reply[2]::text END
    FROM (SELECT '{"wanted": 10, "most": 10, "cap": 10, "lease_ms": 5000, "call_ms": 8000}' || what AS w) AS told
    LEFT JOIN hansard.workers own ON own.worker_id = help.id(worker)
    CROSS JOIN LATERAL hansard_api.lease_permits(
        help.id(worker), '127.0.0.1:8080', 'test', coalesce((w ->> 'beat')::integer, own.beat_no + 1, 1),
        help.id(w ->> 'before'), coalesce((w ->> 'holding')::integer, own.permits, 0), (w ->> 'wanted')::integer,
        (w ->> 'most')::integer, (w ->> 'cap')::integer, (w ->> 'lease_ms')::integer,
        (w ->> 'call_ms')::integer) AS reply
$$;

-- So much time passes for all workers.
CREATE FUNCTION help.pass(span interval) RETURNS void
LANGUAGE sql
AS $$
    UPDATE hansard.workers
    SET started_at = started_at - span, heartbeat_at = heartbeat_at - span, leased_until = leased_until - span,
        permits_until = permits_until - span, lost_at = lost_at - span, buried_at = buried_at - span
$$;

-- Permits that are not free, by the database's count.
CREATE FUNCTION help.permits_out() RETURNS bigint
LANGUAGE sql
AS $$ SELECT coalesce(sum(permits), 0) FROM hansard.workers WHERE permits_until > clock_timestamp() $$;

-- Everything a turn may write to, by its content: equal before and after, and nothing was stored and no quota taken.
CREATE FUNCTION help.content() RETURNS text
LANGUAGE sql
AS $$
    SELECT md5(concat((SELECT string_agg(r::text, ',' ORDER BY r::text) FROM hansard.sessions r), '|',
                      (SELECT string_agg(r::text, ',' ORDER BY r::text) FROM hansard.conversations r), '|',
                      (SELECT string_agg(r::text, ',' ORDER BY r::text) FROM hansard.turns r), '|',
                      (SELECT string_agg(r::text, ',' ORDER BY r::text) FROM hansard.messages r), '|',
                      (SELECT string_agg(r::text, ',' ORDER BY r::text) FROM hansard.holds r), '|',
                      (SELECT string_agg(a.limit_key || a.day || a.tokens_spent, ',' ORDER BY a.limit_key) FROM hansard.allowances a), '|',
                      (SELECT string_agg(concat(l.limit_key, l.tat_us, l.granted), ',' ORDER BY l.limit_key)
                       FROM hansard.rate_limits l)))
$$;

-- What a role gets for a statement: the SQLSTATE, or 'done'. It is undone in any case.
CREATE FUNCTION help.tries(role text, statement text) RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM set_config('session_authorization', role, true);
    EXECUTE statement;
    RAISE EXCEPTION USING ERRCODE = 'DONE0';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'DONE0' THEN 'done' ELSE SQLSTATE END;
END
$$;

-- How a statement would be done.
CREATE FUNCTION help.plan_of(statement text) RETURNS SETOF text
LANGUAGE plpgsql
AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || statement; END $$;

-- A turn that was held so long ago: it is held now by worker 'w' and moved there, hashes and all.
CREATE FUNCTION help.said(session text, words text, before interval) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    at timestamptz := clock_timestamp() - before;
    s  hansard.sessions;
    c  hansard.conversations;
BEGIN
    PERFORM help.turn('w', session, words, words || '!');
    SELECT * INTO s FROM hansard.sessions WHERE session_key = help.session_key(session);
    UPDATE hansard.conversations SET created_at = at WHERE conversation_id = s.conversation_id AND s.next_turn = 2
        RETURNING * INTO c;
    UPDATE hansard.messages m SET created_at = at + m.position * interval '1 ms' WHERE conversation_id = s.conversation_id AND turn_no = s.next_turn - 1;
    FOR place IN 1..2 LOOP
        UPDATE hansard.messages m
        SET chain_hash = hansard.chain_hash(
                coalesce((SELECT b.chain_hash FROM hansard.messages b WHERE b.conversation_id = m.conversation_id AND b.created_at < m.created_at
                          ORDER BY b.created_at DESC LIMIT 1),
                         hansard.chain_start(c.conversation_id, c.session_key, c.created_at)),
                m.conversation_id, m.turn_no, m.position, m.role::text, m.created_at, m.text_hash)
        WHERE conversation_id = s.conversation_id AND turn_no = s.next_turn - 1 AND position = place;
    END LOOP;
    UPDATE hansard.sessions SET chain_head = (SELECT chain_hash FROM hansard.messages WHERE conversation_id = s.conversation_id
                                              ORDER BY created_at DESC LIMIT 1)
    WHERE session_key = s.session_key;
END
$$;
