-- Words the other functions are built from. The planner writes these into the queries that use them (else each call costs
-- a plan of its own), but only if what they are declared as is no more than what they are made of: convert_to and extract
-- are STABLE.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.worker_patience() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '12 seconds';
COMMENT ON FUNCTION hansard.worker_patience() IS
    'A worker silent for longer is dead: its turns may be closed or taken over, its jobs go to others, which have 3 s to see '
    'it and to begin: 15 s are promised.';

CREATE OR REPLACE FUNCTION hansard.nobody() RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '00000000-0000-0000-0000-000000000000'::uuid;
COMMENT ON FUNCTION hansard.nobody() IS 'The nil UUID (RFC 9562, 5.9), where a worker is named: the hold of a job.';

CREATE OR REPLACE FUNCTION hansard.unix_us(at timestamptz) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (extract(epoch FROM at) * 1000000)::bigint;
COMMENT ON FUNCTION hansard.unix_us(timestamptz) IS 'Microseconds since 1970.';

CREATE OR REPLACE FUNCTION hansard.uuid_floor(at timestamptz) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN encode(substring(int8send(hansard.unix_us(at) / 1000) FROM 3) || '\x00000000000000000000'::bytea, 'hex')::uuid;
COMMENT ON FUNCTION hansard.uuid_floor(timestamptz) IS 'Least UUIDv7 of a moment: the bound of a partition.';

CREATE OR REPLACE FUNCTION hansard.uuid_v7(at timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(substring(int8send(hansard.unix_us(at) / 1000) FROM 3)
              || set_byte(substring(uuid_send(gen_random_uuid()) FROM 7), 0,
                          112 | (get_byte(uuid_send(gen_random_uuid()), 0) & 15)), 'hex')::uuid;
COMMENT ON FUNCTION hansard.uuid_v7(timestamptz) IS 'UUID version 7 (RFC 9562): milliseconds since 1970, then 74 random bits.';

CREATE OR REPLACE FUNCTION hansard.session_key(user_id uuid, session_id text) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256(coalesce('\x01'::bytea || uuid_send(user_id), '\x00'::bytea) || convert_to(session_id, 'UTF8'));
COMMENT ON FUNCTION hansard.session_key(uuid, text) IS
    'SHA-256 of the owner (01 and the user''s 16 bytes, or 00 for anonymous) and the UTF-8 bytes of the session id.';

CREATE OR REPLACE FUNCTION hansard.text_hash(salt bytea, words text) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256(salt || convert_to(words, 'UTF8'));
COMMENT ON FUNCTION hansard.text_hash(bytea, text) IS 'SHA-256 of the salt (16 bytes) and the UTF-8 bytes of the text.';

CREATE OR REPLACE FUNCTION hansard.chain_start(conversation_id uuid, session_key bytea, created_at timestamptz) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256('hansard conversation 1'::bytea || uuid_send(conversation_id) || session_key
              || int8send(hansard.unix_us(created_at)));
COMMENT ON FUNCTION hansard.chain_start(uuid, bytea, timestamptz) IS
    'Hash before the first message: SHA-256 of a fixed label and the header''s fields, all of fixed length.';

CREATE OR REPLACE FUNCTION hansard.chain_hash(before bytea, conversation_id uuid, turn_no integer, "position" smallint,
                                              role text, created_at timestamptz, text_hash bytea) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256(before || uuid_send(conversation_id) || int4send(turn_no) || int2send("position")
              || int4send(octet_length(role)) || convert_to(role, 'UTF8')
              || int8send(hansard.unix_us(created_at)) || text_hash);
COMMENT ON FUNCTION hansard.chain_hash(bytea, uuid, integer, smallint, text, timestamptz, bytea) IS
    'SHA-256 of the hash before (32 bytes), conversation id (16), turn (4), position (2), length of role (4), role, '
    'time in µs (8) and text hash (32); numbers big endian. Never over a row''s text form, which settings change.';

RESET ROLE;
