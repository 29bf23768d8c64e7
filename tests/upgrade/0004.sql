-- Goes on from 0002.sql: of the turn that failed, somebody has still to be told.

SET ROLE hansard_owner;

INSERT INTO hansard.webhooks (conversation_id, turn_no, url, attempts, next_at, created_at)
VALUES ('019b76da-a801-7000-8000-000000000002', 2, 'https://hooks.example/hansard', 3, '2026-01-01 00:17:05+00', '2026-01-01 00:05:00.25+00');

RESET ROLE;
