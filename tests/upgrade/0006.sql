-- Goes on from 0002.sql: there is a seal over the conversation.

SET ROLE hansard_owner;

INSERT INTO hansard.seal_heads SELECT s.conversation_id, 1, 4, s.chain_head FROM hansard.sessions s;
INSERT INTO hansard.seals (seal_no, sealed_at, from_at, to_at, heads, root, previous, hash, signature, key_id)
SELECT 1, '2026-01-01 01:00:00+00', 'epoch', '2026-01-01 00:59:00+00', 1, r.root, decode(repeat('00', 32), 'hex'),
       sha256('hansard seal 1'::bytea || int8send(1) || int8send(1767229200000000) || int8send(0)
              || int8send(1767229140000000) || int4send(1) || r.root || decode(repeat('00', 32), 'hex')), NULL, NULL
FROM (SELECT sha256('\x00'::bytea || uuid_send(h.conversation_id) || int4send(h.messages) || h.head) AS root
      FROM hansard.seal_heads h) AS r;

RESET ROLE;
