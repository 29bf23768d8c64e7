-- Limits besides the rate, and permits for calls to the model that a whole fleet shares.

SET LOCAL ROLE hansard_owner;

-- Tiers ----------------------------------------------------------------------------------------------------------------

ALTER TABLE hansard.tiers
    ADD COLUMN parallel_turns  integer CHECK (parallel_turns BETWEEN 1 AND 1000000),
    ADD COLUMN tokens_per_day  bigint CHECK (tokens_per_day BETWEEN 1 AND 1000000000000),
    ADD COLUMN tokens_reserved integer NOT NULL DEFAULT 1000 CHECK (tokens_reserved BETWEEN 1 AND 10000000),
    ADD CHECK (tokens_per_day >= tokens_reserved);
COMMENT ON COLUMN hansard.tiers.parallel_turns IS 'Turns a caller may have open at once, in all sessions; NULL: as many as he likes.';
COMMENT ON COLUMN hansard.tiers.tokens_per_day IS 'Tokens a caller may use in a day (UTC), those of prompts and those of answers; NULL: not limited.';
COMMENT ON COLUMN hansard.tiers.tokens_reserved IS
    'Tokens reserved for an answer before the model is called; what the turn really used is settled when it ends.';

-- The rate limits' table is unlogged; what a day's tokens are counted in is not.
CREATE TABLE hansard.allowances (
    limit_key           text PRIMARY KEY,
    day                 date NOT NULL,
    tokens_spent        bigint NOT NULL,
    parallel_refused_at timestamptz,
    tokens_refused_at   timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE hansard.allowances IS
    'What callers of tiers with caps have used up. Its row is locked for the moment in which a turn of the caller is '
    'opened or closed: so the caps are exact over all workers.';
COMMENT ON COLUMN hansard.allowances.limit_key IS '"user:" and the user''s id, or "addr:" and the address.';
COMMENT ON COLUMN hansard.allowances.day IS 'Day (UTC) of tokens_spent.';
COMMENT ON COLUMN hansard.allowances.tokens_spent IS 'Tokens of the turns that ended on that day.';
COMMENT ON COLUMN hansard.allowances.parallel_refused_at IS 'When the cap on parallel turns was last noted as reached in audit_events.';
COMMENT ON COLUMN hansard.allowances.tokens_refused_at IS 'When the cap on tokens was last noted as reached in audit_events.';

CREATE TABLE hansard.holds (
    conversation_id uuid NOT NULL,
    turn_no         integer NOT NULL,
    limit_key       text NOT NULL,
    worker_id       uuid NOT NULL,
    tokens          bigint NOT NULL,
    PRIMARY KEY (conversation_id, turn_no)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX holds_owner ON hansard.holds (limit_key);
COMMENT ON TABLE hansard.holds IS 'Open turns of callers of tiers with caps, and the tokens reserved for each.';
COMMENT ON COLUMN hansard.holds.conversation_id IS 'Conversation of the turn.';
COMMENT ON COLUMN hansard.holds.turn_no IS 'The turn.';
COMMENT ON COLUMN hansard.holds.limit_key IS 'Caller, as in allowances.';
COMMENT ON COLUMN hansard.holds.worker_id IS 'Worker that answers it; a hold of a dead worker does not count.';
COMMENT ON COLUMN hansard.holds.tokens IS 'Tokens reserved.';

CREATE TYPE hansard.allowance_grant AS (
    refusal          text,
    tokens_limit     bigint,
    tokens_remaining bigint,
    reset_ms         integer,
    retry_after_ms   integer,
    tokens_reserved  bigint
);
COMMENT ON TYPE hansard.allowance_grant IS
    'What take_allowance says of one turn asked for. refusal: NULL (granted) or an SQLSTATE; tokens_limit NULL: no such cap.';

ALTER TABLE hansard.rate_limits ADD COLUMN refused_us bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN hansard.rate_limits.refused_us IS
    'When a refusal was last noted in audit_events, µs since 1970: the first one of each window is.';

-- Permits --------------------------------------------------------------------------------------------------------------

ALTER TABLE hansard.workers
    ADD COLUMN beat_no       integer NOT NULL DEFAULT 0,
    ADD COLUMN wanted        integer NOT NULL DEFAULT 0,
    ADD COLUMN most          integer NOT NULL DEFAULT 0,
    ADD COLUMN leased_until  timestamptz,
    ADD COLUMN permits_until timestamptz,
    ADD COLUMN buried_at     timestamptz;
COMMENT ON COLUMN hansard.workers.permits IS 'Model calls it may have in flight; with a cap on the fleet: leased to it.';
COMMENT ON COLUMN hansard.workers.beat_no IS 'Number of its newest heartbeat: one that comes late changes nothing.';
COMMENT ON COLUMN hansard.workers.wanted IS 'Permits it has use for: calls in flight and turns waiting for one.';
COMMENT ON COLUMN hansard.workers.most IS 'Permits it would take at most.';
COMMENT ON COLUMN hansard.workers.leased_until IS 'Until then it may begin calls; NULL: there is no cap on the fleet.';
COMMENT ON COLUMN hansard.workers.permits_until IS
    'By then all its calls have ended, even if it was never heard of again: no earlier are its permits given to others.';
COMMENT ON COLUMN hansard.workers.buried_at IS 'When the turns it left open were closed; NULL: not yet.';

RESET ROLE;
