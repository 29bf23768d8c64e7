-- Background jobs: turns that nobody waits for.

SET LOCAL ROLE hansard_owner;

ALTER TABLE hansard.sessions ADD COLUMN jobs integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN hansard.sessions.jobs IS
    'Jobs of the conversation that have not ended, one of which may be its open turn. While there are any, live turns wait, '
    'and the session begins no new conversation.';

ALTER TABLE hansard.turns ADD COLUMN is_job boolean NOT NULL DEFAULT false;
ALTER TABLE hansard.turns ADD COLUMN started_at timestamptz;
COMMENT ON COLUMN hansard.turns.is_job IS 'Accepted to be answered in the background; else its caller waited.';
COMMENT ON COLUMN hansard.turns.started_at IS 'When a worker last claimed the job; NULL: not yet, or it is no job.';
COMMENT ON COLUMN hansard.turns.attempt IS
    'Rises when a worker claims the job, or takes the turn over; with worker_id it fences late results. 0: not claimed yet.';

CREATE TABLE hansard.jobs (
    conversation_id uuid NOT NULL,
    turn_no         integer NOT NULL,
    session_key     bytea NOT NULL,
    limit_key       text NOT NULL,
    queued_at       timestamptz NOT NULL,
    is_ready        boolean NOT NULL,
    worker_id       uuid,
    deaths          smallint NOT NULL DEFAULT 0,
    webhook         text,
    PRIMARY KEY (conversation_id, turn_no),
    CHECK (NOT is_ready OR worker_id IS NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX jobs_ready ON hansard.jobs (queued_at) WHERE is_ready;
CREATE INDEX jobs_owner ON hansard.jobs (limit_key);
CREATE INDEX jobs_running ON hansard.jobs (worker_id) WHERE worker_id IS NOT NULL;
COMMENT ON TABLE hansard.jobs IS
    'Jobs that are queued or running; a row is deleted when its job ends. Small and hot: what lasts is in turns and messages.';
COMMENT ON COLUMN hansard.jobs.conversation_id IS 'Conversation of the turn.';
COMMENT ON COLUMN hansard.jobs.turn_no IS 'The turn.';
COMMENT ON COLUMN hansard.jobs.session_key IS 'Its session: whose row is locked before this one.';
COMMENT ON COLUMN hansard.jobs.limit_key IS 'Caller, as in rate_limits: each may have so many jobs.';
COMMENT ON COLUMN hansard.jobs.queued_at IS 'When it was accepted: its place in line, also after a worker died of it.';
COMMENT ON COLUMN hansard.jobs.is_ready IS 'May be claimed: every earlier turn of its conversation has ended.';
COMMENT ON COLUMN hansard.jobs.worker_id IS 'Worker that runs it; NULL: queued.';
COMMENT ON COLUMN hansard.jobs.deaths IS 'Workers that died while they ran it; the third is its end.';
COMMENT ON COLUMN hansard.jobs.webhook IS 'URL that is told of its end; NULL: none.';

ALTER TABLE hansard.workers ADD COLUMN cancels integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN hansard.workers.cancels IS 'Jobs that were cancelled while it ran them: by its heartbeat it sees that there are more.';

COMMENT ON COLUMN hansard.holds.worker_id IS
    'Worker that answers it; a hold of a dead worker does not count. 00000000-0000-0000-0000-000000000000: a job''s, which '
    'counts whoever runs it.';

-- accept_draft stays as it is: the functions of the release before, which run until the new ones are in place, are built on it.
CREATE TYPE hansard.accept_plan AS (
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
    chain_head      bytea,
    is_blocked      boolean,
    said_at         timestamptz
);
COMMENT ON TYPE hansard.accept_plan IS
    'What is to become of one item of accept_turns. verdict: new, again, takeover, replayed, waiting, queued, stored or known '
    '(jobs), or an SQLSTATE.';

RESET ROLE;
