-- Goes on from 0002.sql: the caller's tier has a retention of its own, and a walk of the retention was left half-way.

SET ROLE hansard_owner;

UPDATE hansard.tiers SET retention = '10 years' WHERE tier = 'gold';
UPDATE hansard.retention_walk SET began_at = '2026-01-02 00:00:00+00', month = '2026-01-01', is_mixed = true,
    after_id = '019b76da-a801-7000-8000-000000000002', oldest_at = '2026-01-01 00:05:00.25+00';

RESET ROLE;
