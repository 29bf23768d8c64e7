-- Seals: when one is made, over what, and what shows that something was changed since.
BEGIN;
SELECT plan(51);
SELECT help.worker('w');

-- Vectors of Certificate Transparency (RFC 6962): leaves of the reference tree, hashed as leaves are.
CREATE FUNCTION pg_temp.tree(size integer) RETURNS text
LANGUAGE sql
AS $$
    SELECT encode(hansard.merkle_root(array_agg(sha256('\x00'::bytea || decode(d, 'hex')) ORDER BY n)), 'hex')
    FROM unnest('{"",00,10,2021,3031,40414243,5051525354555657,606162636465666768696a6b6c6d6e6f}'::text[]) WITH ORDINALITY AS l (d, n)
    WHERE n <= size
$$;
SELECT is(pg_temp.tree(0), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 'a tree without leaves');
SELECT is(pg_temp.tree(1), '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d', 'of one leaf');
SELECT is(pg_temp.tree(2), 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125', 'of two');
SELECT is(pg_temp.tree(3), 'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77', 'of three');
SELECT is(pg_temp.tree(5), '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4', 'of five');
SELECT is(pg_temp.tree(7), 'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c', 'of seven');
SELECT is(pg_temp.tree(8), '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328', 'of eight');

-- Byte by byte.
SELECT is(hansard.seal_leaf('01890000-0000-7000-8000-000000000000', 258, '\x0a'),
          sha256('\x00'::bytea || '\x01890000000070008000000000000000' || '\x00000102' || '\x0a'), 'seal_leaf');
SELECT is(hansard.seal_hash(258, '2026-01-01 00:00:00.000001+00', '1970-01-01 00:00:00+00', '1970-01-01 00:00:01+00', 3, '\x0a', '\x0b'),
          sha256('hansard seal 1'::bytea || '\x0000000000000102' || '\x0006474846204001' || '\x0000000000000000' || '\x00000000000f4240'
                 || '\x00000003' || '\x0a' || '\x0b'), 'seal_hash');

CREATE FUNCTION pg_temp.conversation(session text) RETURNS uuid
LANGUAGE sql
RETURN (SELECT conversation_id FROM hansard.sessions WHERE session_key = help.session_key(session));
CREATE FUNCTION pg_temp.head(session text, turn integer) RETURNS bytea
LANGUAGE sql
RETURN (SELECT chain_hash FROM hansard.messages WHERE conversation_id = pg_temp.conversation(session) AND turn_no = turn AND position = 2);
-- Number and heads of the seal that is made, hourly, over what is a minute old.
CREATE FUNCTION pg_temp.seal(most integer DEFAULT 1000, every bigint DEFAULT 3600000) RETURNS text
LANGUAGE sql
AS $$ SELECT concat_ws(' ', j ->> 'seal_no', j ->> 'heads') FROM (SELECT hansard_api.seal(every, 60000, most)::jsonb AS j) AS s $$;
CREATE FUNCTION pg_temp.check() RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(concat_ws(' ', status, seal_no, problem, CASE status WHEN 'ok' THEN seals || ' ' || heads END), ', ' ORDER BY seal_no) FROM hansard_audit.verify_seals() $$;
CREATE FUNCTION pg_temp.verify(session text) RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(concat_ws(' ', status, problem, seals), ', ') FROM hansard_audit.verify(pg_temp.conversation(session)) $$;

-- When there is nothing.
SELECT is(pg_temp.seal(), '', 'nothing said, no seal');
SELECT is(pg_temp.check(), 'ok 0 0', '... and nothing to check');
SELECT help.turn('w', 'now', 'hello', 'hi');
SELECT is(pg_temp.seal(), '', 'what was said just now may not be committed: no seal');

-- The first, and those that follow.
SELECT help.said('a', 'one', '5 hours');
SELECT help.said('b', 'one', '4 hours 59 minutes');
SELECT is(pg_temp.verify('a'), 'ok 0', 'a conversation of this morning is fine');
SELECT is(pg_temp.seal(), '1 2', 'the first seal holds all there is');
SELECT is(pg_temp.check(), 'ok 1 2', '... and is fine');
SELECT is(root, hansard.merkle_root(ARRAY(SELECT hansard.seal_leaf(pg_temp.conversation(s), 2, pg_temp.head(s, 1))
                                          FROM unnest('{a,b}'::text[]) AS s ORDER BY pg_temp.conversation(s))), 'its root is that of the heads')
FROM hansard.seals;
SELECT is((from_at, previous)::text, ('epoch'::timestamptz, decode(repeat('00', 32), 'hex'))::text, 'nothing is before it') FROM hansard.seals;
SELECT is(pg_temp.verify('a') || ', ' || pg_temp.verify('now'), 'ok 1, ok 0', 'a conversation knows how many seals hold it');
SELECT is(pg_temp.seal(), '', 'the next is not due');
SELECT is(pg_temp.seal(1000, 0), '', 'and there is nothing for one');

-- Time goes by.
UPDATE hansard.seals SET to_at = to_at - interval '3 hours';
UPDATE hansard.seals SET hash = hansard.seal_hash(seal_no, sealed_at, from_at, to_at, heads, root, previous);
SELECT help.said('b', 'two', '2 hours');
SELECT help.said('c', 'one', '110 minutes');
SELECT help.said('d', 'one', '100 minutes');
SELECT is(pg_temp.seal(2), '2 1', 'more than a seal may look at: as much as it may');
SELECT is(pg_temp.seal(3), '3 1', 'the next follows at once');
SELECT is(pg_temp.seal(), '4 1', '... and the next');
SELECT is(pg_temp.seal(), '', '... until all is sealed');
SELECT is(pg_temp.check(), 'ok 4 5', 'all are fine');
SELECT is(array_agg(s.previous ORDER BY seal_no), array_agg(coalesce(s.before, decode(repeat('00', 32), 'hex')) ORDER BY seal_no), 'each names the one before')
FROM (SELECT *, lag(hash) OVER (ORDER BY seal_no) AS before FROM hansard.seals) AS s;
SELECT is(array_agg(s.from_at ORDER BY seal_no), array_agg(coalesce(s.before, 'epoch') ORDER BY seal_no), '... and begins where it ended')
FROM (SELECT *, lag(to_at) OVER (ORDER BY seal_no) AS before FROM hansard.seals) AS s;
SELECT is(string_agg(concat(seal_no, ':', messages), ' ' ORDER BY seal_no), '1:2 2:4', 'a conversation is in each seal after which it went on')
FROM hansard.seal_heads WHERE conversation_id = pg_temp.conversation('b');
SELECT is(pg_temp.verify('b'), 'ok 2', '... and is all that they hold');

-- Whatever is changed shows; each change is undone.
CREATE FUNCTION pg_temp.after(change text) RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE change;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0', MESSAGE = pg_temp.check();
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
    RETURN SQLERRM;
END
$$;
SELECT is(pg_temp.after('UPDATE hansard.seal_heads SET head = sha256(head) WHERE seal_no = 1'), 'broken 1 heads changed', 'other heads');
SELECT is(pg_temp.after('UPDATE hansard.seal_heads SET messages = 7 WHERE seal_no = 2'), 'broken 2 heads changed', 'another number of messages');
SELECT is(pg_temp.after('DELETE FROM hansard.seal_heads WHERE seal_no = 3'), 'broken 3 heads missing or added', 'a head taken away');
SELECT is(pg_temp.after('UPDATE hansard.seals SET root = sha256(root) WHERE seal_no = 2'), 'broken 2 hash does not fit', 'another root');
SELECT is(pg_temp.after('UPDATE hansard.seals SET sealed_at = now() - interval ''1 year'' WHERE seal_no = 4'), 'broken 4 hash does not fit', 'another time');
SELECT is(pg_temp.after('UPDATE hansard.seals SET root = sha256(root), hash = hansard.seal_hash(seal_no, sealed_at, from_at, to_at, heads, sha256(root), previous)
                         WHERE seal_no = 2'), 'broken 2 heads changed, broken 3 not made after the seal before', '... and its hash');
SELECT is(pg_temp.after('DELETE FROM hansard.seals WHERE seal_no = 2'), 'broken 3 seal before missing', 'a seal taken away');
SELECT is(pg_temp.after('DELETE FROM hansard.seals WHERE seal_no = 4'), 'broken 4 seal missing', 'the last, with its heads left');
-- What the chain alone does not show: the tail of a conversation that is no session's any more.
CREATE TEMP TABLE b AS SELECT pg_temp.conversation('b') AS id;
CREATE FUNCTION pg_temp.verify_b() RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(concat_ws(' ', status, problem), ', ') FROM b, hansard_audit.verify(b.id) $$;
DELETE FROM hansard.sessions WHERE session_key = help.session_key('b');
DELETE FROM hansard.turns t USING b WHERE t.conversation_id = b.id AND t.turn_no = 2;
DELETE FROM hansard.messages m USING b WHERE m.conversation_id = b.id AND m.turn_no = 2;
SELECT is(pg_temp.verify_b(), 'broken not what seal 2 holds', 'a cut tail');
DELETE FROM hansard.turns t USING b WHERE t.conversation_id = b.id;
DELETE FROM hansard.messages m USING b WHERE m.conversation_id = b.id;
DELETE FROM hansard.conversations c USING b WHERE c.conversation_id = b.id;
SELECT is(pg_temp.verify_b(), 'broken conversation missing', 'a whole conversation');

-- What retention has dropped is not missing: an event says so, and the partition is not there.
CREATE TEMP TABLE long_ago AS SELECT overlay(hansard.uuid_floor('2025-01-15')::text PLACING '7' FROM 15)::uuid AS id;
INSERT INTO hansard.seal_heads SELECT id, 1, 2, sha256('x') FROM long_ago;
SELECT is(status, 'broken', 'one of a month that is not there') FROM long_ago, hansard_audit.verify(id);
INSERT INTO hansard.audit_events VALUES (gen_random_uuid(), now(), 'partition_dropped', NULL, NULL, '{"month": "202502"}'),
                                        (gen_random_uuid(), now(), 'partition_dropped', NULL, NULL, '{"month": 7}');
SELECT is(status, 'broken', 'another month was dropped') FROM long_ago, hansard_audit.verify(id);
INSERT INTO hansard.audit_events VALUES (gen_random_uuid(), now(), 'partition_dropped', NULL, NULL, '{"month": "202501"}');
SELECT is(status, 'gone', 'its month was dropped') FROM long_ago, hansard_audit.verify(id);
SELECT is(string_agg(h.conversation_id::text, ' '), (SELECT id::text FROM long_ago), 'the program is told the same')
FROM hansard_audit.seal_heads h WHERE h.is_dropped;
SELECT is(hansard.make_partition('messages', '2025-01-01'), true, 'the month is there again');
SELECT is(status, 'broken', '... then an event is no excuse') FROM long_ago, hansard_audit.verify(id);

-- Signatures.
SELECT is(hansard_api.sign_seal(1, sha256('other'), sha512('s'), '0123456789abcdef'), false, 'a signature of another hash is not kept');
SELECT is(hansard_api.sign_seal(1, hash, sha512('s'), '0123456789abcdef'), true, 'one of this hash is') FROM hansard.seals WHERE seal_no = 1;
SELECT is(hansard_api.sign_seal(1, hash, sha512('s'), '0123456789abcdef'), true, 'twice is once') FROM hansard.seals WHERE seal_no = 1;
SELECT is(hansard_api.sign_seal(1, hash, sha512('t'), '0123456789abcdef'), false, 'it is not written over') FROM hansard.seals WHERE seal_no = 1;
SELECT is(signature, sha512('s'), '... nor was it') FROM hansard.seals WHERE seal_no = 1;
SELECT is(help.tries('hansard_auditor', $$SELECT * FROM hansard_audit.seals, hansard_audit.verify_seals()$$), 'done', 'auditors may look');

SELECT * FROM finish();
ROLLBACK;
