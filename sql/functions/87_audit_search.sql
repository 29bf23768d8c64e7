-- Words of the transcript, found. No turn pays for it: what is written is in no index of words. An operator's nightly run
-- makes one for each partition, of what was said up to midnight (UTC); what came later is read through, which is a day of
-- one partition, found by the block range index. See docs/audit.md, "Search".

SET LOCAL ROLE hansard_owner;

-- As the index has it: changing it takes new indexes. The ceiling keeps any text within what a tsvector can hold.
CREATE OR REPLACE FUNCTION hansard.words(of_text text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('pg_catalog.simple'::regconfig, left(of_text, 100000));
COMMENT ON FUNCTION hansard.words(text) IS
    'What search looks for words in: the first 100,000 characters, in lower case, in no language''s ways.';

CREATE OR REPLACE FUNCTION hansard.word_indexes()
RETURNS TABLE (partition_name text, begins timestamptz, ends timestamptz, index_name text, indexed_until timestamptz, is_valid boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
BEGIN
    RETURN QUERY
    SELECT c.relname::text, to_date(right(c.relname, 6), 'YYYYMM')::timestamptz,
           (to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month')::timestamptz, x.relname::text,
           to_date(right(x.relname, 8), 'YYYYMMDD')::timestamptz, x.indisvalid AND x.indisready
    FROM pg_inherits h
    JOIN pg_class c ON c.oid = h.inhrelid
    LEFT JOIN (SELECT i.indrelid, i.indisvalid, i.indisready, n.relname
               FROM pg_index i JOIN pg_class n ON n.oid = i.indexrelid WHERE n.relname ~ '^messages_[0-9]{6}_words_[0-9]{8}$') AS x
        ON x.indrelid = c.oid
    WHERE h.inhparent = 'hansard.messages'::regclass;
END
$$;
COMMENT ON FUNCTION hansard.word_indexes() IS
    'Partitions of messages with their indexes of words, by their names: a row each, and one for a partition without.';

CREATE OR REPLACE FUNCTION hansard_admin.word_index_statements() RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    midnight timestamptz := date_trunc('day', clock_timestamp());
    part     record;
    name     text;
BEGIN
    RETURN QUERY SELECT format('DROP INDEX CONCURRENTLY IF EXISTS hansard.%I', w.index_name)
                 FROM hansard.word_indexes() w WHERE NOT w.is_valid;
    -- ANALYZE would keep samples of words. From a run that ended between an index and its word of this, too.
    RETURN QUERY SELECT format('ALTER INDEX hansard.%I ALTER COLUMN 1 SET STATISTICS 0', w.index_name)
                 FROM hansard.word_indexes() w
                 JOIN pg_attribute a ON a.attrelid = to_regclass('hansard.' || w.index_name) AND a.attnum = 1
                 WHERE w.is_valid AND coalesce(a.attstattarget, -1) <> 0;
    FOR part IN
        SELECT w.partition_name, w.begins, w.ends, max(w.indexed_until) FILTER (WHERE w.is_valid) AS indexed_until,
               coalesce(array_agg(w.index_name) FILTER (WHERE w.is_valid), '{}') AS index_names
        FROM hansard.word_indexes() w
        WHERE w.begins < midnight
        GROUP BY w.partition_name, w.begins, w.ends
        ORDER BY w.begins
    LOOP
        -- Two days after its month only what long conversations have still to say comes in, and that is read through. An index
        -- keeps words that erasure or retention has taken away; so it is made anew.
        CONTINUE WHEN part.indexed_until >= least(midnight, part.ends + interval '2 days')
                  AND NOT EXISTS (SELECT FROM hansard.audit_events e
                                  WHERE e.happened_at >= part.indexed_until AND e.happened_at < midnight
                                    AND CASE e.kind
                                        WHEN 'retention_applied' THEN e.detail ->> 'month' = right(part.partition_name, 6)
                                        WHEN 'conversation_erased'
                                        THEN EXISTS (SELECT FROM jsonb_array_elements_text(e.detail -> 'conversation_ids') AS id
                                                     WHERE id::uuid >= hansard.uuid_floor(part.begins)
                                                       AND id::uuid < hansard.uuid_floor(part.ends))
                                        ELSE false END);
        name := format('%s_words_%s', part.partition_name, to_char(midnight, 'YYYYMMDD'));
        CONTINUE WHEN name = ANY (part.index_names);
        RETURN NEXT format('CREATE INDEX CONCURRENTLY %I ON hansard.%I USING gin (hansard.words(text)) WITH (fastupdate = off)'
                           ' WHERE created_at < %L', name, part.partition_name, midnight);
        RETURN NEXT format('ALTER INDEX hansard.%I ALTER COLUMN 1 SET STATISTICS 0', name);
        RETURN QUERY SELECT format('DROP INDEX CONCURRENTLY hansard.%I', old)
                     FROM unnest(part.index_names) AS old;
    END LOOP;
END
$$;
COMMENT ON FUNCTION hansard_admin.word_index_statements() IS
    'What is to be done so that search need not read what was said before today (UTC): statements for psql''s \gexec, each to be '
    'run by itself and in their order, by one session at a time. None: nothing is to be done.';

CREATE OR REPLACE FUNCTION hansard_audit.search(words text, from_at timestamptz DEFAULT now() - interval '1 month',
                                                to_at timestamptz DEFAULT 'infinity', most integer DEFAULT 100)
RETURNS SETOF hansard_audit.transcript
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET work_mem = '64MB'
SET jit = off
SET enable_partitionwise_join = off -- to plan it takes longer than the few rows do
AS $$
DECLARE
    wanted tsquery := websearch_to_tsquery('pg_catalog.simple', words);
    names  text[];
    begun  timestamptz[];
    ended  timestamptz[];
    until  timestamptz[]; -- that far its words are indexed
    lower  timestamptz;
    upper  timestamptz := to_at;
    needed text; -- without what must not be there
    hint   text := '%'; -- what every message that is found is like: looked at first, it spares most the taking apart
    parts  text;
    newer  hansard.message_place[];
    found  hansard.message_place[] := '{}';
BEGIN
    IF coalesce(numnode(wanted), 0) = 0 THEN
        RAISE EXCEPTION 'no words to search for' USING ERRCODE = 'HS400';
    END IF;
    IF coalesce(most NOT BETWEEN 1 AND 1000, true) THEN
        RAISE EXCEPTION 'a search gives 1 to 1000 messages' USING ERRCODE = 'HS400';
    END IF;
    needed := regexp_replace(wanted::text, $q$!'([^']|'')+'$q$, '', 'g');
    IF needed !~ '[|!]' THEN
        hint := coalesce((SELECT '%' || regexp_replace(replace(m[1], $q$''$q$, $q$'$q$), '([\\%_])', '\\\1', 'g') || '%'
                          FROM regexp_matches(needed, $q$'((?:[^']|'')+)'$q$, 'g') AS m
                          ORDER BY length(m[1]) DESC LIMIT 1), hint);
    END IF;
    -- A conversation has no words from before it began: later partitions are left out. Earlier ones are not, but have
    -- little of the time asked for, as their block range indexes know.
    SELECT array_agg(w.partition_name), array_agg(w.begins), array_agg(w.ends), array_agg(w.indexed_until),
           greatest(min(w.begins), from_at)
    INTO names, begun, ended, until, from_at
    FROM (SELECT i.partition_name, i.begins, i.ends, coalesce(max(i.indexed_until) FILTER (WHERE i.is_valid), '-infinity') AS indexed_until
          FROM hansard.word_indexes() i
          WHERE i.begins < to_at
          GROUP BY i.partition_name, i.begins, i.ends) AS w;
    -- First the newest two hours are read through, where words that are everywhere are found: an index would have to name
    -- all their places first. Then all the rest at once, by the indexes of the months that it lies in. OFFSET 0 keeps the
    -- planner, which knows little of words, from looking into the index where the time says more.
    lower := least(to_at, now()) - interval '2 hours';
    WHILE names IS NOT NULL AND upper > from_at AND cardinality(found) < most LOOP
        lower := greatest(lower, from_at);
        SELECT string_agg(format('(SELECT conversation_id, turn_no, "position", created_at FROM'
                                 ' (SELECT * FROM hansard.%I WHERE created_at >= $2 AND created_at < $3 AND %s) AS m'
                                 ' WHERE hansard.words(text) @@ $1'
                                 ' ORDER BY created_at DESC, turn_no DESC, "position" DESC LIMIT $4)', p.name, slice), ' UNION ALL ')
        INTO parts
        FROM unnest(names, begun, ended, until) AS p (name, begins, ends, indexed_until)
        CROSS JOIN LATERAL (SELECT upper = to_at OR p.ends <= lower AS is_read) AS r
        CROSS JOIN LATERAL (VALUES (format('created_at < %L', p.indexed_until) || CASE WHEN is_read THEN ' AND text ILIKE $5 OFFSET 0' ELSE '' END,
                                    lower < p.indexed_until),
                                   (format('created_at >= %L AND text ILIKE $5 OFFSET 0', p.indexed_until), upper > p.indexed_until)) AS v (slice, is_asked)
        WHERE v.is_asked AND p.begins < upper;
        -- Times are parameters of a statement that is planned for them: so the planner sees what an index holds.
        EXECUTE format('SELECT array_agg(ROW(f.conversation_id, f.turn_no, f."position")::hansard.message_place)'
                       ' FROM (SELECT * FROM (%s) AS p ORDER BY created_at DESC, turn_no DESC, "position" DESC LIMIT $4) AS f', parts)
        INTO newer USING wanted, lower, upper, most - cardinality(found), hint;
        found := found || coalesce(newer, '{}');
        upper := lower;
        lower := from_at;
    END LOOP;
    RETURN QUERY
    SELECT t.*
    FROM unnest(found) AS f
    JOIN hansard_audit.transcript t USING (conversation_id, turn_no, "position")
    ORDER BY t.said_at DESC, t.turn_no DESC, t."position" DESC;
END
$$;
COMMENT ON FUNCTION hansard_audit.search(text, timestamptz, timestamptz, integer) IS
    'The newest messages with these words that were said from a time on and before another: rows of transcript, at most so many '
    '(1000). Words as in a web search: all of them; "one after the other"; this or that; -not this. Upper and lower case are '
    'the same, forms of a word are not. HS400: no words, or too many messages asked for.';
GRANT EXECUTE ON FUNCTION hansard_audit.search(text, timestamptz, timestamptz, integer) TO hansard_auditor;

RESET ROLE;
