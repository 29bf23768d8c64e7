-- Who asks after he was told the number of a turn gets a higher one.
SELECT p.session, p.key, p.turn, p.told_at, q.key AS later_key, q.turn AS later_turn, q.asked_at
FROM promise p JOIN promise q ON q.session = p.session AND q.asked_at > p.told_at AND q.turn <= p.turn
