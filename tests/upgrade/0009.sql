-- Goes on from 0006.sql: somebody has looked who was writing.

SET ROLE hansard_owner;

UPDATE hansard.sealing SET looked_at = '2026-01-01 01:00:00+00', writers = '{4/1234}';

RESET ROLE;
