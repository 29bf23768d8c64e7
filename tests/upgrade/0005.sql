-- Goes on from 0002.sql: there are prices.

SET ROLE hansard_owner;

INSERT INTO hansard.prices (model, valid_from, prompt_price, completion_price, currency)
VALUES ('demo', '2025-12-01 00:00:00+00', 1.5, 6, 'EUR'),
       ('demo', '2026-02-01 00:00:00+00', 1, 4, 'EUR');

RESET ROLE;
