-- Forgetting, to the end and not before the time: erasures that are too long for one transaction are gone on with, what names
-- a caller outside his turns can be found by them, and how short a retention workers may ask for is not theirs to say.

SET LOCAL ROLE hansard_owner;

-- By the turn whose webhook was given up: the host it was sent to goes with the turn's words.
CREATE INDEX audit_events_job ON hansard.audit_events ((detail ->> 'job_id') COLLATE "C")
    WHERE kind = 'webhook_given_up' AND detail ? 'host';
ALTER INDEX hansard.audit_events_job ALTER COLUMN 1 SET STATISTICS 0;

ALTER TABLE hansard.retention_walk ADD COLUMN shortest interval CHECK (shortest >= interval '0');
COMMENT ON COLUMN hansard.retention_walk.shortest IS
    'Least general retention that workers may ask for: the first that one asked for, until an operator changes it. 0: for '
    'ever; NULL: none has asked yet.';
ALTER TABLE hansard.retention_walk ADD COLUMN after_turn integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN hansard.retention_walk.after_turn IS
    'Turn up to which the conversation after after_id has been blanked, when it is too long for one step.';

CREATE TABLE hansard.erasures (
    conversation_id uuid PRIMARY KEY,
    session_key     bytea NOT NULL,
    user_id         uuid,
    request_id      uuid,
    asked_by        text,
    cancelled       integer NOT NULL,
    turns           integer NOT NULL DEFAULT 0,
    messages        integer NOT NULL DEFAULT 0,
    after_turn      integer NOT NULL DEFAULT 0,
    is_blank        boolean NOT NULL DEFAULT false,
    step_at         timestamptz NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX erasures_session ON hansard.erasures (session_key);
COMMENT ON TABLE hansard.erasures IS
    'Conversations that are being erased: closed for good, with words left for the steps to come. Rows of a session are '
    'deleted together, when nothing is left.';
COMMENT ON COLUMN hansard.erasures.conversation_id IS 'Conversation.';
COMMENT ON COLUMN hansard.erasures.session_key IS 'Its session.';
COMMENT ON COLUMN hansard.erasures.user_id IS 'Its owner; NULL: anonymous.';
COMMENT ON COLUMN hansard.erasures.request_id IS 'HTTP request that asked for it; NULL: an operator did.';
COMMENT ON COLUMN hansard.erasures.asked_by IS 'Role of the operator who asked for it; NULL: a caller did.';
COMMENT ON COLUMN hansard.erasures.cancelled IS 'Turns that were open.';
COMMENT ON COLUMN hansard.erasures.turns IS 'Blanked so far.';
COMMENT ON COLUMN hansard.erasures.messages IS 'Theirs.';
COMMENT ON COLUMN hansard.erasures.after_turn IS 'Turn up to which it is blanked.';
COMMENT ON COLUMN hansard.erasures.is_blank IS 'All of it is.';
COMMENT ON COLUMN hansard.erasures.step_at IS 'When the last step was made: after a while without one, somebody else goes on.';

RESET ROLE;
