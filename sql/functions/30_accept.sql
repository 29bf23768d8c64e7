-- ACCEPT: opens turns. One call decides a batch of requests in one transaction.
--
-- In this order, which is the order of locks everywhere: callers (no lock), sessions by key, allowances by key, rate limits by
-- key, inserts.
-- What a step needs of the step before it travels in arrays. Each statement of a volatile function sees what was
-- committed before it began; so decisions are made in a statement after the one that locks.
--
-- Plans are kept in the backend, and made for whatever size the tables had when the function was first called there.
-- Every look-up below is by the whole of a key, and shall stay one when an empty table has grown: hence the settings, and
-- the form LATERAL (… LIMIT 1), which leaves the planner no other way.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.is_alive(worker uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM hansard.workers w
                   WHERE w.worker_id = worker AND w.lost_at IS NULL AND w.heartbeat_at > at - hansard.worker_patience());
END
$$;
COMMENT ON FUNCTION hansard.is_alive(uuid, timestamptz) IS 'Was this worker heard of within hansard.worker_patience()?';

CREATE OR REPLACE FUNCTION hansard.context(of_conversation uuid, before_turn integer, most_messages integer,
                                           most_bytes integer) RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET work_mem = '64MB'
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    texts text[];
BEGIN
    -- By the index, from the newest back: what has an answer at position 2 is a whole turn.
    SELECT array_agg(m.text ORDER BY m.turn_no, m.position)
    INTO texts
    FROM (
        SELECT answered.turn_no,
               sum(answered.bytes + octet_length(u.text)) OVER (ORDER BY answered.turn_no DESC) AS bytes
        FROM (
            SELECT a.turn_no, octet_length(a.text) AS bytes
            FROM hansard.messages a
            WHERE a.conversation_id = of_conversation AND a.turn_no < before_turn AND a.position = 2
              AND a.text IS NOT NULL -- else past its retention
            ORDER BY a.turn_no DESC
            LIMIT most_messages / 2
        ) AS answered
        CROSS JOIN LATERAL (
            SELECT u.text FROM hansard.messages u
            WHERE u.conversation_id = of_conversation AND u.turn_no = answered.turn_no AND u.position = 1
            LIMIT 1
        ) AS u
    ) AS shown
    CROSS JOIN LATERAL (
        SELECT m.* FROM hansard.messages m
        WHERE m.conversation_id = of_conversation AND m.turn_no = shown.turn_no
        LIMIT 2
    ) AS m
    WHERE shown.bytes <= most_bytes;
    RETURN texts;
END
$$;
COMMENT ON FUNCTION hansard.context(uuid, integer, integer, integer) IS
    'Newest answered turns before a turn, whole, within a number of messages and of bytes: the user''s words and the '
    'answer in turn, oldest first. NULL: none.';

-- It returns more than in the release before, and takes one thing more. Who calls it names the columns he wants, and leaves
-- out what he does not know of.
DROP FUNCTION IF EXISTS hansard_api.accept_turns(uuid, integer, integer, bigint, bytea[], text[], text[], text[], text[],
                                                 bytea[], text[], uuid[], integer[]);
DROP FUNCTION IF EXISTS hansard_api.accept_turns(uuid, integer, integer, bigint, bytea[], text[], text[], text[], text[],
                                                 bytea[], text[], uuid[], integer[], boolean[]);

CREATE OR REPLACE FUNCTION hansard_api.accept_turns(
    worker uuid, most_messages integer, most_bytes integer, ttl_ms bigint,
    key_hashes bytea[], addresses text[], session_ids text[], words text[],
    idempotency_keys text[], fingerprints bytea[], request_ids text[],
    known_conversations uuid[] DEFAULT NULL, known_turns integer[] DEFAULT NULL, paid boolean[] DEFAULT NULL,
    are_jobs boolean[] DEFAULT NULL, webhooks text[] DEFAULT NULL, most_jobs integer DEFAULT NULL, has_room boolean DEFAULT true)
