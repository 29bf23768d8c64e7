-- Jobs, once more: who has left is remembered for a while.

SET LOCAL ROLE hansard_owner;

ALTER TABLE hansard.workers ADD COLUMN has_left boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN hansard.workers.has_left IS 'It said that it stops: what it left behind did not see it die.';
COMMENT ON COLUMN hansard.workers.lost_at IS 'When it was declared dead, or left; NULL: alive.';

RESET ROLE;
