-- Callers, prices and texts that bench/audit_seed.sql makes conversations of. Variable of psql: callers (how many).

\set ON_ERROR_STOP on
SELECT setseed(0.5);
CREATE SCHEMA bench;

INSERT INTO hansard.users (user_id, name, tier, created_at)
SELECT md5('caller ' || i)::uuid, 'caller ' || i, 'paid', now() - interval '1 year'
FROM generate_series(0, :callers - 1) AS i;
INSERT INTO hansard.api_keys (key_hash, user_id, created_at)
SELECT sha256(name::bytea), user_id, created_at FROM hansard.users;
CREATE TABLE bench.callers AS SELECT i AS caller, md5('caller ' || i)::uuid AS user_id FROM generate_series(0, :callers - 1) AS i;
SELECT hansard_admin.set_price('small', now() - interval '3 years', 0.5, 1.5, 'EUR');
SELECT hansard_admin.set_price('small', now() - interval '45 days', 0.4, 1.2, 'EUR');
SELECT hansard_admin.set_price('large', now() - interval '3 years', 5, 15, 'EUR');

-- Words as seldom as those of a language: the one in place k comes about 1/k as often as the first.
CREATE FUNCTION bench.words(many integer) RETURNS text
LANGUAGE sql VOLATILE
AS $$ SELECT string_agg('w' || substr(md5(floor(exp(random() * ln(20000)))::text), 1, 6), ' ') FROM generate_series(1, many) $$;
CREATE TABLE bench.texts AS
SELECT n, bench.words(8 + n % 10) AS question, bench.words(20 + n % 80) AS answer FROM generate_series(0, 4999) AS n;
ANALYZE bench.texts, bench.callers, hansard.users;

CREATE FUNCTION bench.chain_step(before bytea, start bytea, conversation_id uuid, turn_no integer, "position" smallint, role text,
                                 created_at timestamptz, text_hash bytea) RETURNS bytea
LANGUAGE sql STABLE
RETURN hansard.chain_hash(coalesce(before, start), conversation_id, turn_no, "position", role, created_at, text_hash);
CREATE AGGREGATE bench.chain(start bytea, conversation_id uuid, turn_no integer, "position" smallint, role text,
                             created_at timestamptz, text_hash bytea) (SFUNC = bench.chain_step, STYPE = bytea);
