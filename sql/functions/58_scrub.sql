-- After a row was blanked, its former bytes lie in the table's pages until something else is written over them; plain
-- VACUUM does not clear them away, only a rewrite of the table does. Which tables need one, for `hansard audit scrub`.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.uuid_month(id uuid) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN to_char(to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) AT TIME ZONE 'UTC',
               'YYYYMM');
COMMENT ON FUNCTION hansard.uuid_month(uuid) IS 'Month of a UUIDv7 (UTC), as partitions are named: YYYYMM.';

DROP FUNCTION IF EXISTS hansard_admin.list_unscrubbed();

CREATE FUNCTION hansard_admin.list_unscrubbed() RETURNS TABLE (month text, table_name text, since text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH gone AS (
        SELECT hansard.uuid_month(i.id::uuid) AS month, e.happened_at
        FROM hansard.audit_events e
        CROSS JOIN LATERAL jsonb_array_elements_text(e.detail -> 'conversation_ids') AS i (id)
        WHERE e.kind = 'conversation_erased'
        UNION ALL
        SELECT e.detail ->> 'month', e.happened_at FROM hansard.audit_events e WHERE e.kind = 'retention_applied'
        UNION ALL
        SELECT 'all', e.happened_at FROM hansard.audit_events e
        WHERE e.kind IN ('conversation_erased', 'retention_applied', 'user_erased', 'partition_dropped')
    ), scrubbed AS (
        SELECT e.detail ->> 'month' AS month, max((e.detail ->> 'since')::timestamptz) AS since
        FROM hansard.audit_events e WHERE e.kind = 'scrubbed' GROUP BY 1
    ), wanted AS (
        SELECT g.month
        FROM gone g
        LEFT JOIN scrubbed s ON s.month = g.month
        WHERE g.happened_at > coalesce(s.since, '-infinity')
        GROUP BY g.month
    ), tables AS (
        SELECT DISTINCT w.month, CASE w.month WHEN 'all' THEN o.table_name ELSE o.table_name || '_' || w.month END AS table_name
        FROM wanted w
        JOIN hansard.callers_own() o ON (w.month = 'all') = (o.table_name NOT IN ('conversations', 'turns', 'messages'))
    )
    SELECT t.month, format('hansard.%I', t.table_name), clock_timestamp()::text
    FROM tables t
    WHERE to_regclass(format('hansard.%I', t.table_name)) IS NOT NULL
    ORDER BY t.month, t.table_name;
END
$$;
COMMENT ON FUNCTION hansard_admin.list_unscrubbed() IS
    'Tables from which something was erased or blanked since they were last rewritten, those of a month together, and the '
    'time of this look; month "all": the tables that have no months.';

CREATE OR REPLACE FUNCTION hansard_admin.count_samples() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*)
    FROM pg_stats s
    JOIN pg_class c ON c.relnamespace = 'hansard'::regnamespace AND c.relname = s.tablename
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = s.attname AND a.attstattarget = 0
    WHERE s.schemaname = 'hansard'
$$;
COMMENT ON FUNCTION hansard_admin.count_samples() IS
    'Columns, and expressions of indexes, of which ANALYZE keeps samples though it is told not to: from before it was told.';

CREATE OR REPLACE FUNCTION hansard_admin.note_scrub(month text, since text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hansard.note_event('scrubbed', NULL, jsonb_build_object('month', month, 'since', since, 'by', session_user));
END
$$;
COMMENT ON FUNCTION hansard_admin.note_scrub(text, text) IS
    'Notes that the tables of a month were rewritten: what was erased before that time is not in their files any more.';

RESET ROLE;
