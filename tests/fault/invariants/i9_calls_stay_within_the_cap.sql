-- Neither the calls that the model had at once, nor the permits that are in force when all is quiet, are more than the cap.
-- In between there may be more permits: a worker that was frozen until others got its permits says what it still holds.
SELECT f.*, l.leased
FROM fleet f, (SELECT coalesce(sum(w.permits), 0) AS leased FROM hansard.workers w
               WHERE w.permits_until > clock_timestamp()) AS l
WHERE greatest(f.high_water, l.leased) > f.cap
