-- Words of the transcript, found. No turn pays for it: what is written is in no index of words. An operator's nightly run
-- makes one for each partition, of what was said up to midnight (UTC); what came later is read through, which is a day of
-- one partition, found by the block range index. See docs/audit.md, "Search".

SET LOCAL ROLE hansard_owner;

-- As the index has it: changing it takes new indexes. The ceiling keeps any text within what a tsvector can hold. Not in the
-- SQL language: the planner would put its text in its place for those who may call it, and for others not, and would keep in
-- mind for a whole session what it first made of an index so. Who had read a view would then search without indexes.
CREATE OR REPLACE FUNCTION hansard.words(of_text text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN to_tsvector('simple', left(of_text, 100000));
END
$$;
COMMENT ON FUNCTION hansard.words(text) IS
    'What search looks for words in: the first 100,000 characters, in lower case, in no language''s ways.';

-- A tsvector in an index has no places, so a phrase of words that are everywhere would be looked for in every message. So an
-- index has each two words that follow one another besides, as a number out of a million: many more would make of every
-- seldom pair a key of its own, and the index larger than the messages. What shares a number is told apart by reading it.
CREATE OR REPLACE FUNCTION hansard.word_pair(before integer, word integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((before::bigint * 31 + word) & 1048575)::integer;
COMMENT ON FUNCTION hansard.word_pair(integer, integer) IS
    'The number of two words that follow one another, of their hashes: hashtext(), which hash indexes are made of as well.';

CREATE OR REPLACE FUNCTION hansard.word_pairs(of_text text) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pairs  integer[];
    before integer;
    word   integer;
    place  integer := 0;
BEGIN
    -- Words as words() finds them: what is no word (a blank, a tag, the head of a URL, an entity), or too long for one, it
    -- does not count. It counts to 16383; all that comes then is in this place for it, right after 16382.
    FOREACH word IN ARRAY ARRAY(SELECT hashtext((ts_lexize('simple', p.token))[1])
                                FROM ts_parse('default', left(of_text, 100000)) AS p
                                WHERE p.tokid NOT IN (12, 13, 14, 23) AND octet_length(p.token) < 2047)
    LOOP
        place := place + 1;
        IF place > 1 THEN
            pairs := pairs || hansard.word_pair(before, word);
        END IF;
        IF place < 16383 THEN
            before := word;
        END IF;
    END LOOP;
    RETURN pairs;
END
$$;
COMMENT ON FUNCTION hansard.word_pairs(text) IS 'What search looks for phrases in: each two words of words(), one after the other.';

CREATE OR REPLACE FUNCTION hansard.word_condition(wanted tsquery, has_pairs boolean) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    -- querytree() leaves out what must not be there; T is what is left of nothing. No word has a blank in it.
    SELECT CASE WHEN querytree(wanted) = 'T' THEN NULL
                WHEN wanted::text !~ ' <-> ' THEN format('hansard.words(text) @@ %L', wanted)
                ELSE (SELECT string_agg(format('hansard.words(text) @@ %L', replace(alternative, ' <-> ', ' & '))
                                        || CASE WHEN has_pairs AND p.pairs IS NOT NULL
                                                THEN format(' AND hansard.word_pairs(text) @> %L', p.pairs) ELSE '' END, ' OR ')
                      FROM string_to_table(querytree(wanted), ' | ') AS alternative
                      CROSS JOIN LATERAL (
                          SELECT array_agg(hansard.word_pair(hashtext(w.before), hashtext(w.word))) AS pairs
                          FROM string_to_table(alternative, ' & ') AS phrase
                          CROSS JOIN LATERAL (
                              SELECT (tsvector_to_array(word::tsvector))[1] AS word,
                                     lag((tsvector_to_array(word::tsvector))[1]) OVER (ORDER BY place) AS before
                              FROM string_to_table(phrase, ' <-> ') WITH ORDINALITY AS w (word, place)
                          ) AS w
                          WHERE w.before IS NOT NULL) AS p) END
$$;
COMMENT ON FUNCTION hansard.word_condition(tsquery, boolean) IS
    'What an index of words can tell of a query: a condition that holds for every message in which it is found, and for few '
    'others. Exact but for phrases. NULL: it can tell nothing.';

DROP FUNCTION IF EXISTS hansard.word_indexes();
CREATE FUNCTION hansard.word_indexes()
RETURNS TABLE (partition_name text, begins timestamptz, ends timestamptz, index_name text, indexed_until timestamptz, is_valid boolean,
               has_pairs boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
BEGIN
    RETURN QUERY
    SELECT c.relname::text, to_date(right(c.relname, 6), 'YYYYMM')::timestamptz,
           (to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month')::timestamptz, x.relname::text,
           to_date(right(x.relname, 8), 'YYYYMMDD')::timestamptz, x.indisvalid AND x.indisready, x.indnatts = 2
    FROM pg_inherits h
    JOIN pg_class c ON c.oid = h.inhrelid
    LEFT JOIN (SELECT i.indrelid, i.indisvalid, i.indisready, i.indnatts, n.relname
               FROM pg_index i JOIN pg_class n ON n.oid = i.indexrelid WHERE n.relname ~ '^messages_[0-9]{6}_words_[0-9]{8}$') AS x
        ON x.indrelid = c.oid
    WHERE h.inhparent = 'hansard.messages'::regclass
      -- Retention may have dropped it since the snapshot: a name finds what there is now.
      AND to_regclass(format('hansard.%I', c.relname)) IS NOT NULL;
END
$$;
COMMENT ON FUNCTION hansard.word_indexes() IS
    'Partitions of messages with their indexes of words, by their names: a row each, and one for a partition without. Those of '
    'the release before have no pairs.';

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
    RETURN QUERY SELECT format('ALTER INDEX hansard.%I ALTER COLUMN %s SET STATISTICS 0', w.index_name, a.attnum)
                 FROM hansard.word_indexes() w
                 JOIN pg_attribute a ON a.attrelid = to_regclass('hansard.' || w.index_name) AND a.attnum > 0
                 WHERE w.is_valid AND coalesce(a.attstattarget, -1) <> 0;
    FOR part IN
        SELECT w.partition_name, w.begins, w.ends, max(w.indexed_until) FILTER (WHERE w.is_valid) AS indexed_until,
               coalesce(array_agg(w.index_name) FILTER (WHERE w.is_valid), '{}') AS index_names,
               coalesce(bool_and(w.has_pairs) FILTER (WHERE w.is_valid), false) AS has_pairs
        FROM hansard.word_indexes() w
        WHERE w.begins < midnight
        GROUP BY w.partition_name, w.begins, w.ends
        ORDER BY w.begins
    LOOP
        -- Two days after its month only what long conversations have still to say comes in, and that is read through. An index
        -- keeps words that erasure or retention has taken away; so it is made anew. So is one without pairs. Who took words away
        -- just before midnight may have been committed after the job had looked: hence the minute.
        CONTINUE WHEN part.has_pairs AND part.indexed_until >= least(midnight, part.ends + interval '2 days')
                  AND NOT EXISTS (SELECT FROM hansard.audit_events e
                                  WHERE e.happened_at >= part.indexed_until - interval '1 minute' AND e.happened_at < midnight
                                    AND CASE e.kind
                                        WHEN 'retention_applied' THEN e.detail ->> 'month' = right(part.partition_name, 6)
                                        WHEN 'conversation_erased'
                                        THEN EXISTS (SELECT FROM jsonb_array_elements_text(e.detail -> 'conversation_ids') AS id
                                                     WHERE id::uuid >= hansard.uuid_floor(part.begins)
                                                       AND id::uuid < hansard.uuid_floor(part.ends))
                                        ELSE false END);
        name := format('%s_words_%s', part.partition_name, to_char(midnight, 'YYYYMMDD'));
        CONTINUE WHEN name = ANY (part.index_names);
        RETURN NEXT format('CREATE INDEX CONCURRENTLY %I ON hansard.%I USING gin (hansard.words(text), hansard.word_pairs(text))'
                           ' WITH (fastupdate = off) WHERE created_at < %L', name, part.partition_name, midnight);
        RETURN QUERY SELECT format('ALTER INDEX hansard.%I ALTER COLUMN %s SET STATISTICS 0', name, c) FROM generate_series(1, 2) AS c;
        RETURN QUERY SELECT format('DROP INDEX CONCURRENTLY hansard.%I', old)
                     FROM unnest(part.index_names) AS old;
    END LOOP;
END
$$;
COMMENT ON FUNCTION hansard_admin.word_index_statements() IS
    'What is to be done so that search need not read what was said before today (UTC): statements for psql''s \gexec, each to be '
    'run by itself and in their order, by one session at a time. None: nothing is to be done.';

CREATE OR REPLACE FUNCTION hansard.word_hint(wanted tsquery) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT '%' || regexp_replace(word, '([\\%_])', '\\\1', 'g') || '%'
                     FROM unnest(tsvector_to_array(regexp_replace(querytree(wanted), ' (&|<->) ', ' ', 'g')::tsvector)) AS word
                     WHERE querytree(wanted) <> 'T' AND querytree(wanted) !~ ' [|] '
                     ORDER BY length(word) DESC LIMIT 1), '%')
$$;
COMMENT ON FUNCTION hansard.word_hint(tsquery) IS
    'What every message in which the query is found is like: looked at first, it spares most the taking apart.';

CREATE OR REPLACE FUNCTION hansard.find_words(wanted tsquery, from_at timestamptz, to_at timestamptz, most integer, is_read boolean)
RETURNS hansard.message_place[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- ILIKE and words() have the same lower case where both are the C library's.
    hint  text := CASE WHEN (SELECT coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') FROM pg_database d
                             WHERE d.datname = current_database()) = 'c' THEN hansard.word_hint(wanted) ELSE '%' END;
    parts text;
    found hansard.message_place[];
BEGIN
    -- A conversation has no words from before it began: later partitions are left out. Earlier ones are not, but have little
    -- of the time asked for, as their block range indexes know; so they are read.
    --
    -- What is read in short windows, and what an index gives, is put in order first, and then taken apart from the newest on,
    -- until there is enough: there may be much more. OFFSET 0 keeps the planner from doing it the other way round. What is in
    -- no index yet is taken apart by several workers, if there are.
    SELECT string_agg(format(CASE WHEN v.is_whole THEN
                                 '(SELECT conversation_id, turn_no, "position", created_at FROM hansard.%1$I'
                                 ' WHERE created_at >= $2 AND created_at < $3 AND %2$s AND text ILIKE $5 AND hansard.words(text) @@ $1'
                                 ' ORDER BY created_at DESC, turn_no DESC, "position" DESC LIMIT $4)'
                             ELSE
                                 '(SELECT conversation_id, turn_no, "position", created_at'
                                 ' FROM (SELECT ctid, conversation_id, turn_no, "position", created_at FROM hansard.%1$I'
                                 ' WHERE created_at >= $2 AND created_at < $3 AND %2$s'
                                 ' ORDER BY created_at DESC, turn_no DESC, "position" DESC OFFSET 0) AS m'
                                 ' WHERE (SELECT t.text ILIKE $5 AND hansard.words(t.text) @@ $1 FROM hansard.%1$I AS t WHERE t.ctid = m.ctid)'
                                 ' ORDER BY created_at DESC, turn_no DESC, "position" DESC LIMIT $4)'
                             END, p.partition_name, v.slice), ' UNION ALL ')
    INTO parts
    FROM (SELECT DISTINCT ON (i.partition_name) i.partition_name, is_read OR i.ends <= from_at AS is_read,
                 CASE WHEN i.is_valid AND c.told IS NOT NULL THEN i.indexed_until ELSE '-infinity' END AS indexed_until, c.told
          FROM hansard.word_indexes() i
          CROSS JOIN LATERAL hansard.word_condition(wanted, i.has_pairs) AS c (told)
          WHERE i.begins < to_at
          ORDER BY i.partition_name, i.is_valid DESC NULLS LAST, i.indexed_until DESC) AS p
    CROSS JOIN LATERAL (VALUES ('true', false, p.is_read),
                               (format('created_at < %L AND (%s)', p.indexed_until, p.told), false, NOT p.is_read AND from_at < p.indexed_until),
                               (format('created_at >= %L', p.indexed_until), true, NOT p.is_read AND to_at > p.indexed_until))
               AS v (slice, is_whole, is_asked)
    WHERE v.is_asked;
    IF parts IS NULL THEN
        RETURN '{}';
    END IF;
    -- Times are parameters of a statement that is planned for them: so the planner sees what an index holds.
    EXECUTE format('SELECT array_agg(ROW(f.conversation_id, f.turn_no, f."position")::hansard.message_place)'
                   ' FROM (SELECT * FROM (%s) AS p ORDER BY created_at DESC, turn_no DESC, "position" DESC LIMIT $4) AS f', parts)
    INTO found USING wanted, from_at, to_at, most, hint;
    RETURN coalesce(found, '{}');
END
$$;
COMMENT ON FUNCTION hansard.find_words(tsquery, timestamptz, timestamptz, integer, boolean) IS
    'The newest messages of a time with these words, so many at most: read, or by the indexes as far as they go.';

CREATE OR REPLACE FUNCTION hansard_audit.search(words text, from_at timestamptz DEFAULT now() - interval '1 month',
                                                to_at timestamptz DEFAULT 'infinity', most integer DEFAULT 100)
RETURNS SETOF hansard_audit.transcript
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET work_mem = '64MB'
SET jit = off
SET enable_partitionwise_join = off -- to plan it takes longer than the few rows do
AS $$
DECLARE
    wanted        tsquery := websearch_to_tsquery('pg_catalog.simple', words);
    upper         timestamptz := to_at;
    lower         timestamptz := least(to_at, now());
    width         interval := '10 minutes';
    months        interval := '0';
    is_read       boolean := true;
    is_indexed    boolean;
    indexed_until timestamptz;
    began         timestamptz;
    found         hansard.message_place[] := '{}';
BEGIN
    IF coalesce(numnode(wanted), 0) = 0 THEN
        RAISE EXCEPTION 'no words to search for' USING ERRCODE = 'HS400';
    END IF;
    IF coalesce(most NOT BETWEEN 1 AND 1000, true) THEN
        RAISE EXCEPTION 'a search gives 1 to 1000 messages' USING ERRCODE = 'HS400';
    END IF;
    SELECT greatest(min(i.begins), from_at),
           coalesce(max(i.indexed_until) FILTER (WHERE i.is_valid AND hansard.word_condition(wanted, true) IS NOT NULL), '-infinity')
    INTO from_at, indexed_until
    FROM hansard.word_indexes() i
    HAVING count(*) > 0;
    -- Words that are everywhere are found by reading the newest messages, where an index would have to name all their places
    -- first. So messages are read, in windows that get wider, for as long as one is a matter of moments, and as far as there is
    -- no index. Then the indexes are looked into, for one month, two, four ...
    WHILE upper > from_at AND cardinality(found) < most LOOP
        began := clock_timestamp();
        is_indexed := NOT is_read AND upper <= indexed_until;
        lower := greatest(from_at, CASE WHEN is_indexed THEN date_trunc('month', lower - interval '1 microsecond') - months
                                        WHEN is_read THEN lower - width
                                        ELSE greatest(lower - width, indexed_until) END);
        found := found || hansard.find_words(wanted, lower, upper, most - cardinality(found), is_read);
        upper := lower;
        IF is_indexed THEN
            months := months * 2 + interval '1 month';
        ELSE
            width := width * 6;
            is_read := is_read AND clock_timestamp() - began < interval '50 milliseconds';
        END IF;
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
