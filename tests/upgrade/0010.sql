-- Goes on from 0007.sql: workers may ask for no less than a year, and the walk was left within a conversation.

SET ROLE hansard_owner;

UPDATE hansard.retention_walk SET shortest = '1 year', after_turn = 1;

RESET ROLE;
