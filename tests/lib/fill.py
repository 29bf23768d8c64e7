"""Fill: conversations written straight into the record by sets, hashes and all, as if they had been held a while ago."""

FILL = """
CREATE TEMP TABLE filled ON COMMIT DROP AS
SELECT n, hansard.uuid_v7(clock_timestamp() + n * interval '1 ms') AS id, 'filled ' || %(prefix)s || n AS session_id,
       date_trunc('milliseconds', clock_timestamp()) - %(age)s::interval + n * %(every)s::interval AS begun,
       NULL::bytea AS session_key, NULL::bytea AS head
FROM generate_series(1, %(conversations)s) AS n;
UPDATE filled SET session_key = hansard.session_key(%(owner)s::uuid, session_id);
UPDATE filled SET head = hansard.chain_start(id, session_key, begun);
INSERT INTO hansard.conversations (conversation_id, session_key, user_id, session_id, created_at)
SELECT id, session_key, %(owner)s::uuid, session_id, begun FROM filled;
DO $$
DECLARE
    turns integer := %(turns)s;
    place smallint;
BEGIN
    FOR turn IN 1..turns LOOP
        INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, address, attempt,
                                   accepted_at, finished_at, error_code)
        SELECT f.id, turn, CASE WHEN (f.n + turn) %% 5 > 0 THEN 'completed' ELSE 'failed' END::hansard.turn_state,
               'filled ' || turn, sha256('filled'), f.id, '192.0.2.1', 1, f.begun + turn * interval '2 ms',
               f.begun + turn * interval '2 ms' + interval '1 ms',
               CASE WHEN (f.n + turn) %% 5 = 0 THEN 'model_failed' END
        FROM filled f;
        FOREACH place IN ARRAY '{1,2}'::smallint[] LOOP
            WITH spoken AS MATERIALIZED (
                SELECT f.id, f.head, uuid_send(gen_random_uuid()) AS salt,
                       repeat(f.n || ' says ' || turn || ' größe ', 4 + f.n %% 30) AS words,
                       f.begun + turn * interval '2 ms' + place * interval '1 ms' - interval '1 ms' AS at
                FROM filled f
                WHERE place = 1 OR (f.n + turn) %% 5 > 0
            ), said AS (
                INSERT INTO hansard.messages
                SELECT s.id, turn, place, CASE place WHEN 1 THEN 'user' ELSE 'assistant' END::hansard.message_role, s.words, s.at,
                       s.salt, h.text_hash,
                       hansard.chain_hash(s.head, s.id, turn, place, CASE place WHEN 1 THEN 'user' ELSE 'assistant' END, s.at,
                                          h.text_hash)
                FROM spoken s CROSS JOIN LATERAL (SELECT hansard.text_hash(s.salt, s.words) AS text_hash OFFSET 0) AS h
                RETURNING conversation_id, chain_hash
            )
            UPDATE filled f SET head = s.chain_hash FROM said s WHERE f.id = s.conversation_id;
        END LOOP;
    END LOOP;
    INSERT INTO hansard.sessions (session_key, session_id, conversation_id, next_turn, unanswered, chain_head, last_activity)
    SELECT f.session_key, f.session_id, f.id, turns + 1, 0, f.head, f.begun + turns * interval '2 ms' FROM filled f;
END
$$;
SELECT array_agg(id::text ORDER BY id) AS ids FROM filled
"""


def fill(connection, conversations, turns, age="1 hour", every="1 ms", prefix="", owner=None):
    """So many conversations of so many turns, every fifth of which failed; gives their ids in order. The last session of
    each is its own; nobody else may write meanwhile. owner: a user's id."""
    values = {"conversations": conversations, "turns": turns, "age": age, "every": every, "prefix": prefix, "owner": owner}
    with connection.cursor() as cursor:
        cursor.execute(FILL, values)
        return cursor.fetchone()[0]
