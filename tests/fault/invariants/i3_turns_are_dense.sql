-- Turns are numbered from 1 without a gap.
SELECT t.session, min(t.turn_no), max(t.turn_no), count(*) FROM turn t GROUP BY t.session, t.conversation_id
HAVING min(t.turn_no) <> 1 OR max(t.turn_no) <> count(*)
