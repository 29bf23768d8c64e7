-- Rate limits: the generic cell rate algorithm (ITU-T I.371, annex A) with one time a key.
--
-- A turn costs one emission interval T. The theoretical arrival time (TAT) of a key is when it would have used up all
-- that it was granted; a turn is granted while TAT - now stays within burst × T. So burst turns may come at once, and
-- in the long run one every T. One clock decides: the database's.

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

RESET ROLE;
