-- During a rolling upgrade, workers of the release before go on asking as they did: in these very words, with types left to
-- the server, as that role. (What it returns besides is not asked for.)
BEGIN;
SELECT plan(16);
SELECT help.worker('new');
GRANT USAGE ON SCHEMA tap, help TO hansard_app;
GRANT TEMPORARY ON DATABASE :"DBNAME" TO hansard_app;
SET LOCAL ROLE hansard_app;

PREPARE old_lease AS
    SELECT hansard_api.lease_permits($1::uuid, $2::text, $3::text, $4::int, $5::uuid, $6::int, $7::int, $8::int, $9::int,
                                     $10::int, $11::int);
PREPARE old_accept AS
    SELECT item, outcome, session_key, conversation_id, turn_no, attempt, history, history_after, reply, model, prompt_tokens,
           completion_tokens, error_code, policy, quota_limit, quota_window_s, quota_remaining, quota_reset_ms, retry_after_ms,
           tokens_limit, tokens_remaining, tokens_reset_ms
    FROM hansard_api.accept_turns($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);
PREPARE old_finish AS
    SELECT item, outcome FROM hansard_api.finish_turns($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

PREPARE old_seal AS SELECT hansard_api.seal($1::bigint, $2::bigint, $3::int);

CREATE TEMP TABLE lease (numbers) AS EXECUTE old_lease(help.id('old'), 'name', 'version', 1, NULL, 0, 0, 10, 0, 6000, 110000);
SELECT is(cardinality(numbers), 3, 'a heartbeat is answered with three numbers') FROM lease;
SELECT is(numbers[2:3], '{10,10}', '... of which two are permits') FROM lease;
CREATE TEMP TABLE capped (numbers) AS EXECUTE old_lease(help.id('old'), 'name', 'version', 2, NULL, 0, 5, 10, 8, 6000, 110000);
SELECT is(cardinality(numbers), 3, '... also under a cap') FROM capped;

-- A live turn.
CREATE TEMP TABLE accepted AS EXECUTE old_accept(
    help.id('old'), 20, 65536, 86400000, ARRAY[NULL]::bytea[], '{a}', '{s}', '{hello}', '{k1}', ARRAY[help.hash('hello')],
    ARRAY[help.id('r1')]::text[], ARRAY[NULL]::uuid[], ARRAY[NULL]::integer[], '{false}');
SELECT is(ROW(item, outcome, turn_no, attempt), ROW(1, 'accepted'::text, 1, 1), 'a turn is accepted') FROM accepted;
SELECT session_key AS key, conversation_id AS conversation FROM accepted \gset

-- A worker of this release queues a job behind it.
RESET ROLE;
SELECT is(help.outcomes('new', '{"job": true, "words": "job", "address": "a"}'), 'queued', 'a job is queued behind it');
SET LOCAL ROLE hansard_app;
CREATE TEMP TABLE waiting AS EXECUTE old_accept(
    help.id('old'), 20, 65536, 86400000, ARRAY[NULL]::bytea[], '{a}', '{s}', '{live}', '{k3}', ARRAY[help.hash('live')],
    ARRAY[help.id('r3')]::text[], ARRAY[NULL]::uuid[], ARRAY[NULL]::integer[], '{false}');
SELECT is(outcome, 'waiting', 'another live turn waits') FROM waiting;

CREATE TEMP TABLE finished AS EXECUTE old_finish(
    ARRAY[help.id('old')], ARRAY[:'key']::bytea[], ARRAY[:'conversation']::uuid[], '{1}', '{1}',
    '{completed}', '{"hi there"}', '{m}', '{1}', '{2}', ARRAY[NULL]::text[], '{5}', '{1}');
SELECT is(ROW(item, outcome), ROW(1, 'finished'::text), 'the turn is finished') FROM finished;
RESET ROLE;
SELECT is(help.jobs(), 's 2 (ready)', '... and the job is next');
SET LOCAL ROLE hansard_app;
CREATE TEMP TABLE behind AS EXECUTE old_accept(
    help.id('old'), 20, 65536, 86400000, ARRAY[NULL]::bytea[], '{a}', '{s}', '{live}', '{k3}', ARRAY[help.hash('live')],
    ARRAY[help.id('r3')]::text[], ARRAY[NULL]::uuid[], ARRAY[NULL]::integer[], '{false}');
SELECT is(outcome, 'waiting', '... before the live turn') FROM behind;

-- The job is done, by a worker of this release.
RESET ROLE;
SELECT is(help.claim('new'), 's 2 1 job', 'the other worker claims it');
SELECT is(help.finishes('{"answer": "done"}'), 'finished', '... and ends it');
SET LOCAL ROLE hansard_app;
CREATE TEMP TABLE after AS EXECUTE old_accept(
    help.id('old'), 20, 65536, 86400000, ARRAY[NULL]::bytea[], '{a}', '{s}', '{live}', '{k3}', ARRAY[help.hash('live')],
    ARRAY[help.id('r3')]::text[], ARRAY[:'conversation']::uuid[], '{1}', '{false}');
SELECT is(ROW(outcome, turn_no), ROW('accepted'::text, 3), 'then comes the live turn') FROM after;
SELECT is(ROW(history, history_after), ROW('{job,done}'::text[], 1), '... which sees the job') FROM after;
CREATE TEMP TABLE finished_after AS EXECUTE old_finish(
    ARRAY[help.id('old')], ARRAY[:'key']::bytea[], ARRAY[:'conversation']::uuid[], '{3}', '{1}',
    '{failed}', ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::integer[], ARRAY[NULL]::integer[], '{model_failed}',
    ARRAY[NULL]::integer[], '{3}');
SELECT is(ROW(item, outcome), ROW(1, 'finished'::text), 'which fails') FROM finished_after;

-- It wants to hear of a seal, or nothing.
RESET ROLE;
UPDATE hansard.messages SET created_at = created_at - interval '1 hour';
SET LOCAL ROLE hansard_app;
CREATE TEMP TABLE sealed (seal) AS EXECUTE old_seal(0, 60000, 1000);
SELECT is(seal::jsonb ->> 'heads', '1', 'it may make a seal') FROM sealed;
CREATE TEMP TABLE nothing (seal) AS EXECUTE old_seal(0, 60000, 1000);
SELECT is(seal, NULL, '... and is told when there is none to make') FROM nothing;

SELECT * FROM finish();
ROLLBACK;
