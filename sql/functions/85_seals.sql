-- Seals: what a seal is made of, making one, and checking them.
--
-- Seals divide the time: each message is in the first seal whose time reaches its own, and never comes behind one. So words
-- that say they are older than a seal, and are not in it, were invented. It holds because
--   · a seal reaches no further than to a look all of whose writers have ended (hansard.settled_at): who begins to write after
--     it takes a later time;
--   · what is written is later than the last seal, whatever the clock says (accept_turns, finish_turns).

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.seal_leaf(conversation_id uuid, messages integer, head bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256('\x00'::bytea || uuid_send(conversation_id) || int4send(messages) || head);
COMMENT ON FUNCTION hansard.seal_leaf(uuid, integer, bytea) IS
    'Hash of a leaf (RFC 6962, 2.1): SHA-256 of 00, the conversation id (16 bytes), the number of messages (4) and the head (32).';

CREATE OR REPLACE FUNCTION hansard.merkle_root(leaves bytea[]) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    level bytea[] := leaves;
BEGIN
    IF coalesce(cardinality(level), 0) = 0 THEN
        RETURN sha256('');
    END IF;
    -- Pair by pair; who has no neighbour rises by itself. It is the tree of RFC 6962, whose left half is the largest power
    -- of two that leaves something to the right.
    WHILE cardinality(level) > 1 LOOP
        SELECT array_agg(CASE WHEN p.size = 2 THEN sha256('\x01'::bytea || p.hashes) ELSE p.hashes END ORDER BY p.place)
        INTO level
        FROM (SELECT (n - 1) / 2 AS place, count(*) AS size, string_agg(h, '' ORDER BY n) AS hashes
              FROM unnest(level) WITH ORDINALITY AS l (h, n)
              GROUP BY 1) AS p;
    END LOOP;
    RETURN level[1];
END
$$;
COMMENT ON FUNCTION hansard.merkle_root(bytea[]) IS
    'Root of the tree (RFC 6962, 2.1) over hashes of leaves: nodes are SHA-256 of 01 and both below.';

CREATE OR REPLACE FUNCTION hansard.seal_root(of_seal bigint) RETURNS bytea
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT hansard.merkle_root(array_agg(hansard.seal_leaf(h.conversation_id, h.messages, h.head) ORDER BY h.conversation_id))
    FROM hansard.seal_heads h WHERE h.seal_no = of_seal
$$;
COMMENT ON FUNCTION hansard.seal_root(bigint) IS 'Root over the leaves of a seal as they are now.';

CREATE OR REPLACE FUNCTION hansard.seal_hash(seal_no bigint, sealed_at timestamptz, from_at timestamptz, to_at timestamptz,
                                             heads integer, root bytea, previous bytea) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256('hansard seal 1'::bytea || int8send(seal_no) || int8send(hansard.unix_us(sealed_at))
              || int8send(hansard.unix_us(from_at)) || int8send(hansard.unix_us(to_at)) || int4send(heads) || root || previous);
COMMENT ON FUNCTION hansard.seal_hash(bigint, timestamptz, timestamptz, timestamptz, integer, bytea, bytea) IS
    'SHA-256 of a fixed label, number (8 bytes), times in µs (8 each), heads (4), root (32) and the hash of the seal before '
    '(32); numbers big endian.';

CREATE OR REPLACE FUNCTION hansard.settled_at() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    look    hansard.sealing;
    looks   timestamptz := clock_timestamp();
    writing text[];
BEGIN
    SELECT * INTO look FROM hansard.sealing;
    -- Whoever writes messages takes this lock before he takes the time, and has it until he is committed and seen by all. It is
    -- in nobody's way.
    writing := ARRAY(SELECT l.virtualtransaction FROM pg_locks l
                     WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
                       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                       AND l.relation = 'hansard.sealing'::regclass AND l.pid IS DISTINCT FROM pg_backend_pid());
    IF look.writers && writing THEN
        RETURN NULL;
    END IF;
    UPDATE hansard.sealing SET looked_at = looks, writers = writing;
    RETURN CASE WHEN writing = '{}' THEN looks WHEN look.looked_at <= looks THEN look.looked_at END;
END
$$;
COMMENT ON FUNCTION hansard.settled_at() IS
    'A moment before which nothing is left to be committed: now when nobody writes messages, else the last look, all of whose '
    'writers have ended. NULL: one of them still writes, or there was no look. The caller has locked hansard.sealing.';

CREATE OR REPLACE FUNCTION hansard.make_seal(every_ms bigint, settled_ms bigint, most integer) RETURNS hansard.seals
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    last    hansard.seals;
    made    hansard.seals;
    settled timestamptz;
    lo      timestamptz;
    hi      timestamptz;
    found   bigint;
BEGIN
    made.sealed_at := clock_timestamp();
    settled := hansard.settled_at() - greatest(settled_ms, 0) * interval '1 ms';
    SELECT * INTO last FROM hansard.seals s ORDER BY s.seal_no DESC LIMIT 1;
    made.seal_no := coalesce(last.seal_no, 0) + 1;
    made.previous := coalesce(last.hash, decode(repeat('00', 32), 'hex'));
    made.from_at := coalesce(last.to_at, 'epoch');
    IF (settled >= made.from_at + every_ms * interval '1 ms') IS NOT TRUE THEN
        RETURN NULL;
    END IF;

    -- The longest time from there on that holds no more than is asked for. Each look ends when it has seen enough.
    lo := made.from_at;
    hi := settled;
    LOOP
        SELECT count(*) INTO found
        FROM (SELECT FROM hansard.messages m WHERE m.created_at > lo AND m.created_at <= hi LIMIT most + 1) AS m;
        IF found = 0 AND hi = settled THEN
            RETURN NULL;
        ELSIF found = 0 THEN
            lo := hi;
            hi := settled;
        ELSIF found <= most OR hi - lo < interval '10 ms' THEN
            EXIT;
        ELSE
            hi := lo + (hi - lo) / 2;
        END IF;
    END LOOP;
    made.to_at := hi;

    INSERT INTO hansard.seal_heads (conversation_id, seal_no, messages, head)
    SELECT c.conversation_id, made.seal_no, h.messages, h.head
    FROM (SELECT DISTINCT m.conversation_id FROM hansard.messages m
          WHERE m.created_at > made.from_at AND m.created_at <= made.to_at) AS c
    CROSS JOIN LATERAL (
        SELECT count(*) AS messages,
               (array_agg(m.chain_hash ORDER BY m.created_at DESC, m.turn_no DESC, m.position DESC))[1] AS head
        FROM hansard.messages m
        WHERE m.conversation_id = c.conversation_id AND m.created_at <= made.to_at
    ) AS h;
    GET DIAGNOSTICS made.heads = ROW_COUNT;
    made.root := hansard.seal_root(made.seal_no);
    made.hash := hansard.seal_hash(made.seal_no, made.sealed_at, made.from_at, made.to_at, made.heads, made.root, made.previous);
    INSERT INTO hansard.seals VALUES (made.*);
    RETURN made;
END
$$;
COMMENT ON FUNCTION hansard.make_seal(bigint, bigint, integer) IS
    'The next seal, of what was said since the last one; NULL: there is nothing to seal, or it is not every_ms old. The caller '
    'has locked hansard.sealing.';

-- It takes one thing more than in the release before.
DROP FUNCTION IF EXISTS hansard_api.seal(bigint, bigint, integer);

CREATE OR REPLACE FUNCTION hansard_api.seal(every_ms bigint, settled_ms bigint, most integer, wants_age boolean DEFAULT false)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made hansard.seals;
BEGIN
    -- All has to be seen that is committed by now.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a seal needs a transaction that is read committed' USING ERRCODE = 'HS400';
    END IF;
    -- One at a time; who comes second has nothing to do. An advisory lock could be taken, and kept, by whoever may log in.
    PERFORM FROM hansard.sealing FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        made := hansard.make_seal(every_ms, settled_ms, most);
    END IF;
    IF made.seal_no IS NOT NULL THEN
        RETURN jsonb_build_object('seal_no', made.seal_no, 'sealed_us', hansard.unix_us(made.sealed_at),
                                  'from_us', hansard.unix_us(made.from_at), 'to_us', hansard.unix_us(made.to_at),
                                  'heads', made.heads, 'root', encode(made.root, 'hex'),
                                  'previous', encode(made.previous, 'hex'), 'hash', encode(made.hash, 'hex'));
    ELSIF wants_age THEN
        RETURN jsonb_build_object('age_s', coalesce((SELECT extract(epoch FROM clock_timestamp() - s.sealed_at)::bigint
                                                     FROM hansard.seals s ORDER BY s.seal_no DESC LIMIT 1), -1));
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION hansard_api.seal(bigint, bigint, integer, boolean) IS
    'Makes the next seal and returns it as JSON; NULL: there is nothing to seal, the last one is not every_ms old, another '
    'worker is at it, or somebody has been writing for so long. settled_ms: age of a message from which it is sealed, so '
    'that a clock that is set back a little while a seal is made is no matter. most: messages a seal looks at; while more have waited, the seals that follow are due at '
    'once. wants_age: instead of NULL the age of the last seal in seconds, {"age_s": 12}; -1: there is none.';
GRANT EXECUTE ON FUNCTION hansard_api.seal(bigint, bigint, integer, boolean) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.sign_seal(of_seal bigint, of_hash bytea, by_signature bytea, by_key text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE hansard.seals s SET signature = by_signature, key_id = by_key
    WHERE s.seal_no = of_seal AND s.hash = of_hash AND s.signature IS NULL;
    RETURN EXISTS (SELECT FROM hansard.seals s WHERE s.seal_no = of_seal AND s.signature = by_signature AND s.key_id = by_key);
END
$$;
COMMENT ON FUNCTION hansard_api.sign_seal(bigint, bytea, bytea, text) IS
    'Keeps the signature of a seal that has none. true: it is there, by this call or an earlier one.';
GRANT EXECUTE ON FUNCTION hansard_api.sign_seal(bigint, bytea, bytea, text) TO hansard_app;

CREATE OR REPLACE VIEW hansard_audit.seals AS
SELECT s.seal_no, s.sealed_at, s.from_at, s.to_at, s.heads, s.root, s.previous, s.hash, s.signature, s.key_id
FROM hansard.seals s;
COMMENT ON VIEW hansard_audit.seals IS 'Seals, each over the heads of the conversations in which something was said since the one before.';
COMMENT ON COLUMN hansard_audit.seals.seal_no IS '1, 2, 3 … without a gap.';
COMMENT ON COLUMN hansard_audit.seals.sealed_at IS 'When it was made.';
COMMENT ON COLUMN hansard_audit.seals.from_at IS 'What was said after this moment is in it …';
COMMENT ON COLUMN hansard_audit.seals.to_at IS '… and until this one.';
COMMENT ON COLUMN hansard_audit.seals.heads IS 'Conversations in it.';
COMMENT ON COLUMN hansard_audit.seals.root IS 'Root of a Merkle tree (RFC 6962, 2.1) over its heads by conversation.';
COMMENT ON COLUMN hansard_audit.seals.previous IS 'Hash of the seal before; 32 zero bytes for the first.';
COMMENT ON COLUMN hansard_audit.seals.hash IS 'SHA-256 of all before.';
COMMENT ON COLUMN hansard_audit.seals.signature IS 'Ed25519 over a label and the hash; NULL: the worker had no key.';
COMMENT ON COLUMN hansard_audit.seals.key_id IS 'First 16 hexadecimal digits of the SHA-256 of the public key.';
GRANT SELECT ON hansard_audit.seals TO hansard_auditor;

CREATE OR REPLACE FUNCTION hansard_audit.verify_seals(after_seal bigint DEFAULT 0)
RETURNS TABLE (status text, seal_no bigint, problem text, seals bigint, heads bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH checked AS MATERIALIZED (
        SELECT s.seal_no, s.heads,
               CASE WHEN s.seal_no <> s.expected THEN 'seal before missing'
                    WHEN s.previous <> s.hash_before OR s.from_at <> s.to_before THEN 'not made after the seal before'
                    WHEN s.hash <> hansard.seal_hash(s.seal_no, s.sealed_at, s.from_at, s.to_at, s.heads, s.root, s.previous)
                        THEN 'hash does not fit'
                    WHEN s.heads <> (SELECT count(*) FROM hansard.seal_heads h WHERE h.seal_no = s.seal_no)
                        THEN 'heads missing or added'
                    WHEN s.root <> hansard.seal_root(s.seal_no) THEN 'heads changed' END AS problem
        FROM (SELECT z.*, lag(z.seal_no, 1, 0::bigint) OVER w + 1 AS expected,
                     lag(z.hash, 1, decode(repeat('00', 32), 'hex')) OVER w AS hash_before,
                     lag(z.to_at, 1, 'epoch'::timestamptz) OVER w AS to_before
              FROM hansard.seals z WINDOW w AS (ORDER BY z.seal_no)) AS s
        WHERE s.seal_no > after_seal
        UNION ALL
        SELECT h.seal_no, count(*), 'seal missing' FROM hansard.seal_heads h
        WHERE h.seal_no > (SELECT coalesce(max(s.seal_no), 0) FROM hansard.seals s) GROUP BY 1
    )
    SELECT CASE WHEN p.problem IS NULL THEN 'ok' ELSE 'broken' END, p.seal_no, p.problem, c.seals, c.heads
    FROM (SELECT count(*) AS seals, coalesce(sum(k.heads), 0)::bigint AS heads FROM checked k) AS c
    LEFT JOIN checked p ON p.problem IS NOT NULL
    ORDER BY p.seal_no;
END
$$;
COMMENT ON FUNCTION hansard_audit.verify_seals(bigint) IS
    'Checks the seals after a number: each follows the one before, its hash fits, and its root fits its heads. One row "ok" '
    'with counts, or a row "broken" for each that does not. Signatures are checked by hansard audit verify.';
GRANT EXECUTE ON FUNCTION hansard_audit.verify_seals(bigint) TO hansard_auditor;

RESET ROLE;
