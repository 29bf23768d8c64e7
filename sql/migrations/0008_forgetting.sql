-- Forgetting, to the end and not before the time: what names a caller outside his turns can be found by them, and how short
-- a retention workers may ask for is not theirs to say.

SET LOCAL ROLE hansard_owner;

-- By the turn whose webhook was given up: the host it was sent to goes with the turn's words.
CREATE INDEX audit_events_job ON hansard.audit_events ((detail ->> 'job_id') COLLATE "C")
    WHERE kind = 'webhook_given_up' AND detail ? 'host';
ALTER INDEX hansard.audit_events_job ALTER COLUMN 1 SET STATISTICS 0;

ALTER TABLE hansard.retention_walk ADD COLUMN shortest interval CHECK (shortest >= interval '0');
COMMENT ON COLUMN hansard.retention_walk.shortest IS
    'Least general retention that workers may ask for: the first that one asked for, until an operator changes it. 0: for '
    'ever; NULL: none has asked yet.';

RESET ROLE;
