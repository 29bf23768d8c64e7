-- A turn begins when the one before has ended.
SELECT * FROM (
    SELECT t.session, t.turn_no, t.accepted_at,
           lag(t.finished_at) OVER (PARTITION BY t.conversation_id ORDER BY t.turn_no) AS before
    FROM turn t) AS x
WHERE x.accepted_at < x.before
