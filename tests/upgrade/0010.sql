-- Goes on from 0007.sql: workers may ask for no less than a year, the walk was left within a conversation, and an
-- erasure of something that has been dropped since was left half-way.

SET ROLE hansard_owner;

UPDATE hansard.retention_walk SET shortest = '1 year', after_turn = 1;
INSERT INTO hansard.erasures (conversation_id, session_key, user_id, asked_by, cancelled, turns, messages, after_turn, step_at)
VALUES ('019b76da-a801-7000-8000-000000000009', sha256('gone'), '019b76da-a800-7000-8000-000000000001', 'postgres', 1, 1000, 1999,
        1000, '2026-01-01 00:06:00+00');

RESET ROLE;
