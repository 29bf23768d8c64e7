-- Goes on from 0003.sql: the job that runs has been handed back before, for its model had failed; its worker has numbered
-- a claim; another one has left.

SET ROLE hansard_owner;

UPDATE hansard.jobs SET failures = 4 WHERE worker_id = '019b76da-a800-7000-8000-00000000000a';
UPDATE hansard.workers SET claim_no = 2 WHERE worker_id = '019b76da-a800-7000-8000-00000000000a';
UPDATE hansard.workers SET has_left = true WHERE worker_id = '019b76da-a800-7000-8000-00000000000c';

RESET ROLE;