RETURNS TABLE (item integer, outcome text, session_key bytea, conversation_id uuid, turn_no integer, attempt integer,
               history text[], history_after integer, reply text, model text, prompt_tokens integer, completion_tokens integer, error_code text,
               policy text, quota_limit integer, quota_window_s integer, quota_remaining integer,
               quota_reset_ms integer, retry_after_ms integer,
               tokens_limit bigint, tokens_remaining bigint, tokens_reset_ms integer, status text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET work_mem = '64MB'
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    user_ids     uuid[];
    tiers        text[];
    emissions    bigint[]; -- NULL: not limited
    bursts       integer[];
    session_keys bytea[]; -- NULL: the caller is not known
    decided_at   timestamptz;
    drafts       hansard.accept_plan[];
    quotas       hansard.quota_grant[]; -- NULL: nobody is limited
    allowances   hansard.allowance_grant[]; -- NULL: nobody has caps
    limit_keys   text[];
    refusals     text[]; -- SQLSTATE; NULL: nobody is refused by a limit
    has_caps      boolean; -- in his tier
    has_limits    boolean;
    has_peeks     boolean; -- anything that shows a quota and takes none
    has_takeovers boolean;
    has_orphans   boolean;
    has_others    boolean; -- anything that is not accepted
    has_jobs      boolean; -- to be queued
    locked        integer; -- sessions
    seen          integer;
BEGIN
    IF NOT EXISTS (SELECT FROM hansard.workers w WHERE w.worker_id = worker AND w.lost_at IS NULL) THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'HS503';
    END IF;

    -- Who asks.
    SELECT array_agg(c.user_id), array_agg(c.tier), array_agg(c.emission_us), array_agg(c.burst), array_agg(c.session_key),
           array_agg(c.limit_key), bool_or(c.is_capped)
    INTO user_ids, tiers, emissions, bursts, session_keys, limit_keys, has_caps
    FROM (
        SELECT u.user_id, t.tier, 60000000 / t.rate_per_minute AS emission_us, t.burst,
               t.parallel_turns IS NOT NULL OR t.tokens_per_day IS NOT NULL AS is_capped,
               coalesce('user:' || u.user_id, 'addr:' || a.address) AS limit_key,
               CASE WHEN t.tier IS NOT NULL THEN hansard.session_key(u.user_id, a.session_id) END AS session_key
        FROM unnest(key_hashes, session_ids, addresses) WITH ORDINALITY AS a (key_hash, session_id, address, item)
        LEFT JOIN LATERAL (SELECT k.user_id FROM hansard.api_keys k
                           WHERE k.key_hash = a.key_hash AND k.revoked_at IS NULL LIMIT 1) AS k ON true
        LEFT JOIN LATERAL (SELECT u.user_id, u.tier FROM hansard.users u WHERE u.user_id = k.user_id LIMIT 1) AS u ON true
        LEFT JOIN LATERAL (SELECT t.* FROM hansard.tiers t
                           WHERE t.tier = CASE WHEN a.key_hash IS NULL THEN 'anonymous' ELSE u.tier END LIMIT 1) AS t ON true
        ORDER BY a.item
    ) AS c;

    PERFORM FROM hansard.sessions s WHERE s.session_key = ANY (session_keys) ORDER BY s.session_key FOR UPDATE;
    GET DIAGNOSTICS locked = ROW_COUNT;
    LOCK TABLE ONLY hansard.sealing IN ROW EXCLUSIVE MODE; -- writing, from before the time is taken until all is committed
    decided_at := clock_timestamp();

    -- What is to become of each: the first line that holds. Two of one session: the second asks again.
    SELECT array_agg(ROW(
               d.item, d.verdict, d.session_key, d.user_id, d.session_id,
               CASE WHEN d.starts_anew THEN hansard.uuid_v7(decided_at) ELSE d.conversation_id END,
               d.has_session, d.starts_anew,
               CASE WHEN d.known_turn IS NOT NULL THEN d.known_turn WHEN d.starts_anew THEN 1 ELSE d.next_turn END,
               coalesce(d.known_attempt, 1),
               CASE WHEN d.starts_anew THEN 0
                    ELSE d.unanswered + (d.verdict = 'new' AND d.open_turn IS NOT NULL)::integer END,
               d.open_turn, d.chain_head, NOT d.starts_anew AND (d.open_turn IS NOT NULL OR d.jobs > 0),
               -- Later than all that was said before, whatever the clock says: it is the order of the chain.
               -- And than the last seal: what says that it is older would not be believed.
               greatest(decided_at, CASE WHEN NOT d.starts_anew THEN d.last_activity + interval '1 microsecond' END,
                        (SELECT z.to_at + interval '1 microsecond' FROM hansard.seals z
                         ORDER BY z.seal_no DESC LIMIT 1)))::hansard.accept_plan),
           bool_or(d.verdict IN ('new', 'queued') AND emissions[d.item] IS NOT NULL AND paid[d.item] IS NOT TRUE),
           bool_or(d.verdict = 'takeover'),
           bool_or(d.verdict = 'new' AND d.open_turn IS NOT NULL),
           bool_or(d.verdict NOT IN ('new', 'again', 'takeover')),
           bool_or(d.verdict = 'queued'),
           bool_or((d.verdict NOT IN ('new', 'queued') OR paid[d.item]) AND emissions[d.item] IS NOT NULL),
           count(*) FILTER (WHERE d.has_session AND d.place = 1)
    INTO drafts, has_limits, has_takeovers, has_orphans, has_others, has_jobs, has_peeks, seen
    FROM (
        SELECT f.*,
               CASE WHEN f.session_key IS NULL THEN 'HS401'
                    WHEN f.known_fingerprint <> f.fingerprint THEN 'HS422'
                    WHEN f.is_job AND f.known_request = f.request_id THEN 'stored'
                    WHEN f.is_job AND f.known_state IS NOT NULL THEN 'known'
                    WHEN f.known_state IN ('completed', 'failed', 'cancelled') THEN 'replayed'
                    WHEN f.known_turn = f.open_turn AND f.open_worker = worker AND f.known_request = f.request_id THEN 'again'
                    WHEN f.place > 1 THEN 'waiting'
                    WHEN f.known_turn = f.open_turn AND f.is_orphan AND NOT f.known_is_job THEN 'takeover'
                    WHEN f.known_state IS NOT NULL THEN 'waiting'
                    WHEN f.is_job AND NOT has_room THEN 'HS433'
                    WHEN f.is_job THEN 'queued'
                    -- Jobs that were queued before come first; one whose worker is dead goes back to the queue.
                    WHEN f.jobs > 0 OR f.open_turn IS NOT NULL AND NOT f.is_orphan THEN 'waiting'
                    ELSE 'new'
               END AS verdict
        FROM (
            SELECT a.item::integer, a.session_key, a.user_id, a.session_id, a.fingerprint, a.request_id::uuid,
                   row_number() OVER (PARTITION BY a.session_key ORDER BY a.item) AS place,
                   s.session_key IS NOT NULL AS has_session, s.conversation_id, s.next_turn, s.unanswered, s.chain_head,
                   s.open_turn, s.open_worker, s.jobs, s.last_activity, coalesce(are_jobs[a.item], false) AS is_job,
                   s.open_worker IS NOT NULL AND s.open_worker <> worker
                       AND NOT hansard.is_alive(s.open_worker, decided_at) AS is_orphan,
                   t.turn_no AS known_turn, t.state AS known_state, t.fingerprint AS known_fingerprint,
                   t.request_id AS known_request, t.attempt AS known_attempt, t.is_job AS known_is_job,
                   t.turn_no IS NULL
                       AND (s.session_key IS NULL
                            OR s.last_activity < decided_at - ttl_ms * interval '1 ms' AND s.jobs = 0
                               AND (s.open_turn IS NULL OR are_jobs[a.item] IS NOT TRUE)) AS starts_anew
            FROM unnest(session_keys, user_ids, session_ids, idempotency_keys, fingerprints, request_ids) WITH ORDINALITY
                 AS a (session_key, user_id, session_id, idempotency_key, fingerprint, request_id, item)
            LEFT JOIN LATERAL (SELECT s.* FROM hansard.sessions s WHERE s.session_key = a.session_key LIMIT 1) AS s ON true
            LEFT JOIN LATERAL (SELECT t.* FROM hansard.turns t
                               WHERE t.conversation_id = s.conversation_id AND t.idempotency_key = a.idempotency_key
                               LIMIT 1) AS t ON true
            ORDER BY a.item
        ) AS f
    ) AS d;
    -- A session that began while we waited for others is not locked: nothing may be decided about it, and locking it now
    -- would be out of order. The same error as when it begins a moment later; the call is made again.
    IF seen > locked THEN
        RAISE EXCEPTION 'a session has begun meanwhile' USING ERRCODE = 'unique_violation';
    END IF;

    -- How many jobs a caller has is counted without a lock: calls made at the same moment may be a few too many.
    IF has_jobs AND most_jobs IS NOT NULL THEN
        WITH had AS MATERIALIZED (
            SELECT k.limit_key, (SELECT count(*) FROM (SELECT FROM hansard.jobs j WHERE j.limit_key = k.limit_key
                                                       LIMIT most_jobs) AS n) AS jobs
            FROM (SELECT DISTINCT limit_keys[d.item] AS limit_key FROM unnest(drafts) d WHERE d.verdict = 'queued') AS k
        )
        SELECT nullif(array_agg(CASE WHEN h.jobs + d.place > most_jobs THEN 'HS432' END ORDER BY d.item),
                      array_fill(NULL::text, ARRAY[count(*)::integer]))
        INTO refusals
        FROM (SELECT d.item, d.verdict, limit_keys[d.item] AS limit_key,
                     row_number() OVER (PARTITION BY d.verdict, limit_keys[d.item] ORDER BY d.item) AS place
              FROM unnest(drafts) d) AS d
        LEFT JOIN had h ON d.verdict = 'queued' AND h.limit_key = d.limit_key;
    END IF;

    -- Only what would be opened costs quota: no repeat, no refusal, nothing that has to wait.
    IF has_caps THEN
        -- What the prompt will hold is what the turn before came to, and the new words, four bytes to a token.
        SELECT hansard.take_allowance(array_agg(c.limit_key), array_agg(c.parallel_turns), array_agg(c.tokens_per_day),
                                      array_agg(c.reserve))
        INTO allowances
        FROM (
            SELECT CASE WHEN d.verdict IN ('new', 'queued') AND refusals[d.item] IS NULL
                             AND (t.parallel_turns IS NOT NULL OR t.tokens_per_day IS NOT NULL)
                        THEN limit_keys[d.item] END AS limit_key,
                   t.parallel_turns, t.tokens_per_day,
                   t.tokens_reserved + octet_length(words[d.item]) / 4
                       + coalesce(p.prompt_tokens::bigint + p.completion_tokens, 0) AS reserve
            FROM unnest(drafts) d
            LEFT JOIN LATERAL (SELECT t.* FROM hansard.tiers t WHERE t.tier = tiers[d.item] LIMIT 1) AS t ON true
            LEFT JOIN LATERAL (SELECT p.prompt_tokens, p.completion_tokens FROM hansard.turns p
                               WHERE d.verdict IN ('new', 'queued') AND p.conversation_id = d.conversation_id
                                 AND p.turn_no = d.turn_no - 1 LIMIT 1) AS p ON true
            ORDER BY d.item
        ) AS c;
        -- Nor while we waited for callers: to begin it now would be to wait for who changes it, and he may wait for us. From here
        -- on nobody can who would.
        IF EXISTS (SELECT FROM unnest(drafts) d
                   CROSS JOIN LATERAL (SELECT FROM hansard.sessions s
                                       WHERE NOT d.has_session AND s.session_key = d.session_key LIMIT 1) AS s) THEN
            RAISE EXCEPTION 'a session has begun meanwhile' USING ERRCODE = 'unique_violation';
        END IF;
        IF EXISTS (SELECT FROM unnest(allowances) a WHERE a.refusal IS NOT NULL) THEN
            refusals := ARRAY(SELECT coalesce(a.refusal, refusals[a.item])
                              FROM unnest(allowances) WITH ORDINALITY AS a (refusal, tokens_limit, tokens_remaining, reset_ms,
                                                                            retry_after_ms, tokens_reserved, item)
                              ORDER BY a.item);
        END IF;
    END IF;
    IF true = ANY (paid) AND (has_others OR refusals IS NOT NULL) THEN
        PERFORM hansard.give_quota_back(
            -- A turn that is there by an earlier call of the same request was paid for by the same.
            ARRAY(SELECT CASE WHEN paid[d.item] AND (d.verdict NOT IN ('new', 'queued', 'stored', 'again', 'takeover')
                                                     OR refusals[d.item] IS NOT NULL)
                              THEN limit_keys[d.item] END
                  FROM unnest(drafts) d),
            limit_keys);
    END IF;
    IF has_limits THEN
        quotas := hansard.take_quota(
            ARRAY(SELECT CASE WHEN d.verdict IN ('new', 'queued') AND emissions[d.item] IS NOT NULL AND refusals[d.item] IS NULL
                                   AND paid[d.item] IS NOT TRUE
                              THEN limit_keys[d.item] END
                  FROM unnest(drafts) d),
            emissions, bursts);
        IF EXISTS (SELECT FROM unnest(quotas) q WHERE NOT q.is_granted) THEN
            refusals := ARRAY(SELECT CASE WHEN (quotas[d.item]).is_granted IS FALSE THEN 'HS429' ELSE refusals[d.item] END
                              FROM unnest(drafts) d);
        END IF;
    END IF;
    IF refusals IS NOT NULL THEN
        has_others := true;
        has_peeks := true;
        PERFORM hansard.note_refusals(
            refusals, limit_keys,
            ARRAY(SELECT ((emissions[d.item] * bursts[d.item] + 999999) / 1000000)::integer FROM unnest(drafts) d),
            ARRAY(SELECT jsonb_build_object('user_id', d.user_id, 'request_id', request_ids[d.item], 'tier', tiers[d.item])
                         || CASE WHEN d.user_id IS NULL THEN jsonb_build_object('address', addresses[d.item]) ELSE '{}' END
                  FROM unnest(drafts) d));
    END IF;
    IF has_peeks THEN
        quotas := hansard.peek_quota(quotas, limit_keys, emissions, bursts);
    END IF;
    IF has_caps THEN
        INSERT INTO hansard.holds (conversation_id, turn_no, limit_key, worker_id, tokens)
        SELECT d.conversation_id, d.turn_no, limit_keys[d.item],
               CASE d.verdict WHEN 'queued' THEN hansard.nobody() ELSE worker END, (allowances[d.item]).tokens_reserved
        FROM unnest(drafts) d
        WHERE d.verdict IN ('new', 'queued') AND refusals[d.item] IS NULL AND (allowances[d.item]).tokens_reserved IS NOT NULL;
    END IF;

    IF has_takeovers THEN
        UPDATE hansard.turns t
        SET worker_id = worker, attempt = d.attempt + 1, request_id = request_ids[d.item]::uuid
        FROM unnest(drafts) d
        WHERE d.verdict = 'takeover' AND t.conversation_id = d.conversation_id AND t.turn_no = d.turn_no;
        UPDATE hansard.sessions s
        SET open_worker = worker, last_activity = greatest(decided_at, s.last_activity)
        FROM unnest(drafts) d
        WHERE d.verdict = 'takeover' AND s.session_key = d.session_key;
        UPDATE hansard.holds h
        SET worker_id = worker
        FROM unnest(drafts) d
        WHERE d.verdict = 'takeover' AND h.conversation_id = d.conversation_id AND h.turn_no = d.turn_no;
    END IF;

    IF has_caps AND (has_others OR EXISTS (SELECT FROM unnest(drafts) d WHERE d.verdict <> 'new')) THEN
        allowances := hansard.peek_allowance(
            allowances,
            ARRAY(SELECT CASE WHEN d.verdict NOT IN ('new', 'queued') OR refusals[d.item] IN ('HS429', 'HS432')
                              THEN limit_keys[d.item] END
                  FROM unnest(drafts) d),
            tiers);
    END IF;

    -- A turn that its worker left open makes way for the next one, and so does its hold.
    IF has_orphans THEN
        DELETE FROM hansard.holds h
        USING unnest(drafts) d, hansard.sessions s
        WHERE d.verdict = 'new' AND d.orphan IS NOT NULL AND refusals[d.item] IS NULL
          AND s.session_key = d.session_key
          AND h.conversation_id = s.conversation_id AND h.turn_no = d.orphan;
        UPDATE hansard.turns t
        SET state = 'failed', error_code = 'worker_lost', finished_at = decided_at
        FROM unnest(drafts) d, hansard.sessions s
        WHERE d.verdict = 'new' AND d.orphan IS NOT NULL AND refusals[d.item] IS NULL
          AND s.session_key = d.session_key
          AND t.conversation_id = s.conversation_id AND t.turn_no = d.orphan AND t.state = 'running';
    END IF;

    RETURN QUERY
    WITH opening AS MATERIALIZED (
        SELECT d.*, salted.salt, hashed.text_hash,
               hansard.chain_hash(CASE WHEN d.is_fresh
                                       THEN hansard.chain_start(d.conversation_id, d.session_key, decided_at)
                                       ELSE d.chain_head END,
                                  d.conversation_id, d.turn_no, 1::smallint, 'user', d.said_at,
                                  hashed.text_hash) AS new_head
        FROM unnest(drafts) d
        CROSS JOIN LATERAL (SELECT uuid_send(gen_random_uuid()) AS salt WHERE d.item > 0) AS salted
        CROSS JOIN LATERAL (SELECT hansard.text_hash(salted.salt, words[d.item]) AS text_hash OFFSET 0) AS hashed
        WHERE d.verdict IN ('new', 'queued') AND refusals[d.item] IS NULL
    ), updated AS (
        UPDATE hansard.sessions s
        SET conversation_id = o.conversation_id, next_turn = o.turn_no + 1, unanswered = o.unanswered,
            open_turn = CASE o.verdict WHEN 'queued' THEN s.open_turn ELSE o.turn_no END,
            open_worker = CASE o.verdict WHEN 'queued' THEN s.open_worker ELSE worker END,
            jobs = s.jobs + (o.verdict = 'queued')::integer, chain_head = o.new_head, last_activity = o.said_at
        FROM opening o
        WHERE o.has_session AND s.session_key = o.session_key
    ), begun AS (
        INSERT INTO hansard.sessions (session_key, user_id, session_id, conversation_id, next_turn, unanswered,
                                      open_turn, open_worker, jobs, chain_head, last_activity)
        SELECT o.session_key, o.user_id, o.session_id, o.conversation_id, 2, 0,
               CASE o.verdict WHEN 'new' THEN 1 END, CASE o.verdict WHEN 'new' THEN worker END,
               (o.verdict = 'queued')::integer, o.new_head, o.said_at
        FROM opening o
        WHERE NOT o.has_session
        ORDER BY o.session_key
    ), headed AS (
        INSERT INTO hansard.conversations (conversation_id, session_key, user_id, session_id, created_at)
        SELECT o.conversation_id, o.session_key, o.user_id, o.session_id, decided_at
        FROM opening o
        WHERE o.is_fresh
    ), turned AS (
        INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, address,
                                   worker_id, attempt, accepted_at, is_job)
        SELECT o.conversation_id, o.turn_no,
               CASE o.verdict WHEN 'queued' THEN 'queued'::hansard.turn_state ELSE 'running' END,
               idempotency_keys[o.item], fingerprints[o.item], request_ids[o.item]::uuid, addresses[o.item],
               CASE o.verdict WHEN 'new' THEN worker END, (o.verdict = 'new')::integer, decided_at, o.verdict = 'queued'
        FROM opening o
    ), queued AS (
        INSERT INTO hansard.jobs (conversation_id, turn_no, session_key, limit_key, queued_at, is_ready, webhook)
        SELECT o.conversation_id, o.turn_no, o.session_key, limit_keys[o.item], decided_at, NOT o.is_blocked, webhooks[o.item]
        FROM opening o
        WHERE o.verdict = 'queued'
    ), said AS (
        INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash,
                                      chain_hash)
        SELECT o.conversation_id, o.turn_no, 1, 'user', words[o.item], o.said_at, o.salt, o.text_hash, o.new_head
        FROM opening o
    )
    SELECT d.item, 'accepted', d.session_key, d.conversation_id, d.turn_no,
           d.attempt + (d.verdict = 'takeover')::integer,
           CASE WHEN d.unanswered > 0 OR c.bytes > most_bytes
                THEN hansard.context(d.conversation_id, d.turn_no, most_messages, most_bytes)
                ELSE c.texts END,
           CASE WHEN d.unanswered = 0 AND c.bytes <= most_bytes THEN k.turn_no END,
           NULL, NULL, NULL::integer, NULL::integer, NULL, tiers[d.item],
           CASE WHEN (quotas[d.item]).remaining IS NOT NULL THEN bursts[d.item] END,
           ((emissions[d.item] * bursts[d.item] + 999999) / 1000000)::integer,
           (quotas[d.item]).remaining, (quotas[d.item]).reset_ms, 0,
           (allowances[d.item]).tokens_limit, (allowances[d.item]).tokens_remaining, (allowances[d.item]).reset_ms, NULL
    FROM unnest(drafts) d
    -- What the worker knows already, when that is part of what the model is to be shown.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN known_conversations[d.item] = d.conversation_id
                     AND known_turns[d.item] >= d.turn_no - most_messages / 2 - 1 THEN known_turns[d.item] END AS turn_no
    ) AS k
    -- The usual conversation, in which every turn was answered: the newest turns are the newest rows.
    CROSS JOIN LATERAL (
        SELECT array_agg(CASE WHEN octet_length(m.text) <= most_bytes THEN m.text END) AS texts,
               coalesce(sum(octet_length(m.text)), 0) AS bytes
        FROM (SELECT m.text
              FROM hansard.messages m
              WHERE m.conversation_id = d.conversation_id
                AND m.turn_no > coalesce(k.turn_no, d.turn_no - most_messages / 2 - 1) AND m.turn_no < d.turn_no
                AND m.text IS NOT NULL
              ORDER BY m.turn_no, m.position) AS m
    ) AS c
    WHERE d.verdict IN ('again', 'takeover')
       OR (d.verdict = 'new' AND refusals[d.item] IS NULL);

    IF has_others THEN
        RETURN QUERY
        SELECT d.item,
               coalesce(refusals[d.item], CASE d.verdict WHEN 'stored' THEN 'queued' ELSE d.verdict END),
               d.session_key, d.conversation_id,
               d.turn_no, d.attempt::integer, NULL::text[], NULL::integer, m.text, t.model, t.prompt_tokens, t.completion_tokens,
               t.error_code, tiers[d.item],
               CASE WHEN (quotas[d.item]).remaining IS NOT NULL THEN bursts[d.item] END,
               ((emissions[d.item] * bursts[d.item] + 999999) / 1000000)::integer,
               (quotas[d.item]).remaining, (quotas[d.item]).reset_ms,
               CASE coalesce(refusals[d.item], d.verdict) WHEN 'HS429' THEN (quotas[d.item]).retry_after_ms
                                                          WHEN 'HS432' THEN 1000
                                                          WHEN 'HS433' THEN 1000
                                                          ELSE (allowances[d.item]).retry_after_ms END,
               (allowances[d.item]).tokens_limit, (allowances[d.item]).tokens_remaining, (allowances[d.item]).reset_ms,
               CASE WHEN d.verdict <> 'queued' THEN t.state::text WHEN refusals[d.item] IS NULL THEN 'queued' END
        FROM unnest(drafts) d
        LEFT JOIN LATERAL (SELECT t.* FROM hansard.turns t
                           WHERE d.verdict IN ('replayed', 'stored', 'known') AND t.conversation_id = d.conversation_id
                             AND t.turn_no = d.turn_no LIMIT 1) AS t ON true
        LEFT JOIN LATERAL (SELECT m.text FROM hansard.messages m
                           WHERE d.verdict = 'replayed' AND t.state = 'completed' AND m.conversation_id = t.conversation_id
                             AND m.turn_no = t.turn_no AND m.position = 2 LIMIT 1) AS m ON true
        WHERE d.verdict NOT IN ('new', 'again', 'takeover') OR refusals[d.item] IS NOT NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION hansard_api.accept_turns(uuid, integer, integer, bigint, bytea[], text[], text[], text[], text[],
                                             bytea[], text[], uuid[], integer[], boolean[], boolean[], text[],
                                             integer, boolean) IS
    'Opens turns: one element of each array is one request. Arguments: the worker that asks; how much of the history the '
    'model is shown, in messages and bytes; for how long a session may rest before it starts a new conversation; then, a '
    'request each, SHA-256 of the API key (NULL: anonymous), the address to count it under, session id, words, '
    'idempotency key, fingerprint (SHA-256 of what is asked), request id (UUID), up to which turn of which conversation '
    'the worker knows the history (NULL: not at all), and whether its quota was taken before, by take_quota_for: it is given '
    'back when the turn is not opened; whether it is a job, to be queued and answered in the background, and the URL that is '
    'told of its end; then how many jobs a caller may have, and whether there is room for more in all. '
    'Outcomes: accepted (stored and open; history is what the model is shown, words and answers in turn; with history_after '
    'only what comes after that turn, which the worker knows), '
    'waiting (the conversation, or this very key, is being worked on: ask again), replayed (the key''s turn has ended: '
    'reply, or error_code), queued (a job: stored, now or by an earlier call of the same request), known (a job: its key has '
    'a turn, whose status is told), HS401 (unknown or revoked key), HS422 (the key was used for another request), HS429 (rate '
    'limit; retry_after_ms), HS430 (as many turns open as the tier allows), HS431 (the day''s tokens are used up or '
    'reserved), HS432 (as many jobs as a caller may have), HS433 (no room for jobs). quota_* and tokens_* tell what the caller '
    'may still ask, whatever the outcome. All but accepted and queued store nothing and cost no quota. A repeat of the very '
    'request that opened a turn is accepted again; a repeat under the same key takes over the turn of a worker that is dead. '
    'Raises HS503 when the worker itself is not registered or was declared dead.';
GRANT EXECUTE ON FUNCTION hansard_api.accept_turns(uuid, integer, integer, bigint, bytea[], text[], text[], text[], text[],
                                                   bytea[], text[], uuid[], integer[], boolean[], boolean[], text[],
                                                   integer, boolean) TO hansard_app;

RESET ROLE;
