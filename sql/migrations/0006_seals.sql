-- Seals: from time to time, what all conversations have come to is hashed to one value, which can be kept elsewhere.

SET LOCAL ROLE hansard_owner;

COMMENT ON SCHEMA hansard_audit IS 'What auditors may read: views, and functions that check.';

CREATE TABLE hansard.seals (
    seal_no   bigint PRIMARY KEY CHECK (seal_no > 0),
    sealed_at timestamptz NOT NULL,
    from_at   timestamptz NOT NULL,
    to_at     timestamptz NOT NULL CHECK (to_at > from_at),
    heads     integer NOT NULL CHECK (heads > 0),
    root      bytea NOT NULL CHECK (octet_length(root) = 32),
    previous  bytea NOT NULL CHECK (octet_length(previous) = 32),
    hash      bytea NOT NULL CHECK (octet_length(hash) = 32),
    signature bytea CHECK (octet_length(signature) = 64),
    key_id    text CHECK (key_id ~ '^[0-9a-f]{16}$'),
    CHECK ((signature IS NULL) = (key_id IS NULL))
);
COMMENT ON TABLE hansard.seals IS
    'Seals, each over the heads of the conversations in which something was said since the one before. Append-only.';
COMMENT ON COLUMN hansard.seals.seal_no IS '1, 2, 3 … without a gap.';
COMMENT ON COLUMN hansard.seals.sealed_at IS 'When it was made.';
COMMENT ON COLUMN hansard.seals.from_at IS 'What was said after this moment is in it …';
COMMENT ON COLUMN hansard.seals.to_at IS '… and until this one.';
COMMENT ON COLUMN hansard.seals.heads IS 'Conversations in it.';
COMMENT ON COLUMN hansard.seals.root IS 'Root of a Merkle tree (RFC 6962, 2.1) over its heads by conversation: hansard.seal_leaf(), hansard.merkle_root().';
COMMENT ON COLUMN hansard.seals.previous IS 'Hash of the seal before; 32 zero bytes for the first.';
COMMENT ON COLUMN hansard.seals.hash IS 'SHA-256 of all before: hansard.seal_hash().';
COMMENT ON COLUMN hansard.seals.signature IS 'Ed25519 (RFC 8032) over a label and the hash; NULL: the worker had no key.';
COMMENT ON COLUMN hansard.seals.key_id IS 'First 16 hexadecimal digits of the SHA-256 of the public key.';

CREATE TABLE hansard.seal_heads (
    conversation_id uuid NOT NULL,
    seal_no         bigint NOT NULL,
    messages        integer NOT NULL,
    head            bytea NOT NULL,
    PRIMARY KEY (conversation_id, seal_no)
);
-- In the order in which they come, so that a few bytes for each 128 pages tell where a seal's are.
CREATE INDEX seal_heads_seal ON hansard.seal_heads USING brin (seal_no) WITH (autosummarize = on);
COMMENT ON TABLE hansard.seal_heads IS 'Leaves of the seals: what a conversation had come to. They stay when its partition is dropped.';
COMMENT ON COLUMN hansard.seal_heads.conversation_id IS 'Conversation.';
COMMENT ON COLUMN hansard.seal_heads.seal_no IS 'Seal it is a leaf of.';
COMMENT ON COLUMN hansard.seal_heads.messages IS 'Messages it had then.';
COMMENT ON COLUMN hansard.seal_heads.head IS 'Chain hash of the last of them.';

RESET ROLE;
