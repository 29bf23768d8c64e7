-- Limits: what a caller may ask for. The rate, and the caps on open turns and on tokens that a tier may have.
--
-- Rate: the generic cell rate algorithm (ITU-T I.371, annex A) with one time a key. A turn costs one emission interval T. The theoretical arrival time (TAT) of a key is when it would have used up all
-- that it was granted; a turn is granted while TAT - now stays within burst × T. So burst turns may come at once, and
-- in the long run one every T. One clock decides: the database's.
--
-- Caps: what is open is what has a row in holds. Who opens or closes turns of a caller locks his row of allowances first.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.take_quota(keys text[], emissions bigint[], bursts integer[])
RETURNS hansard.quota_grant[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    now_us     bigint := hansard.unix_us(clock_timestamp());
    taken_keys text[];
    counts     integer[];
    grants     hansard.quota_grant[];
BEGIN
    -- All keys in one statement, in their order, which is the order in which everybody locks them. A key with no room
    -- is locked and not written, unless its time lies further ahead than a grant can have set it: a clock that was set back,
    -- or a smaller tier, cannot lock a key out for longer than its burst. The 10 s are more than we can have waited for
    -- the lock since we looked at the clock.
    WITH wanted AS (
        SELECT key, count(*)::integer AS turns, max(emission) AS emission_us, max(burst) AS burst
        FROM unnest(keys, emissions, bursts) AS k (key, emission, burst)
        WHERE key IS NOT NULL
        GROUP BY key
    ), taken AS (
        INSERT INTO hansard.rate_limits AS l (limit_key, tat_us, emission_us, burst, granted, seen_us)
        SELECT key, now_us + least(turns, burst) * emission_us, emission_us, burst, least(turns, burst), now_us
        FROM wanted
        ORDER BY key
        ON CONFLICT (limit_key) DO UPDATE
        SET granted = least(excluded.granted, hansard.quota_room(l.tat_us, excluded.emission_us, excluded.burst,
                                                                 hansard.quota_now(l.seen_us, excluded.seen_us))),
            tat_us = least(greatest(l.tat_us, hansard.quota_now(l.seen_us, excluded.seen_us)),
                           hansard.quota_now(l.seen_us, excluded.seen_us) + excluded.burst * excluded.emission_us)
                     + least(excluded.granted, hansard.quota_room(l.tat_us, excluded.emission_us, excluded.burst,
                                                                  hansard.quota_now(l.seen_us, excluded.seen_us)))
                       * excluded.emission_us,
            emission_us = excluded.emission_us,
            burst = excluded.burst,
            seen_us = hansard.quota_now(l.seen_us, excluded.seen_us)
        WHERE hansard.quota_room(l.tat_us, excluded.emission_us, excluded.burst,
                                 hansard.quota_now(l.seen_us, excluded.seen_us)) > 0
           OR l.tat_us > now_us + excluded.burst * excluded.emission_us + 10000000
        RETURNING l.limit_key, l.granted
    )
    SELECT array_agg(t.limit_key), array_agg(t.granted) INTO taken_keys, counts FROM taken t;

    -- In a statement of its own, which sees what was there while we waited for a lock.
    SELECT array_agg(CASE WHEN key IS NULL THEN NULL::hansard.quota_grant ELSE ROW(
               place <= grant_count,
               least(burst, hansard.quota_room(tat_us, emission_us, burst, at_us) + greatest(grant_count - place, 0)),
               least(greatest(tat_us - at_us, 0) / 1000, 2147483647)::integer,
               CASE WHEN place <= grant_count THEN 0
                    ELSE least(greatest((tat_us + emission_us - burst * emission_us - at_us + 999) / 1000, 1), 2147483647)::integer
               END)::hansard.quota_grant END)
    INTO grants
    FROM (
        SELECT k.key, k.burst, k.emission_us, l.tat_us, hansard.quota_now(l.seen_us, now_us) AS at_us,
               coalesce(counts[array_position(taken_keys, k.key)], 0) AS grant_count,
               row_number() OVER (PARTITION BY k.key ORDER BY k.item) AS place
        FROM unnest(keys, emissions, bursts) WITH ORDINALITY AS k (key, emission_us, burst, item)
        LEFT JOIN hansard.rate_limits l ON l.limit_key = k.key
        ORDER BY k.item
    ) AS asked;
    RETURN grants;
END
$$;
COMMENT ON FUNCTION hansard.take_quota(text[], bigint[], integer[]) IS
    'Takes one turn for each element: limit key (NULL: not limited), emission interval in µs, burst. Elements of one key '
    'are granted in their order, as many as there is room for. Says for each whether it was granted, how many are left '
    'after it, when the quota is whole again and, when refused, when the next one would be granted.';

CREATE OR REPLACE FUNCTION hansard.quota_room(tat_us bigint, emission_us bigint, burst integer, now_us bigint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(greatest(((burst * emission_us - (tat_us - now_us)) / emission_us), 0), burst)::integer;
COMMENT ON FUNCTION hansard.quota_room(bigint, bigint, integer, bigint) IS
    'How many turns would be granted now: whole emission intervals between the theoretical arrival time and now + burst × T.';

CREATE OR REPLACE FUNCTION hansard.quota_now(seen_us bigint, now_us bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN seen_us > now_us AND seen_us <= now_us + 5000000 THEN seen_us ELSE now_us END;
COMMENT ON FUNCTION hansard.quota_now(bigint, bigint) IS
    'The time to decide at, µs: that of the last decision, if ours is older by no more than a wait for a lock may take (5 s); '
    'by more than that, it is a clock that was set back.';

CREATE OR REPLACE FUNCTION hansard.peek_quota(grants hansard.quota_grant[], keys text[], emissions bigint[], bursts integer[])
RETURNS hansard.quota_grant[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    now_us bigint := hansard.unix_us(clock_timestamp());
BEGIN
    RETURN ARRAY(
        SELECT CASE WHEN (grants[k.item]).remaining IS NOT NULL OR k.emission_us IS NULL THEN grants[k.item]
                    ELSE ROW(NULL,
                             hansard.quota_room(coalesce(l.tat_us, 0), k.emission_us, k.burst, now_us),
                             least(greatest(coalesce(l.tat_us, 0) - now_us, 0) / 1000, 2147483647)::integer,
                             NULL)::hansard.quota_grant END
        FROM unnest(keys, emissions, bursts) WITH ORDINALITY AS k (key, emission_us, burst, item)
        LEFT JOIN LATERAL (SELECT l.tat_us FROM hansard.rate_limits l WHERE l.limit_key = k.key LIMIT 1) AS l ON true
        ORDER BY k.item);
END
$$;
COMMENT ON FUNCTION hansard.peek_quota(hansard.quota_grant[], text[], bigint[], integer[]) IS
    'Fills in what is left, and when it is whole again, for elements that asked for nothing: is_granted is NULL.';

CREATE OR REPLACE FUNCTION hansard.give_quota_back(keys text[], to_be_locked text[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM FROM hansard.rate_limits l WHERE l.limit_key = ANY (to_be_locked) ORDER BY l.limit_key FOR UPDATE;
    UPDATE hansard.rate_limits l
    SET tat_us = l.tat_us - g.turns * l.emission_us
    FROM (SELECT key, count(*) AS turns FROM unnest(keys) AS k (key) WHERE key IS NOT NULL GROUP BY key) AS g
    WHERE l.limit_key = g.key;
END
$$;
COMMENT ON FUNCTION hansard.give_quota_back(text[], text[]) IS
    'Gives back one turn for each element (NULL: nothing). Locks the rows of all keys that its transaction will want, in their '
    'order.';

CREATE OR REPLACE FUNCTION hansard_api.take_quota_for(of_key bytea, address text, turns integer,
                                                      ahead integer DEFAULT 0) RETURNS integer[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    owner       uuid := (SELECT k.user_id FROM hansard.api_keys k WHERE k.key_hash = of_key AND k.revoked_at IS NULL);
    tier        hansard.tiers;
    key         text := coalesce('user:' || owner, 'addr:' || address);
    interval_us bigint;
    room        integer;
    wanted      integer := turns;
    grants      hansard.quota_grant[];
    given       integer;
BEGIN
    SELECT t.* INTO tier
    FROM hansard.tiers t
    WHERE t.tier = CASE WHEN of_key IS NULL THEN 'anonymous' ELSE (SELECT u.tier FROM hansard.users u WHERE u.user_id = owner) END;
    IF tier.rate_per_minute IS NULL THEN
        RETURN NULL;
    END IF;
    interval_us := 60000000 / tier.rate_per_minute::bigint;
    IF ahead > 0 THEN
        -- Little of what is left: so that nobody is refused for what another worker has taken and not yet used.
        SELECT hansard.quota_room(l.tat_us, interval_us, tier.burst, hansard.unix_us(clock_timestamp())) INTO room
        FROM hansard.rate_limits l WHERE l.limit_key = key FOR UPDATE;
        wanted := turns + least(ahead, greatest(coalesce(room, tier.burst) - turns, 0) / 20);
    END IF;
    grants := hansard.take_quota(array_fill(key, ARRAY[wanted]), array_fill(interval_us, ARRAY[wanted]),
                                 array_fill(tier.burst, ARRAY[wanted]));
    given := (SELECT count(*) FROM unnest(grants) g WHERE g.is_granted);
    IF given < turns THEN
        PERFORM hansard.note_refusals(ARRAY['HS429'], ARRAY[key],
            ARRAY[((interval_us * tier.burst + 999999) / 1000000)::integer],
            ARRAY[jsonb_build_object('user_id', owner, 'tier', tier.tier)
                  || CASE WHEN owner IS NULL THEN jsonb_build_object('address', address) ELSE '{}' END]);
    END IF;
    RETURN ARRAY[least(given, turns), coalesce((grants[turns]).retry_after_ms, 0), greatest(given - turns, 0)];
END
$$;
COMMENT ON FUNCTION hansard_api.take_quota_for(bytea, text, integer, integer) IS
    'Takes quota for so many turns of one caller, ahead of accept_turns (paid): SHA-256 of his API key (NULL: anonymous), '
    'address, turns that wait for it, and turns that are expected (they get a twentieth of what is left at most, or nothing). '
    'How many are granted, in how many milliseconds the next one would be when not all are, and how many of those expected. '
    'NULL: he is not limited, or not known. Writes no row that outlives a crash, so nobody waits for a disk while the '
    'caller''s row is locked. To be called again when its reply was lost costs quota, and admits nobody twice.';
GRANT EXECUTE ON FUNCTION hansard_api.take_quota_for(bytea, text, integer, integer) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard.take_allowance(keys text[], parallels integer[], token_caps bigint[], reserves bigint[])
RETURNS hansard.allowance_grant[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    today    date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    asked_at timestamptz;
    reset_ms integer;
    grants   hansard.allowance_grant[] := array_fill(NULL::hansard.allowance_grant, ARRAY[cardinality(keys)]);
    asked    record;
    of_key   text;
    turns    bigint; -- open now
    tokens   bigint; -- spent or reserved
    refusal  text;
BEGIN
    -- Locked in their order; written only where a new day has begun. Who waited here over midnight does not turn it back.
    INSERT INTO hansard.allowances AS a (limit_key, day, tokens_spent)
    SELECT DISTINCT k.key, today, 0 FROM unnest(keys) AS k (key) WHERE k.key IS NOT NULL ORDER BY k.key
    ON CONFLICT (limit_key) DO UPDATE SET day = excluded.day, tokens_spent = 0
    WHERE a.day NOT IN (excluded.day, excluded.day + 1);

    asked_at := clock_timestamp();
    reset_ms := hansard.day_left_ms(asked_at);
    -- As if each had come alone: who is refused is not in the way of those after him.
    FOR asked IN
        WITH used AS MATERIALIZED (
            SELECT k.key, a.tokens_spent, h.turns, h.tokens
            FROM (SELECT DISTINCT u.key FROM unnest(keys) AS u (key) WHERE u.key IS NOT NULL) AS k
            CROSS JOIN LATERAL (SELECT a.tokens_spent FROM hansard.allowances a WHERE a.limit_key = k.key LIMIT 1) AS a
            CROSS JOIN LATERAL (SELECT count(*) AS turns, coalesce(sum(h.tokens), 0)::bigint AS tokens
                                FROM hansard.holds h
                                WHERE h.limit_key = k.key AND (h.worker_id = hansard.nobody()
                                                               OR hansard.is_alive(h.worker_id, asked_at))) AS h
        )
        SELECT k.*, u.tokens_spent, u.turns AS turns_open, u.tokens AS tokens_held
        FROM unnest(keys, parallels, token_caps, reserves) WITH ORDINALITY AS k (key, parallel, token_cap, reserve, item)
        JOIN used u ON u.key = k.key
        ORDER BY k.key, k.item
    LOOP
        IF asked.key IS DISTINCT FROM of_key THEN
            of_key := asked.key;
            turns := asked.turns_open;
            tokens := asked.tokens_spent + asked.tokens_held;
        END IF;
        refusal := CASE WHEN turns >= asked.parallel THEN 'HS430'
                        WHEN tokens + asked.reserve > asked.token_cap THEN 'HS431' END;
        IF refusal IS NULL THEN
            turns := turns + 1;
            tokens := tokens + asked.reserve;
        END IF;
        grants[asked.item] := ROW(
            refusal, asked.token_cap, CASE WHEN asked.token_cap IS NOT NULL THEN greatest(asked.token_cap - tokens, 0) END,
            CASE WHEN asked.token_cap IS NOT NULL THEN reset_ms END,
            -- Of a turn that is open nobody knows when it ends, nor how much it gives back.
            CASE refusal WHEN 'HS430' THEN 100
                         WHEN 'HS431' THEN CASE WHEN asked.tokens_spent + asked.reserve > asked.token_cap THEN reset_ms
                                                ELSE 1000 END
            END,
            asked.reserve)::hansard.allowance_grant;
    END LOOP;
    RETURN grants;
END
$$;
COMMENT ON FUNCTION hansard.take_allowance(text[], integer[], bigint[], bigint[]) IS
    'Is there room for one more open turn for each element? Limit key (NULL: no caps), cap on open turns, cap on a day''s '
    'tokens (NULL: none), tokens to reserve. Refusals: HS430 (too many open), HS431 (tokens used up, or reserved). '
    'Those granted are to be put into holds within the same transaction, while the rows of allowances are locked.';

CREATE OR REPLACE FUNCTION hansard.day_left_ms(at timestamptz) RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
RETURN ceil(extract(epoch FROM date_trunc('day', at, 'UTC') + interval '24 hours' - at) * 1000)::integer;
COMMENT ON FUNCTION hansard.day_left_ms(timestamptz) IS 'Until the day (UTC) is over, ms.';

CREATE OR REPLACE FUNCTION hansard.peek_allowance(grants hansard.allowance_grant[], keys text[], tiers text[])
RETURNS hansard.allowance_grant[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    seen_at timestamptz := clock_timestamp();
BEGIN
    RETURN ARRAY(
        SELECT CASE WHEN t.tokens_per_day IS NULL THEN grants[k.item]
                    ELSE ROW(NULL, t.tokens_per_day,
                             greatest(t.tokens_per_day - coalesce(a.tokens_spent, 0) - h.tokens, 0),
                             hansard.day_left_ms(seen_at), NULL, NULL)::hansard.allowance_grant END
        FROM unnest(keys, tiers) WITH ORDINALITY AS k (key, tier, item)
        LEFT JOIN LATERAL (SELECT t.tokens_per_day FROM hansard.tiers t
                           WHERE t.tier = k.tier AND k.key IS NOT NULL LIMIT 1) AS t ON true
        LEFT JOIN LATERAL (SELECT a.tokens_spent FROM hansard.allowances a
                           WHERE a.limit_key = k.key AND a.day >= (seen_at AT TIME ZONE 'UTC')::date LIMIT 1) AS a ON true
        LEFT JOIN LATERAL (SELECT coalesce(sum(h.tokens), 0)::bigint AS tokens FROM hansard.holds h
                           WHERE h.limit_key = k.key AND (h.worker_id = hansard.nobody()
                                                          OR hansard.is_alive(h.worker_id, seen_at))) AS h ON true
        ORDER BY k.item);
END
$$;
COMMENT ON FUNCTION hansard.peek_allowance(hansard.allowance_grant[], text[], text[]) IS
    'Puts in what is left of a day''s tokens for elements with a limit key, which were granted nothing; the others are '
    'left as they are. The tier''s cap counts.';

CREATE OR REPLACE FUNCTION hansard.settle_holds(keys text[], used bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    today date;
BEGIN
    PERFORM FROM hansard.allowances a WHERE a.limit_key = ANY (keys) ORDER BY a.limit_key FOR UPDATE;
    today := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    UPDATE hansard.allowances a
    SET day = today, tokens_spent = CASE WHEN a.day = today THEN a.tokens_spent ELSE 0 END + u.tokens
    FROM (SELECT key, sum(tokens) AS tokens FROM unnest(keys, used) AS u (key, tokens) GROUP BY key) AS u
    WHERE a.limit_key = u.key AND u.tokens > 0;
END
$$;
COMMENT ON FUNCTION hansard.settle_holds(text[], bigint[]) IS
    'Adds to what callers have spent today; the holds themselves are deleted by the caller of this function.';

CREATE OR REPLACE FUNCTION hansard.note_refusals(refusals text[], keys text[], windows_s integer[], facts jsonb[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    noted_at timestamptz := clock_timestamp();
BEGIN
    -- The rows are locked by now: whoever decided on a caller has locked his row for it.
    WITH refused AS (
        SELECT DISTINCT ON (r.refusal, r.key) r.*
        FROM unnest(refusals, keys, windows_s, facts) WITH ORDINALITY AS r (refusal, key, window_s, facts, item)
        WHERE r.refusal IN ('HS429', 'HS430', 'HS431')
        ORDER BY r.refusal, r.key, r.item
    ), rated AS (
        UPDATE hansard.rate_limits l
        SET refused_us = hansard.unix_us(noted_at)
        FROM refused r
        WHERE r.refusal = 'HS429' AND l.limit_key = r.key
          AND l.refused_us <= hansard.unix_us(noted_at) - r.window_s * 1000000::bigint
        RETURNING r.item
    ), due AS (
        SELECT r.item, r.key, r.refusal
        FROM refused r
        CROSS JOIN LATERAL (SELECT a.* FROM hansard.allowances a
                            WHERE r.refusal <> 'HS429' AND a.limit_key = r.key LIMIT 1) AS a
        WHERE CASE r.refusal
                  WHEN 'HS430' THEN coalesce(a.parallel_refused_at < noted_at - interval '1 minute', true)
                  ELSE coalesce((a.tokens_refused_at AT TIME ZONE 'UTC')::date < (noted_at AT TIME ZONE 'UTC')::date, true)
              END
    ), capped AS (
        -- Once a row, though both caps may be due.
        UPDATE hansard.allowances a
        SET parallel_refused_at = CASE WHEN d.is_parallel THEN noted_at ELSE a.parallel_refused_at END,
            tokens_refused_at = CASE WHEN d.is_tokens THEN noted_at ELSE a.tokens_refused_at END
        FROM (SELECT key, bool_or(refusal = 'HS430') AS is_parallel, bool_or(refusal = 'HS431') AS is_tokens
              FROM due GROUP BY key) AS d
        WHERE a.limit_key = d.key
    )
    INSERT INTO hansard.audit_events (event_id, happened_at, kind, user_id, request_id, detail)
    SELECT hansard.uuid_v7(noted_at), noted_at, 'limit_reached', (r.facts ->> 'user_id')::uuid,
           (r.facts ->> 'request_id')::uuid,
           jsonb_build_object('limit', CASE r.refusal WHEN 'HS429' THEN 'rate' WHEN 'HS430' THEN 'parallel' ELSE 'tokens' END)
               || (r.facts - 'user_id' - 'request_id')
    FROM refused r
    WHERE r.item IN (SELECT item FROM rated UNION ALL SELECT item FROM due);
END
$$;
COMMENT ON FUNCTION hansard.note_refusals(text[], text[], integer[], jsonb[]) IS
    'One event for the first refusal of a caller in each window: of the rate, the time in which a whole burst comes back; of '
    'open turns, a minute; of tokens, the day. Elements: SQLSTATE (NULL or another: nothing to note), limit key, window of '
    'the rate in seconds, and user_id, request_id, tier and address.';

CREATE OR REPLACE FUNCTION hansard_api.sweep_limits(after text, most integer) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    now_us bigint := hansard.unix_us(clock_timestamp());
    today  date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    page   text[];
BEGIN
    page := ARRAY(
        SELECT k.limit_key
        FROM ((SELECT l.limit_key FROM hansard.rate_limits l WHERE l.limit_key > after ORDER BY l.limit_key LIMIT most)
              UNION
              (SELECT a.limit_key FROM hansard.allowances a WHERE a.limit_key > after ORDER BY a.limit_key LIMIT most)) AS k
        ORDER BY k.limit_key
        LIMIT most);
    -- A row whose quota is whole again says no more than no row; but who has just seen it, or been noted as refused, keeps it.
    DELETE FROM hansard.rate_limits l
    WHERE l.limit_key = ANY (ARRAY(
        SELECT i.limit_key FROM hansard.rate_limits i
        WHERE i.limit_key = ANY (page) AND i.tat_us < now_us AND i.seen_us < now_us - 10000000
          AND i.refused_us < now_us - i.burst * i.emission_us
        ORDER BY i.limit_key
        FOR UPDATE SKIP LOCKED));
    -- Not yesterday's: who looked at the clock just before midnight may be about to open a turn.
    DELETE FROM hansard.allowances a
    WHERE a.limit_key = ANY (ARRAY(
        SELECT o.limit_key FROM hansard.allowances o
        WHERE o.limit_key = ANY (page) AND o.day < today - 1
          AND NOT EXISTS (SELECT FROM hansard.holds h WHERE h.limit_key = o.limit_key)
        ORDER BY o.limit_key
        FOR UPDATE SKIP LOCKED));
    RETURN page[most];
END
$$;
COMMENT ON FUNCTION hansard_api.sweep_limits(text, integer) IS
    'Forgets callers whose quota is whole again: looks at so many, in the order of their keys, after a key (an empty '
    'text: from the first). The key to go on after; NULL: that was the end. Any worker may call it at any time.';
GRANT EXECUTE ON FUNCTION hansard_api.sweep_limits(text, integer) TO hansard_app;

RESET ROLE;
