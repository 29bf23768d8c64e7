-- Ids, times and keys, byte by byte.
BEGIN;
SELECT plan(19);

SELECT is(hansard.unix_us('2026-01-01 00:00:00.123456+00'), 1767225600123456, 'microseconds, all of them');
SELECT is(hansard.unix_us('1969-12-31 23:59:59.999999+00'), -1::bigint, '... before the beginning, too');

-- UUIDv7 (RFC 9562): 48 bits of milliseconds, version 7, 12 random bits, variant 10, 62 random bits.
CREATE TEMP TABLE ids AS SELECT hansard.uuid_v7('2026-01-01 00:00:00.123999+00') AS id FROM generate_series(1, 1000);
SELECT is(count(DISTINCT substr(id::text, 1, 13)), 1::bigint, 'all ids of one moment begin with it') FROM ids;
SELECT is(substr(id::text, 1, 13), '019b76da-a87b', '... in whole milliseconds') FROM ids LIMIT 1;
SELECT is_empty($$SELECT FROM ids WHERE substr(id::text, 15, 1) <> '7'$$, 'they are of version 7');
SELECT is_empty($$SELECT FROM ids WHERE substr(id::text, 20, 1) NOT IN ('8', '9', 'a', 'b')$$, '... and of variant 10');
SELECT is(count(DISTINCT id), 1000::bigint, 'no two are equal') FROM ids;
SELECT is(bit_or(bits) & ~bit_and(bits), (repeat('0', 48 + 4) || repeat('1', 12) || '00' || repeat('1', 62))::bit(128),
          'all other 74 bits vary')
FROM (SELECT ('x' || replace(id::text, '-', ''))::bit(128) AS bits FROM ids) AS b;
SELECT ok(hansard.uuid_v7('2026-01-01 00:00:00.001+00') < hansard.uuid_v7('2026-01-01 00:00:00.002+00'),
          'ids sort by their milliseconds');
SELECT is(hansard.uuid_floor('2026-01-01 00:00:00.123999+00'), '019b76da-a87b-0000-0000-000000000000'::uuid,
          'the least id of a moment');
SELECT is_empty($$SELECT FROM ids
                  WHERE id <= hansard.uuid_floor('2026-01-01 00:00:00.123+00')
                    OR id >= hansard.uuid_floor('2026-01-01 00:00:00.124+00')$$,
                'all ids of a millisecond are between its least and the next one''s');

SELECT is(hansard.session_key(NULL, 'größe'), sha256('\x006772c3b6c39f65'),
          'an anonymous session: 00 and the id in UTF-8');
SELECT is(hansard.session_key('00112233-4455-6677-8899-aabbccddeeff', 'a'),
          sha256('\x0100112233445566778899aabbccddeeff61'), 'a user''s: 01, the user, the id');
SELECT is(octet_length(hansard.session_key(NULL, '')), 32, 'of 32 bytes');
SELECT is(hansard.key_id('\x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff'), '0011223344556677',
          'a key is called by 16 digits of its hash');

SELECT is(hansard.iso_time('2026-01-02 03:04:05.678999+00'), '2026-01-02T03:04:05.678Z', 'a time as JSON has it');
SET LOCAL timezone = 'Asia/Kathmandu';
SET LOCAL datestyle = 'German';
SET LOCAL lc_time = 'C';
SELECT is(hansard.iso_time('2026-01-02 03:04:05+00'), '2026-01-02T03:04:05.000Z', '... whatever the settings');
SELECT is(hansard.unix_us('2026-01-01 00:00:00.123456+00'), 1767225600123456, 'so are the microseconds');

-- One clock, one patience.
SELECT is(hansard.worker_patience(), interval '12 seconds', 'a worker is given 12 s: 15 are promised for its jobs');

SELECT * FROM finish();
ROLLBACK;
