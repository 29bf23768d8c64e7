-- Webhooks: who wants to be told that a job has ended, and has not been yet.

SET LOCAL ROLE hansard_owner;

-- A row a message, for as long as it is not delivered: next_at is indexed, for the table is small and the look at what is due
-- is made by every worker all the time.
CREATE TABLE hansard.webhooks (
    conversation_id uuid NOT NULL,
    turn_no         integer NOT NULL,
    url             text NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 2000),
    attempts        integer NOT NULL CHECK (attempts >= 0),
    next_at         timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (conversation_id, turn_no)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX webhooks_due ON hansard.webhooks (next_at);
COMMENT ON TABLE hansard.webhooks IS
    'Messages about jobs that have ended, until each is delivered or given up. What a message says is read from the record '
    'when it is sent, so that erased words are not sent any more.';
COMMENT ON COLUMN hansard.webhooks.conversation_id IS 'Conversation of the job.';
COMMENT ON COLUMN hansard.webhooks.turn_no IS 'Its turn.';
COMMENT ON COLUMN hansard.webhooks.url IS 'Where to, as the caller gave it; checked by the worker that took the job, and again before each sending.';
COMMENT ON COLUMN hansard.webhooks.attempts IS 'How often it was taken for sending; fences the outcome of an earlier attempt.';
COMMENT ON COLUMN hansard.webhooks.next_at IS 'When it is due; while it is being sent: when somebody else may try.';
COMMENT ON COLUMN hansard.webhooks.created_at IS 'When the job had ended.';

RESET ROLE;
