-- One turn by the two functions the worker calls, one item a call, for pgbench -M extended: values go as parameters in
-- an unnamed statement, as the worker sends them. (The pooler refuses the simple protocol; prepared statements have
-- names, which do not survive its transaction mode.)
--
-- Clients speak for their own share of the sessions, so that no two meet on one. The whole result is fetched, as the
-- worker fetches it. A turn that is not accepted ends the run with its outcome.

\set session random(0, :share - 1) * :clients + :client_id
\set unique random(100000000000, 999999999999)

SELECT item, outcome = 'accepted' AS accepted, outcome, session_key, conversation_id, turn_no, attempt, history, history_after, reply,
       model,
       prompt_tokens, completion_tokens, error_code, policy, quota_limit, quota_window_s, quota_remaining,
       quota_reset_ms, retry_after_ms
FROM hansard_api.accept_turns(
    :worker_id::uuid, :history_messages::int, :history_bytes::int, 86400000,
    ARRAY[:key_hash::bytea], ARRAY['127.0.0.1'], ARRAY[:prefix::text || :session::text], ARRAY[:message::text],
    ARRAY['01900000-0000-7000-8000-' || :unique::text],
    ARRAY['\x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'::bytea],
    ARRAY['01900000-0000-7000-8000-' || :unique::text])
\gset
\if :accepted
SELECT item, outcome = 'finished' AS finished, outcome
FROM hansard_api.finish_turns(
    ARRAY[:worker_id::uuid], ARRAY[:session_key::bytea], ARRAY[:conversation_id::uuid], ARRAY[:turn_no::int],
    ARRAY[:attempt::int], ARRAY['completed'], ARRAY[:answer::text], ARRAY['demo'], ARRAY[100], ARRAY[50],
    ARRAY[NULL::text], ARRAY[1], ARRAY[1])
\gset
\else
SELECT ('accept_turns said ' || :outcome::text)::int;
\endif
\if :finished
\else
SELECT ('finish_turns said ' || :outcome::text)::int;
\endif
