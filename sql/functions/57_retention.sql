-- Retention: what is past its time goes, by itself. A month of which nothing is to be kept is dropped whole; else what is
-- past its time is blanked turn by turn, as erasure does it.
--
-- One walk an hour, whoever takes its steps; hansard.retention_walk knows how far it has come. A step sees so many
-- conversations and is one short transaction. A month is surveyed first: when a conversation is past its time, its
-- session is deleted, and from then on nothing can be added to it. When that holds for the whole month, nothing of it can
-- change any more, and it is dropped. At the first conversation that is to be kept, the survey ends, and the month is
-- walked turn by turn.
--
-- To drop a month is two things. First its tables leave the record, under locks that every turn waits for, and so within
-- some milliseconds; from then on nobody sees them, and their names say what they are. Then they are deleted, one a step:
-- that takes as long as the files are large, and nobody waits for it. Whoever takes the next step finds what is left.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.kept_since(tier text, keep interval, at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    span interval := coalesce((SELECT t.retention FROM hansard.tiers t WHERE t.tier = kept_since.tier), keep);
BEGIN
    RETURN CASE WHEN span = interval '0' THEN '-infinity' ELSE at - span END;
END
$$;
COMMENT ON FUNCTION hansard.kept_since(text, interval, timestamptz) IS
    'What ended before that is not kept any more, for callers of a tier: its retention, or else the general one; 0: for '
    'ever.';

CREATE OR REPLACE FUNCTION hansard.heads_hash(before bytea, conversation_id uuid, chain_head bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(before || uuid_send(conversation_id) || chain_head);
COMMENT ON FUNCTION hansard.heads_hash(bytea, uuid, bytea) IS
    'One step of the hash over the chain heads of a month, in the order of its conversations: SHA-256 of the hash before '
    '(empty at first), conversation id (16 bytes) and the chain hash of its newest message (32).';

CREATE OR REPLACE FUNCTION hansard.drop_month(month date, facts jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '30ms'
AS $$
DECLARE
    suffix text := to_char(month, 'YYYYMM');
    parent text;
BEGIN
    UPDATE hansard.audit_events e
    SET detail = e.detail - 'host'
    WHERE e.kind = 'webhook_given_up' AND e.detail ? 'host'
      AND (e.detail ->> 'job_id') COLLATE "C" >= hansard.uuid_floor(month::timestamp AT TIME ZONE 'UTC')::text
      AND (e.detail ->> 'job_id') COLLATE "C" < hansard.uuid_floor((month + interval '1 month') AT TIME ZONE 'UTC')::text;
    -- Whoever comes while this waits for a lock has to wait as well; so it waits for a moment only, and somebody tries
    -- again. Turns first: that is the first of the three that whoever opens or closes one looks at. Who has no lock there
    -- is hardly one to be waited for, and all turns are waiting by now.
    LOCK TABLE ONLY hansard.turns IN ACCESS EXCLUSIVE MODE;
    SET LOCAL lock_timeout = '5ms';
    LOCK TABLE ONLY hansard.conversations, ONLY hansard.messages IN ACCESS EXCLUSIVE MODE;
    FOREACH parent IN ARRAY '{turns,conversations,messages}'::text[] LOOP
        -- What somebody has detached by hand is his.
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_inherits i
                                  WHERE i.inhparent = format('hansard.%I', parent)::regclass
                                    AND i.inhrelid = to_regclass(format('hansard.%I', parent || '_' || suffix)));
        EXECUTE format('ALTER TABLE hansard.%I DETACH PARTITION hansard.%I', parent, parent || '_' || suffix);
        EXECUTE format('ALTER TABLE hansard.%I RENAME TO %I', parent || '_' || suffix, 'dropped_' || parent || '_' || suffix);
    END LOOP;
    PERFORM hansard.note_event('partition_dropped', NULL, jsonb_build_object('month', suffix) || facts);
    RETURN true;
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN false;
END
$$;
COMMENT ON FUNCTION hansard.drop_month(date, jsonb) IS
    'Takes the partitions of a month out of the record, and the hosts of its webhooks out of events, and notes it with these '
    'facts. false: a lock was not to be had at once, and nothing was done. The tables are called dropped_… from then on, and '
    'are left to delete_dropped().';

CREATE OR REPLACE FUNCTION hansard.dropped_table() RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.relname::text FROM pg_class c
    WHERE c.relnamespace = 'hansard'::regnamespace AND c.relkind = 'r'
      AND c.relname ~ '^dropped_(turns|conversations|messages)_[0-9]{6}$'
    ORDER BY c.relname
    LIMIT 1
$$;
COMMENT ON FUNCTION hansard.dropped_table() IS 'A table of a month that was dropped and is still to be deleted; NULL: there is none.';

CREATE OR REPLACE FUNCTION hansard.delete_dropped(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Nobody has it locked but perhaps autovacuum, which gives way after a second.
    EXECUTE format('DROP TABLE hansard.%I', name);
    RETURN true;
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN false;
END
$$;
COMMENT ON FUNCTION hansard.delete_dropped(text) IS
    'Deletes a table that dropped_table() has named; its files go when that is committed. false: it was in use.';

CREATE OR REPLACE FUNCTION hansard.is_past(of_conversation uuid, since timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN NOT EXISTS (SELECT FROM hansard.turns t
                       WHERE t.conversation_id = of_conversation AND (t.finished_at IS NULL OR t.finished_at >= since));
END
$$;
COMMENT ON FUNCTION hansard.is_past(uuid, timestamptz) IS 'Have all turns of the conversation ended before that?';

CREATE OR REPLACE FUNCTION hansard.survey(walk hansard.retention_walk, ids uuid[], keys bytea[], since timestamptz[])
RETURNS hansard.retention_walk
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    seen     record;
    turns    bigint;
    is_mixed boolean;
BEGIN
    -- Locked only when there is hope, by the newest turns; then all are looked at, for one may have been opened meanwhile.
    IF EXISTS (SELECT FROM unnest(ids, since) AS c (id, since)
               CROSS JOIN LATERAL (SELECT t.finished_at FROM hansard.turns t WHERE t.conversation_id = c.id
                                   ORDER BY t.turn_no DESC LIMIT 1) AS t
               WHERE t.finished_at IS NULL OR t.finished_at >= c.since) THEN
        walk.is_mixed := true;
        RETURN walk;
    END IF;
    PERFORM FROM hansard.sessions s WHERE s.session_key = ANY (keys) ORDER BY s.session_key FOR UPDATE;
    SELECT count(*), bool_or(t.finished_at IS NULL OR t.finished_at >= c.since)
    INTO turns, is_mixed
    FROM unnest(ids, since) AS c (id, since)
    CROSS JOIN LATERAL (SELECT t.finished_at FROM hansard.turns t WHERE t.conversation_id = c.id OFFSET 0) AS t;
    IF is_mixed THEN
        walk.is_mixed := true;
        RETURN walk;
    END IF;
    DELETE FROM hansard.sessions s WHERE s.session_key = ANY (keys) AND s.conversation_id = ANY (ids);
    FOR seen IN
        SELECT c.id, coalesce(m.chain_hash, ''::bytea) AS head, n.messages
        FROM unnest(ids) AS c (id)
        CROSS JOIN LATERAL (SELECT count(*) AS messages FROM hansard.messages m WHERE m.conversation_id = c.id) AS n
        LEFT JOIN LATERAL (SELECT m.chain_hash FROM hansard.messages m WHERE m.conversation_id = c.id
                           ORDER BY m.turn_no DESC, m.position DESC LIMIT 1) AS m ON true
        ORDER BY c.id
    LOOP
        walk.heads_hash := hansard.heads_hash(walk.heads_hash, seen.id, seen.head);
        walk.messages := walk.messages + seen.messages;
    END LOOP;
    walk.conversations := walk.conversations + cardinality(ids);
    walk.turns := walk.turns + turns;
    RETURN walk;
END
$$;
COMMENT ON FUNCTION hansard.survey(hansard.retention_walk, uuid[], bytea[], timestamptz[]) IS
    'Looks whether these conversations (ids, their sessions, since when each is kept) are all past their time. If so: '
    'closes them for good and counts them. If not: the month is mixed.';

DROP FUNCTION IF EXISTS hansard.blank_past(hansard.retention_walk, uuid[], bytea[], timestamptz[]);

CREATE OR REPLACE FUNCTION hansard.blank_past(walk hansard.retention_walk, ids uuid[], keys bytea[], since timestamptz[],
                                              most integer)
RETURNS hansard.retention_walk
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    due      record;
    places   integer[]; -- of those of which something is due
    blanked  integer[];
    turns    integer := 0;
    messages integer := 0;
    closed   uuid[] := '{}';
    seen     uuid[] := ids;
    begun    integer := walk.after_turn; -- of the first one
BEGIN
    walk.after_turn := 0;
    places := ARRAY(
        SELECT c.place
        FROM unnest(ids, since) WITH ORDINALITY AS c (id, since, place)
        WHERE EXISTS (SELECT FROM hansard.turns t
                      WHERE t.conversation_id = c.id AND t.finished_at < c.since AND t.fingerprint <> ''
                        AND t.turn_no > CASE c.place WHEN 1 THEN begun ELSE 0 END)
        ORDER BY c.place);
    IF places <> '{}' THEN
        PERFORM FROM hansard.sessions s WHERE s.session_key = ANY (ARRAY(SELECT keys[p] FROM unnest(places) p))
        ORDER BY s.session_key FOR UPDATE;
        -- A survey may have deleted the session; who erases has the conversation before its turns, too.
        PERFORM FROM hansard.conversations c WHERE c.conversation_id = ANY (ARRAY(SELECT ids[p] FROM unnest(places) p))
        ORDER BY c.conversation_id FOR NO KEY UPDATE;
    END IF;
    FOR due IN SELECT p AS place, ids[p] AS id, since[p] AS since FROM unnest(places) AS p LOOP
        blanked := hansard.blank_turns(due.id, due.since, CASE due.place WHEN 1 THEN begun ELSE 0 END, most - turns);
        turns := turns + blanked[1];
        messages := messages + blanked[2];
        IF blanked[3] IS NOT NULL THEN
            -- The next step begins with it.
            seen := ids[:due.place - 1];
            walk.after_turn := blanked[3];
            EXIT;
        END IF;
        IF hansard.is_past(due.id, due.since) THEN
            closed := closed || due.id;
        END IF;
        IF turns >= most THEN
            seen := ids[:due.place];
            EXIT;
        END IF;
    END LOOP;
    DELETE FROM hansard.sessions s WHERE s.session_key = ANY (keys) AND s.conversation_id = ANY (closed);
    UPDATE hansard.conversations c SET session_id = NULL WHERE c.conversation_id = ANY (closed);
    IF turns > 0 THEN
        PERFORM hansard.note_event('retention_applied', NULL, jsonb_build_object(
            'month', to_char(walk.month, 'YYYYMM'), 'conversations', cardinality(closed), 'turns', turns, 'messages', messages));
    END IF;
    walk.oldest_at := least(walk.oldest_at, (
        SELECT min(m.created_at)
        FROM unnest(seen) AS c (id)
        CROSS JOIN LATERAL (SELECT m.created_at FROM hansard.messages m
                            WHERE m.conversation_id = c.id AND m.salt IS NOT NULL
                            ORDER BY m.turn_no, m.position LIMIT 1) AS m
        WHERE c.id <> ALL (closed)));
    IF seen <> '{}' THEN
        walk.after_id := seen[cardinality(seen)];
    END IF;
    RETURN walk;
END
$$;
COMMENT ON FUNCTION hansard.blank_past(hansard.retention_walk, uuid[], bytea[], timestamptz[], integer) IS
    'Blanks what is past its time in these conversations (ids, their sessions, since when each is kept), so many turns at '
    'most, closes those of which nothing is left, and notes how much that was. The walk moves on behind those that are done, '
    'and remembers the oldest words that are left.';

DROP FUNCTION IF EXISTS hansard.blank_addresses(uuid, timestamptz);

CREATE OR REPLACE FUNCTION hansard.blank_addresses(after_id uuid, since timestamptz, most integer,
                                                   OUT last_id uuid, OUT is_full boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    WITH past AS (
        SELECT e.event_id FROM hansard.audit_events e
        WHERE e.event_id > after_id AND e.event_id < hansard.uuid_floor(greatest(since, timestamptz 'epoch'))
        ORDER BY e.event_id
        LIMIT most
    ), blanked AS (
        UPDATE hansard.audit_events e SET detail = e.detail - 'address'
        FROM past p
        WHERE e.event_id = p.event_id AND e.kind = 'limit_reached' AND e.user_id IS NULL
    )
    SELECT coalesce(max(p.event_id::text)::uuid, after_id), count(*) = most INTO last_id, is_full FROM past p;
END
$$;
COMMENT ON FUNCTION hansard.blank_addresses(uuid, timestamptz, integer) IS
    'Takes the addresses of callers without a key out of the next events after one, so many at most, that happened before '
    'the time; the last of these, and whether there may be more.';

CREATE OR REPLACE FUNCTION hansard.walk_on(walk hansard.retention_walk, at timestamptz, newest timestamptz)
RETURNS hansard.retention_walk
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT min(to_date(right(p.relname, 6), 'YYYYMM'))
    INTO walk.month
    FROM pg_inherits i
    JOIN pg_class p ON p.oid = i.inhrelid
    WHERE i.inhparent = 'hansard.conversations'::regclass
      AND to_date(right(p.relname, 6), 'YYYYMM') > coalesce(walk.month, '-infinity')
      AND to_date(right(p.relname, 6), 'YYYYMM')::timestamp AT TIME ZONE 'UTC' < newest;
    walk.conversations := 0;
    walk.turns := 0;
    walk.messages := 0;
    walk.heads_hash := '';
    walk.after_turn := 0;
    -- A month into which something may still come is not dropped.
    walk.is_mixed := coalesce((walk.month + interval '1 month 1 day') AT TIME ZONE 'UTC' > at, false);
    IF walk.month IS NOT NULL THEN
        walk.after_id := hansard.uuid_floor(walk.month::timestamp AT TIME ZONE 'UTC');
    END IF;
    RETURN walk;
END
$$;
COMMENT ON FUNCTION hansard.walk_on(hansard.retention_walk, timestamptz, timestamptz) IS
    'To the next month that began before the newest time from which anything may be past; month NULL: there is none.';

CREATE OR REPLACE FUNCTION hansard.oldest_words(after_id uuid) RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN (SELECT m.created_at
            FROM (SELECT c.conversation_id FROM hansard.conversations c
                  WHERE c.conversation_id > after_id AND c.session_id IS NOT NULL
                  ORDER BY c.conversation_id LIMIT 1) AS c
            CROSS JOIN LATERAL (SELECT m.created_at FROM hansard.messages m
                                WHERE m.conversation_id = c.conversation_id AND m.salt IS NOT NULL
                                ORDER BY m.turn_no, m.position LIMIT 1) AS m);
END
$$;
COMMENT ON FUNCTION hansard.oldest_words(uuid) IS
    'When the oldest words of conversations after this id were said; NULL: there are none.';

CREATE OR REPLACE FUNCTION hansard.walk_step(walk hansard.retention_walk, keep interval, at timestamptz, most integer)
RETURNS hansard.retention_walk
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    ids        uuid[];
    keys       bytea[];
    since      timestamptz[];
    most_turns integer := most * 10;
    ends_at    uuid := hansard.uuid_floor((walk.month + interval '1 month') AT TIME ZONE 'UTC');
BEGIN
    WITH kept AS MATERIALIZED (
        SELECT t.tier, hansard.kept_since(t.tier, keep, at) AS since FROM hansard.tiers t
    )
    SELECT array_agg(c.conversation_id ORDER BY c.conversation_id), array_agg(c.session_key ORDER BY c.conversation_id),
           array_agg(coalesce(k.since, hansard.kept_since(NULL, keep, at)) ORDER BY c.conversation_id)
    INTO ids, keys, since
    FROM (SELECT c.*, row_number() OVER w AS place, sum(n.turns) OVER w AS turns
          FROM (SELECT c.* FROM hansard.conversations c
                WHERE c.conversation_id > walk.after_id AND c.conversation_id < ends_at
                ORDER BY c.conversation_id LIMIT most) AS c
          CROSS JOIN LATERAL (SELECT coalesce(max(t.turn_no), 0) AS turns FROM hansard.turns t
                              WHERE t.conversation_id = c.conversation_id) AS n
          WINDOW w AS (ORDER BY c.conversation_id)) AS c
    LEFT JOIN LATERAL (SELECT u.tier FROM hansard.users u WHERE u.user_id = c.user_id LIMIT 1) AS u ON true
    LEFT JOIN kept k ON k.tier = coalesce(u.tier, 'anonymous')
    WHERE c.place = 1 OR c.turns <= most_turns;
    IF ids IS NULL THEN
        RETURN NULL;
    END IF;
    IF walk.is_mixed THEN
        RETURN hansard.blank_past(walk, ids, keys, since, most_turns);
    END IF;
    walk := hansard.survey(walk, ids, keys, since);
    walk.after_id := CASE WHEN walk.is_mixed THEN hansard.uuid_floor(walk.month::timestamp AT TIME ZONE 'UTC')
                          ELSE ids[cardinality(ids)] END;
    RETURN walk;
END
$$;
COMMENT ON FUNCTION hansard.walk_step(hansard.retention_walk, interval, timestamptz, integer) IS
    'The next conversations of the month, so many at most, of ten times as many turns together, unless one alone has more: it '
    'is surveyed at once, and blanked in steps. NULL: there are no more.';

CREATE OR REPLACE FUNCTION hansard_api.apply_retention(keep_ms bigint, most integer) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    at     timestamptz := clock_timestamp();
    keep   interval := keep_ms * interval '1 ms';
    walk   hansard.retention_walk;
    ahead  hansard.retention_walk;
    newest timestamptz := (SELECT max(hansard.kept_since(t.tier, keep, at)) FROM hansard.tiers t);
    gone   text;
    state  integer := 1;
    events record;
BEGIN
    IF keep_ms IS NULL OR keep_ms < 0 OR most IS NULL OR most < 1 THEN
        RAISE EXCEPTION 'not a time to keep words for, or no number of conversations' USING ERRCODE = 'HS400';
    END IF;
    SELECT * INTO walk FROM hansard.retention_walk FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Who holds a worker's password can ask for anything: what was asked for first is the least, until an operator says
    -- otherwise.
    walk.shortest := coalesce(walk.shortest, keep);
    IF keep <> walk.shortest AND keep <> interval '0' AND (walk.shortest = interval '0' OR keep < walk.shortest) THEN
        RAISE EXCEPTION 'HANSARD_RETENTION is %, and hansard.retention_walk allows nothing shorter than %',
            justify_hours(keep), CASE WHEN walk.shortest = interval '0' THEN 'for ever' ELSE justify_hours(walk.shortest)::text END
            USING ERRCODE = 'HS400';
    END IF;
    IF walk.ended_at > at - interval '45 minutes' AND walk.ended_at <= at THEN
        UPDATE hansard.retention_walk w SET shortest = walk.shortest WHERE w.shortest IS NULL;
        RETURN ARRAY[0, coalesce(extract(epoch FROM at - walk.oldest_at), -1)];
    END IF;
    gone := hansard.dropped_table();
    IF walk.began_at IS NULL OR walk.ended_at IS NOT NULL THEN
        walk.began_at := at;
        walk.ended_at := NULL;
        walk.oldest_at := NULL;
        walk.month := NULL;
        walk.after_id := '00000000-0000-0000-0000-000000000000';
        walk := hansard.walk_on(walk, at, newest);
    ELSIF gone IS NOT NULL THEN
        IF NOT hansard.delete_dropped(gone) THEN
            state := 2;
        END IF;
    ELSIF walk.month IS NOT NULL THEN
        ahead := hansard.walk_step(walk, keep, at, most);
        IF ahead.is_walk THEN
            walk := ahead;
        ELSIF walk.is_mixed THEN
            walk := hansard.walk_on(walk, at, newest);
        ELSIF hansard.drop_month(walk.month, jsonb_build_object(
                  'conversations', walk.conversations, 'turns', walk.turns, 'messages', walk.messages,
                  'heads_hash', encode(walk.heads_hash, 'hex'))) THEN
            walk := hansard.walk_on(walk, at, newest);
        ELSE
            state := 2;
        END IF;
    END IF;
    IF walk.month IS NULL AND hansard.dropped_table() IS NULL THEN
        walk.oldest_at := least(walk.oldest_at, hansard.oldest_words(walk.after_id));
        events := hansard.blank_addresses(walk.events_after, hansard.kept_since('anonymous', keep, at), most * 25);
        walk.events_after := events.last_id;
        IF NOT events.is_full THEN
            walk.ended_at := at;
            state := 0;
        END IF;
    END IF;
    UPDATE hansard.retention_walk w
    SET began_at = walk.began_at, ended_at = walk.ended_at, month = walk.month, is_mixed = walk.is_mixed,
        after_id = walk.after_id, conversations = walk.conversations, turns = walk.turns, messages = walk.messages,
        heads_hash = walk.heads_hash, oldest_at = walk.oldest_at, events_after = walk.events_after,
        shortest = walk.shortest, after_turn = walk.after_turn;
    RETURN ARRAY[state, CASE state WHEN 0 THEN coalesce(extract(epoch FROM at - walk.oldest_at), -1) END];
END
$$;
COMMENT ON FUNCTION hansard_api.apply_retention(bigint, integer) IS
    'One step of the hourly walk that drops and blanks what is past its retention. Arguments: the general retention in '
    'ms (0: for ever), and how many conversations a step looks at. What is to be done next: 0, to come again in an hour '
    '(then also the age of the oldest words in seconds; -1: there are none); 1, to go on; 2, to go on a little later, '
    'for the tables were busy. NULL: somebody else is at it. HS400: the retention is shorter than the least allowed, which '
    'is hansard.retention_walk.shortest.';
GRANT EXECUTE ON FUNCTION hansard_api.apply_retention(bigint, integer) TO hansard_app;

RESET ROLE;
