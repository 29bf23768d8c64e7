-- Monthly partitions of conversations, turns and messages, by the time in the UUIDv7 they are keyed by.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.callers_own() RETURNS TABLE (table_name text, column_name text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
VALUES ('conversations', 'session_id'), ('turns', 'idempotency_key'), ('turns', 'address'), ('turns', 'fingerprint'),
       ('messages', 'text'), ('messages', 'salt'), ('sessions', 'session_id'), ('users', 'name'),
       ('rate_limits', 'limit_key'), ('allowances', 'limit_key'), ('holds', 'limit_key'),
       ('jobs', 'limit_key'), ('jobs', 'webhook'), ('webhooks', 'url'), ('audit_events', 'detail')
$$;
COMMENT ON FUNCTION hansard.callers_own() IS
    'Columns that hold what callers say or are known by, partitions'' by their parent: ANALYZE keeps no samples of them, and '
    'scrubbing rewrites their tables.';

DROP FUNCTION IF EXISTS hansard.keep_out_of_statistics(text, text);

CREATE OR REPLACE FUNCTION hansard.keep_out_of_statistics() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sampled record;
BEGIN
    FOR sampled IN
        SELECT c.relname, a.attname
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND coalesce(a.attstattarget, -1) <> 0
        JOIN hansard.callers_own() o ON o.table_name = regexp_replace(c.relname, '_[0-9]{6}$', '') AND o.column_name = a.attname
        WHERE c.relnamespace = 'hansard'::regnamespace AND c.relkind IN ('r', 'p')
    LOOP
        EXECUTE format('ALTER TABLE hansard.%I ALTER COLUMN %I SET STATISTICS 0', sampled.relname, sampled.attname);
    END LOOP;
END
$$;
COMMENT ON FUNCTION hansard.keep_out_of_statistics() IS
    'ANALYZE keeps samples of values, where no erasure reaches them: not of hansard.callers_own(), from now on.';

SELECT hansard.keep_out_of_statistics();

CREATE OR REPLACE FUNCTION hansard.make_partition(parent text, month date) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name    text := format('%s_%s', parent, to_char(month, 'YYYYMM'));
    begins  timestamptz := month::timestamp AT TIME ZONE 'UTC';
    ends    timestamptz := (month + interval '1 month') AT TIME ZONE 'UTC';
    -- A turn's row grows once, when it is finished: with room for that on its page, no index is touched.
    storage text := CASE parent WHEN 'turns' THEN ' WITH (fillfactor = 70)' ELSE '' END;
BEGIN
    IF to_regclass(format('hansard.%I', name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Made apart and then attached: turns go on meanwhile.
    EXECUTE format('CREATE TABLE hansard.%I (LIKE hansard.%I INCLUDING ALL)%s', name, parent, storage);
    -- Whoever asked for it: retention will have to rename it.
    EXECUTE format('ALTER TABLE hansard.%I OWNER TO hansard_owner', name);
    PERFORM hansard.keep_out_of_statistics();
    EXECUTE format('ALTER TABLE hansard.%I ATTACH PARTITION hansard.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, name, hansard.uuid_floor(begins), hansard.uuid_floor(ends));
    RETURN true;
END
$$;
COMMENT ON FUNCTION hansard.make_partition(text, date) IS
    'The partition of a table for the month that begins at the date (UTC). false: there is one.';

CREATE OR REPLACE FUNCTION hansard_api.make_partitions() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this_month date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC');
    made       integer := 0;
    parent     text;
    ahead      integer;
BEGIN
    -- One at a time. This mode is in the way of itself, and not of rows being read or written; an advisory lock could be taken,
    -- and kept, by whoever may log in.
    LOCK TABLE ONLY hansard.conversations IN SHARE UPDATE EXCLUSIVE MODE;
    FOR ahead IN 0..2 LOOP
        FOREACH parent IN ARRAY ARRAY['conversations', 'turns', 'messages'] LOOP
            made := made + hansard.make_partition(parent, (this_month + make_interval(months => ahead))::date)::integer;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION hansard_api.make_partitions() IS
    'Makes what is missing of the partitions of this month and the next two; the number made. For workers, at start and daily.';
GRANT EXECUTE ON FUNCTION hansard_api.make_partitions() TO hansard_app;

SELECT hansard_api.make_partitions();

RESET ROLE;
