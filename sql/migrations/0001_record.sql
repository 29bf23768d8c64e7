-- The record: who may speak, what was said, and by which worker it is being answered.
--
-- Every key and unique index of a large table leads with conversation_id (sessions and limits with their own key), so
-- that the tables can be distributed by it without a rewrite. Nobody but hansard_owner may touch a table: workers and
-- auditors get functions and views. There are no foreign keys between the partitioned tables: the functions are the only
-- writers, a check per row would be paid on every turn, and dropping a month must not wait for one.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hansard_owner') THEN
        CREATE ROLE hansard_owner NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hansard_app') THEN
        CREATE ROLE hansard_app LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hansard_auditor') THEN
        CREATE ROLE hansard_auditor LOGIN;
    END IF;
    IF NOT pg_has_role(current_user, 'hansard_owner', 'MEMBER') THEN
        EXECUTE format('GRANT hansard_owner TO %I', current_user);
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO hansard_owner', current_database());
END
$$;

-- What a transaction pooler cannot carry per session is set per role.
ALTER ROLE hansard_app SET statement_timeout = '5s';
ALTER ROLE hansard_app SET lock_timeout = '2s';
ALTER ROLE hansard_app SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE hansard_app SET jit = off;
ALTER ROLE hansard_app SET synchronous_commit = on;

ALTER SCHEMA hansard OWNER TO hansard_owner;
ALTER TABLE hansard.schema_migrations OWNER TO hansard_owner;
ALTER TABLE hansard.schema_functions OWNER TO hansard_owner;

SET LOCAL ROLE hansard_owner;

CREATE SCHEMA hansard_api;
CREATE SCHEMA hansard_audit;
CREATE SCHEMA hansard_admin;
COMMENT ON SCHEMA hansard IS 'Tables. Private: no grants to anyone.';
COMMENT ON SCHEMA hansard_api IS 'What workers may call: functions only.';
COMMENT ON SCHEMA hansard_audit IS 'What auditors may read: views only.';
COMMENT ON SCHEMA hansard_admin IS 'What operators may call as the owner: callers and their keys.';
GRANT USAGE ON SCHEMA hansard_api TO hansard_app;
GRANT USAGE ON SCHEMA hansard_audit TO hansard_auditor;
ALTER DEFAULT PRIVILEGES FOR ROLE hansard_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE hansard_owner REVOKE USAGE ON TYPES FROM PUBLIC;

-- Callers --------------------------------------------------------------------------------------------------------------

CREATE TABLE hansard.tiers (
    tier            text PRIMARY KEY CHECK (tier ~ '^[a-z][a-z0-9_-]{0,30}$'),
    rate_per_minute integer CHECK (rate_per_minute BETWEEN 1 AND 60000000),
    burst           integer NOT NULL CHECK (burst BETWEEN 1 AND 1000000)
);
COMMENT ON TABLE hansard.tiers IS 'Classes of callers and what each may ask for.';
COMMENT ON COLUMN hansard.tiers.tier IS 'Name of the class; "anonymous" is that of callers without a key.';
COMMENT ON COLUMN hansard.tiers.rate_per_minute IS 'Turns per minute in the long run; NULL: not limited.';
COMMENT ON COLUMN hansard.tiers.burst IS 'Turns that may come at once after a rest.';
INSERT INTO hansard.tiers VALUES ('anonymous', 10, 10), ('free', 20, 20), ('paid', 120, 120);

