-- Reading the record: what auditors need of the tables, and what their role may do.

-- A role-wide timeout is a habit, not a fence: who wants can set another. What an auditor cannot do is refused by privileges.
ALTER ROLE hansard_auditor SET statement_timeout = '60s';
ALTER ROLE hansard_auditor SET lock_timeout = '5s';
ALTER ROLE hansard_auditor SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE hansard_auditor SET default_transaction_read_only = on;
-- Conversations, turns and messages are partitioned alike: month by month they are joined for a fraction of the cost, and
-- a month that is left out of one is left out of all.
ALTER ROLE hansard_auditor SET enable_partitionwise_join = on;
ALTER ROLE hansard_auditor SET enable_partitionwise_aggregate = on;
ALTER ROLE hansard_auditor SET work_mem = '64MB';
ALTER ROLE hansard_auditor SET jit = off;

DO $$
BEGIN
    -- Neither role has use for temporary tables, and an auditor's could fill the disk.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

SET LOCAL ROLE hansard_owner;

COMMENT ON SCHEMA hansard_audit IS 'What auditors may read: views, and functions that only read.';
COMMENT ON COLUMN hansard.audit_events.kind IS
    'key_added, key_revoked, tier_changed, price_set, limit_reached, conversation_erased, user_erased, retention_applied, '
    'partition_dropped, scrubbed, webhook_given_up.';
COMMENT ON SCHEMA hansard_admin IS 'What operators may call as the owner: callers, their keys, prices.';

CREATE TABLE hansard.prices (
    model            text NOT NULL CHECK (octet_length(model) BETWEEN 1 AND 200),
    valid_from       timestamptz NOT NULL,
    prompt_price     numeric NOT NULL CHECK (prompt_price >= 0 AND prompt_price < 1000000000),
    completion_price numeric NOT NULL CHECK (completion_price >= 0 AND completion_price < 1000000000),
    currency         text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    PRIMARY KEY (model, valid_from)
);
COMMENT ON TABLE hansard.prices IS 'What tokens of a model cost, from when on. hansard_admin.set_price() writes it.';
COMMENT ON COLUMN hansard.prices.model IS 'Model, by the word it goes by in turns.';
COMMENT ON COLUMN hansard.prices.valid_from IS 'For turns accepted from then on, until the next price of the model.';
COMMENT ON COLUMN hansard.prices.prompt_price IS 'Of a million tokens of prompts.';
COMMENT ON COLUMN hansard.prices.completion_price IS 'Of a million tokens of answers.';
COMMENT ON COLUMN hansard.prices.currency IS 'ISO 4217, as EUR.';

-- What a turn writes is in the order of time, so a block range index finds a time for almost nothing: an entry for every
-- 128 pages, made behind the writers' backs. A B-tree would be one more to grow with each turn. The day is in it as well, for
-- it is what usage is grouped and asked by.
CREATE INDEX turns_time ON hansard.turns USING brin (accepted_at, ((accepted_at AT TIME ZONE 'UTC')::date))
    WITH (autosummarize = on);
CREATE INDEX messages_time ON hansard.messages USING brin (created_at) WITH (autosummarize = on);

-- Once a conversation, not once a turn.
CREATE INDEX conversations_owner ON hansard.conversations (user_id, conversation_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_events_time ON hansard.audit_events (happened_at);

CREATE TYPE hansard.message_place AS (
    conversation_id uuid,
    turn_no         integer,
    "position"      smallint
);
COMMENT ON TYPE hansard.message_place IS 'Key of a message: what search hands from one step to the next.';

RESET ROLE;
