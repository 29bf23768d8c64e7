-- Jobs, once more: failures are counted apart from attempts, claims are numbered, and who has left is remembered for a while.

SET LOCAL ROLE hansard_owner;

ALTER TABLE hansard.jobs ADD COLUMN failures smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN hansard.jobs.failures IS
    'How often it was handed back because its call failed while its model was in trouble. No other hand-back counts, and no '
    'death.';

ALTER TABLE hansard.workers
    ADD COLUMN claim_no integer NOT NULL DEFAULT 0,
    ADD COLUMN has_left boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN hansard.workers.claim_no IS
    'Number of its newest claim of jobs. The worker raises it when the reply to one was lost: a claim that comes later than '
    'that, with an older number, does nothing.';
COMMENT ON COLUMN hansard.workers.has_left IS 'It said that it stops: what it left behind did not see it die.';
COMMENT ON COLUMN hansard.workers.lost_at IS 'When it was declared dead, or left; NULL: alive.';

COMMENT ON COLUMN hansard.webhooks.attempts IS
    'How often it was taken for sending, and not given back; fences the outcome of an earlier attempt.';

RESET ROLE;
