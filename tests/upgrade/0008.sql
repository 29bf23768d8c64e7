-- Goes on from 0003.sql: a worker has left.

SET ROLE hansard_owner;

UPDATE hansard.workers SET has_left = true WHERE worker_id = '019b76da-a800-7000-8000-00000000000c';

RESET ROLE;