CREATE TABLE hansard.users (
    user_id    uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (octet_length(name) BETWEEN 1 AND 200),
    tier       text NOT NULL REFERENCES hansard.tiers,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE hansard.users IS 'Callers that have a key.';
COMMENT ON COLUMN hansard.users.user_id IS 'UUIDv7.';
COMMENT ON COLUMN hansard.users.name IS 'What operators call this caller.';
COMMENT ON COLUMN hansard.users.tier IS 'Class of limits; takes effect at the next request.';
COMMENT ON COLUMN hansard.users.created_at IS 'When the first key was made.';

CREATE TABLE hansard.api_keys (
    key_hash   bytea PRIMARY KEY CHECK (octet_length(key_hash) = 32),
    user_id    uuid NOT NULL REFERENCES hansard.users,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX api_keys_user ON hansard.api_keys (user_id);
COMMENT ON TABLE hansard.api_keys IS 'Hashes of API keys; the keys themselves are nowhere.';
COMMENT ON COLUMN hansard.api_keys.key_hash IS 'SHA-256 of the key. Keys hold 256 random bits, so no salt is needed.';
COMMENT ON COLUMN hansard.api_keys.user_id IS 'Whose key it is.';
COMMENT ON COLUMN hansard.api_keys.created_at IS 'When the key was made.';
COMMENT ON COLUMN hansard.api_keys.revoked_at IS 'From then on the key is refused; NULL: in force.';

-- The record -----------------------------------------------------------------------------------------------------------

-- The tables of the hot path have few checks on purpose: PostgreSQL reads a check's expression anew in every statement
-- that writes, which is dear when a statement writes one row. Types say most of what checks would.
CREATE TYPE hansard.turn_state AS ENUM ('queued', 'running', 'completed', 'failed', 'cancelled');
COMMENT ON TYPE hansard.turn_state IS 'queued → running → completed | failed | cancelled.';
CREATE TYPE hansard.message_role AS ENUM ('user', 'assistant');
COMMENT ON TYPE hansard.message_role IS 'Who speaks.';

CREATE TABLE hansard.sessions (
    session_key     bytea PRIMARY KEY,
    user_id         uuid,
    session_id      text NOT NULL,
    conversation_id uuid NOT NULL,
    next_turn       integer NOT NULL,
    unanswered      integer NOT NULL,
    open_turn       integer,
    open_worker     uuid,
    chain_head      bytea NOT NULL,
    last_activity   timestamptz NOT NULL,
    CHECK ((open_turn IS NULL) = (open_worker IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE hansard.sessions IS
    'The hot row of a session: locked for the moment in which a turn is opened or closed, never while a model is asked. '
    'Only the key is indexed, so that every update stays within its page (HOT).';
COMMENT ON COLUMN hansard.sessions.session_key IS 'SHA-256 of owner and session id: hansard.session_key().';
COMMENT ON COLUMN hansard.sessions.user_id IS 'Owner; NULL: anonymous, then the session id alone is the capability.';
COMMENT ON COLUMN hansard.sessions.session_id IS 'As the caller named it.';
COMMENT ON COLUMN hansard.sessions.conversation_id IS 'The current conversation; a session idle for too long gets a new one.';
COMMENT ON COLUMN hansard.sessions.next_turn IS 'Number the next turn of the conversation will have.';
COMMENT ON COLUMN hansard.sessions.unanswered IS 'Turns of the conversation that ended without an answer.';
COMMENT ON COLUMN hansard.sessions.open_turn IS 'Turn being answered; NULL: none. At most one at a time: that is the order.';
COMMENT ON COLUMN hansard.sessions.open_worker IS 'Worker that answers it; the turn is open only while this worker lives.';
COMMENT ON COLUMN hansard.sessions.chain_head IS 'Chain hash of the newest message of the conversation.';
COMMENT ON COLUMN hansard.sessions.last_activity IS 'When a turn was last opened or closed.';

CREATE TABLE hansard.conversations (
    conversation_id uuid NOT NULL,
    session_key     bytea NOT NULL,
    user_id         uuid,
    session_id      text,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (conversation_id)
) PARTITION BY RANGE (conversation_id);
CREATE INDEX conversations_session ON hansard.conversations (session_key);
COMMENT ON TABLE hansard.conversations IS 'Header of a conversation, written once. Monthly partitions by the time in the UUIDv7.';
COMMENT ON COLUMN hansard.conversations.conversation_id IS 'UUIDv7 made by the database, so that its clock alone picks the partition.';
COMMENT ON COLUMN hansard.conversations.session_key IS 'Session it belongs to.';
COMMENT ON COLUMN hansard.conversations.user_id IS 'Owner; NULL: anonymous.';
COMMENT ON COLUMN hansard.conversations.session_id IS 'As the caller named it; NULL once erased.';
COMMENT ON COLUMN hansard.conversations.created_at IS 'When its first turn was accepted.';

CREATE TABLE hansard.turns (
    conversation_id   uuid NOT NULL,
    turn_no           integer NOT NULL,
    state             hansard.turn_state NOT NULL,
    idempotency_key   text NOT NULL,
    fingerprint       bytea NOT NULL,
    request_id        uuid NOT NULL,
    address           text,
    worker_id         uuid,
    attempt           smallint NOT NULL,
    model_attempts    smallint,
    accepted_at       timestamptz NOT NULL,
    first_byte_at     timestamptz,
    finished_at       timestamptz,
    model             text,
    prompt_tokens     integer,
    completion_tokens integer,
    error_code        text,
    PRIMARY KEY (conversation_id, turn_no),
    UNIQUE (conversation_id, idempotency_key),
    CHECK ((finished_at IS NULL) = (state IN ('queued', 'running')))
) PARTITION BY RANGE (conversation_id);
COMMENT ON TABLE hansard.turns IS 'One question and the fate of its answer.';
COMMENT ON COLUMN hansard.turns.conversation_id IS 'Conversation it belongs to.';
COMMENT ON COLUMN hansard.turns.turn_no IS 'Place in the conversation: 1, 2, 3 … without a gap.';
COMMENT ON COLUMN hansard.turns.state IS 'queued → running → completed | failed | cancelled.';
COMMENT ON COLUMN hansard.turns.idempotency_key IS 'The caller''s, or one the worker made for the request.';
COMMENT ON COLUMN hansard.turns.fingerprint IS 'SHA-256 of what the request asks, to tell a repeat from another request under the same key.';
COMMENT ON COLUMN hansard.turns.request_id IS 'UUIDv7 of the HTTP request that opened it, or took it over.';
COMMENT ON COLUMN hansard.turns.address IS 'Address the request was counted under; an IPv6 address by its /64.';
COMMENT ON COLUMN hansard.turns.worker_id IS 'Worker that answers or answered it.';
COMMENT ON COLUMN hansard.turns.attempt IS 'Rises when another worker takes the turn over; with worker_id it fences late results.';
COMMENT ON COLUMN hansard.turns.model_attempts IS 'Calls to the model server, repeats included.';
COMMENT ON COLUMN hansard.turns.accepted_at IS 'When it was committed.';
COMMENT ON COLUMN hansard.turns.first_byte_at IS 'When the first byte of the model''s answer came; NULL: none came.';
COMMENT ON COLUMN hansard.turns.finished_at IS 'When it ended, in whatever way.';
COMMENT ON COLUMN hansard.turns.model IS 'Model that answered, by its own word.';
COMMENT ON COLUMN hansard.turns.prompt_tokens IS 'By the model server''s word.';
COMMENT ON COLUMN hansard.turns.completion_tokens IS 'By the model server''s word.';
COMMENT ON COLUMN hansard.turns.error_code IS 'Why it failed: the code of the API''s error bodies.';

CREATE TABLE hansard.messages (
    conversation_id uuid NOT NULL,
    turn_no         integer NOT NULL,
    position        smallint NOT NULL,
    role            hansard.message_role NOT NULL,
    text            text COMPRESSION lz4,
    created_at      timestamptz NOT NULL,
    salt            bytea,
    text_hash       bytea NOT NULL,
    chain_hash      bytea NOT NULL,
    PRIMARY KEY (conversation_id, turn_no, position)
) PARTITION BY RANGE (conversation_id);
COMMENT ON TABLE hansard.messages IS 'What was said. Append-only: only erasure changes a row, and only its text and salt.';
COMMENT ON COLUMN hansard.messages.conversation_id IS 'Conversation it belongs to.';
COMMENT ON COLUMN hansard.messages.turn_no IS 'Turn it belongs to.';
COMMENT ON COLUMN hansard.messages.position IS 'Place in the turn: 1 the user''s words, 2 the answer.';
COMMENT ON COLUMN hansard.messages.role IS 'Who speaks.';
COMMENT ON COLUMN hansard.messages.text IS 'The words; NULL once erased.';
COMMENT ON COLUMN hansard.messages.created_at IS 'When it was committed.';
COMMENT ON COLUMN hansard.messages.salt IS '16 random bytes; NULL once erased, so that the words cannot be guessed from their hash.';
COMMENT ON COLUMN hansard.messages.text_hash IS 'SHA-256 of salt and UTF-8 bytes of the text.';
COMMENT ON COLUMN hansard.messages.chain_hash IS 'SHA-256 over the hash before it and this row: hansard.chain_hash().';

-- What accept_turns and take_quota hand from one step to the next.
CREATE TYPE hansard.accept_draft AS (
    item            integer,
    verdict         text,
    session_key     bytea,
    user_id         uuid,
    session_id      text,
    conversation_id uuid,
    has_session     boolean,
    is_fresh        boolean,
    turn_no         integer,
    attempt         smallint,
    unanswered      integer,
    orphan          integer,
    chain_head      bytea
);
COMMENT ON TYPE hansard.accept_draft IS
    'What is to become of one item of accept_turns. verdict: new, again, takeover, replayed, waiting, or an SQLSTATE.';
CREATE TYPE hansard.quota_grant AS (
    is_granted     boolean,
    remaining      integer,
    reset_ms       integer,
    retry_after_ms integer
);
COMMENT ON TYPE hansard.quota_grant IS 'What take_quota says of one turn asked for; all NULL: not limited.';

-- Machinery ------------------------------------------------------------------------------------------------------------

CREATE TABLE hansard.workers (
    worker_id    uuid PRIMARY KEY,
    name         text NOT NULL,
    version      text NOT NULL,
    started_at   timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    lost_at      timestamptz,
    permits      integer NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE hansard.workers IS 'One row a worker, from its first heartbeat until a while after its last.';
COMMENT ON COLUMN hansard.workers.worker_id IS 'UUIDv7 made by the worker at its start; a worker declared lost must take a new one.';
COMMENT ON COLUMN hansard.workers.name IS 'Address it listens on.';
COMMENT ON COLUMN hansard.workers.version IS 'Its release.';
COMMENT ON COLUMN hansard.workers.started_at IS 'First heartbeat.';
COMMENT ON COLUMN hansard.workers.heartbeat_at IS 'Newest heartbeat; silent for hansard.worker_patience() it is dead.';
COMMENT ON COLUMN hansard.workers.lost_at IS 'When it was declared dead; NULL: alive.';
COMMENT ON COLUMN hansard.workers.permits IS 'Model calls it may have in flight.';

CREATE UNLOGGED TABLE hansard.rate_limits (
    limit_key   text PRIMARY KEY,
    tat_us      bigint NOT NULL,
    emission_us bigint NOT NULL,
    burst       integer NOT NULL,
    granted     integer NOT NULL,
    seen_us     bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE hansard.rate_limits IS
    'Counters of the rate limits. Unlogged: empty after a crash, on purpose; the cap on model calls is the backstop.';
COMMENT ON COLUMN hansard.rate_limits.limit_key IS '"user:" and the user''s id, or "addr:" and the address.';
COMMENT ON COLUMN hansard.rate_limits.tat_us IS 'Theoretical arrival time of the generic cell rate algorithm (ITU-T I.371), µs since 1970.';
COMMENT ON COLUMN hansard.rate_limits.emission_us IS 'Time one turn costs, µs: one minute over the rate.';
COMMENT ON COLUMN hansard.rate_limits.burst IS 'Turns that may come at once.';
COMMENT ON COLUMN hansard.rate_limits.granted IS 'Turns the newest batch was granted.';
COMMENT ON COLUMN hansard.rate_limits.seen_us IS 'When that was decided, µs since 1970: whoever waited for the row decides no earlier.';

CREATE TABLE hansard.audit_events (
    event_id    uuid PRIMARY KEY,
    happened_at timestamptz NOT NULL,
    kind        text NOT NULL,
    user_id     uuid,
    request_id  uuid,
    detail      jsonb NOT NULL
);
COMMENT ON TABLE hansard.audit_events IS 'What was done to callers and to the record besides turns. Append-only.';
COMMENT ON COLUMN hansard.audit_events.event_id IS 'UUIDv7.';
COMMENT ON COLUMN hansard.audit_events.happened_at IS 'When it was committed.';
COMMENT ON COLUMN hansard.audit_events.kind IS 'key_added, key_revoked, tier_changed, conversation_erased …';
COMMENT ON COLUMN hansard.audit_events.user_id IS 'Whom it concerns; NULL: anonymous or nobody.';
COMMENT ON COLUMN hansard.audit_events.request_id IS 'HTTP request that caused it; NULL: an operator did.';
COMMENT ON COLUMN hansard.audit_events.detail IS 'Facts of the kind; never words of a conversation, never a key.';

RESET ROLE;
