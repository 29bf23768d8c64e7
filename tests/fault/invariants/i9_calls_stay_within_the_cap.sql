-- Neither the calls that the model had at once, nor the permits that were ever in force at once, nor those that are now,
-- are more than the cap of the fleet.
SELECT f.*, l.leased
FROM fleet f, (SELECT coalesce(sum(w.permits), 0) AS leased FROM hansard.workers w
               WHERE w.permits_until > clock_timestamp()) AS l
WHERE greatest(f.high_water, f.leased_most, l.leased) > f.cap
