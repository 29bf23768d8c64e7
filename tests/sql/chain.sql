-- The hash chain: anybody can compute the head of a conversation from its rows, and any change shows.
--
-- The bytes are put together here once more, by what the comments of the functions say, and not by the functions.
BEGIN;
SELECT plan(24);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.caller('ann', 'free');

CREATE FUNCTION pg_temp.microseconds(at timestamptz) RETURNS bytea
LANGUAGE sql
RETURN int8send((extract(epoch FROM date_trunc('second', at))::bigint * 1000000) + (extract(microseconds
                                                                                            FROM at)::bigint % 1000000));

-- The head of a conversation by its rows; NULL when a text does not fit its hash.
CREATE FUNCTION pg_temp.head(conversation uuid) RETURNS bytea
LANGUAGE plpgsql
AS $$
DECLARE
    head bytea;
    m    record;
BEGIN
    SELECT sha256('hansard conversation 1'::bytea || uuid_send(c.conversation_id) || c.session_key
                  || pg_temp.microseconds(c.created_at))
    INTO head FROM hansard.conversations c WHERE c.conversation_id = conversation;
    FOR m IN SELECT * FROM hansard.messages WHERE conversation_id = conversation ORDER BY turn_no, position LOOP
        IF m.text_hash <> sha256(m.salt || convert_to(m.text, 'UTF8')) THEN
            RETURN NULL;
        END IF;
        head := sha256(head || uuid_send(m.conversation_id) || int4send(m.turn_no) || int2send(m.position)
                       || int4send(length(m.role::text)) || m.role::text::bytea || pg_temp.microseconds(m.created_at)
                       || m.text_hash);
        IF head <> m.chain_hash THEN
            RETURN NULL;
        END IF;
    END LOOP;
    RETURN head;
END
$$;

SELECT is(help.outcomes('w', '{"words": "hello", "key": "k"}'), 'accepted', 'a turn is opened');
SELECT is(chain_head, pg_temp.head(conversation_id), 'the head fits after the first words') FROM hansard.sessions;
SELECT is(help.finishes('{"answer": "hi there, größe"}'), 'finished', 'it is answered');
SELECT is(chain_head, pg_temp.head(conversation_id), 'the head fits after the answer') FROM hansard.sessions;
SELECT help.turn('w', 's', 'trouble', NULL);
SELECT is(chain_head, pg_temp.head(conversation_id), 'the head fits after a failure') FROM hansard.sessions;
SELECT is(help.outcomes('w', '{"words": "take me over", "key": "k3"}'), 'accepted', 'a turn is opened');
SELECT help.silence('w', '16 seconds');
SELECT is(help.outcomes('v', '{"words": "take me over", "key": "k3"}'), 'accepted', 'it is taken over');
SELECT is(chain_head, pg_temp.head(conversation_id), 'the head fits after a takeover') FROM hansard.sessions;
SELECT is(help.finishes('{"answer": "done"}'), 'finished', 'it is answered');
SELECT help.worker('w');
SELECT is(help.outcomes('w', '{"words": "make way"}'), 'accepted', 'a turn is opened');
SELECT help.silence('w', '16 seconds');
SELECT help.turn('v', 's', 'my turn', 'indeed');
SELECT is(chain_head, pg_temp.head(conversation_id), 'the head fits after a lost turn') FROM hansard.sessions;
CREATE TEMP TABLE old AS SELECT * FROM hansard.sessions;
UPDATE hansard.sessions SET last_activity = now() - interval '2 days';
SELECT help.turn('v', 's', 'good morning', 'good day');
SELECT is(chain_head, pg_temp.head(conversation_id), 'a new conversation has a chain of its own') FROM hansard.sessions;
SELECT is((SELECT chain_hash FROM hansard.messages m WHERE m.conversation_id = old.conversation_id
           ORDER BY turn_no DESC, position DESC LIMIT 1), pg_temp.head(conversation_id),
          'that of the old one still fits') FROM old;
SELECT is(help.outcomes('v', '[{"session": "a"}, {"session": "b", "caller": "ann"}, {"session": "s"}]'),
          'accepted accepted accepted', 'a batch is opened');
SELECT is(help.finishes('[{"session": "b", "caller": "ann", "answer": "x"}, {"session": "s", "answer": "y"},
                          {"session": "a", "answer": "z"}]'),
          'finished finished finished', '... and answered');
SELECT is(array_agg(chain_head ORDER BY session_key), array_agg(pg_temp.head(conversation_id) ORDER BY session_key),
          'the heads of a batch fit')
FROM hansard.sessions;

-- The functions say the same as the bytes.
SELECT is(hansard.chain_start('01890000-0000-7000-8000-000000000000', '\x01', '2026-01-01 00:00:00.000001+00'),
          sha256('hansard conversation 1'::bytea || '\x01890000000070008000000000000000'::bytea || '\x01'
                 || '\x0006474846204001'),
          'chain_start, byte by byte');
SELECT is(hansard.chain_hash('\x02', '01890000-0000-7000-8000-000000000000', 258, 2::smallint, 'assistant',
                             '2026-01-01 00:00:00.000001+00', '\x03'),
          sha256('\x02'::bytea || '\x01890000000070008000000000000000' || '\x00000102' || '\x0002' || '\x00000009'
                 || 'assistant'::bytea
                 || '\x0006474846204001' || '\x03'), 'chain_hash, byte by byte');

-- Whatever is changed afterwards, the head does not fit any more. Each change is undone after the look.
CREATE FUNCTION pg_temp.shows(change text) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    shown boolean;
BEGIN
    EXECUTE change;
    SELECT pg_temp.head(o.conversation_id) IS DISTINCT FROM o.chain_head INTO shown FROM old o;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0', MESSAGE = shown;
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
    RETURN SQLERRM;
END
$$;
SELECT is(pg_temp.shows('SELECT'), 'f', 'nothing changed, nothing shows');
SELECT is_empty(
    $$SELECT change FROM unnest(ARRAY[
        'UPDATE hansard.messages SET text = ''Hello'' WHERE text = ''hello''',
        'UPDATE hansard.messages SET text = ''Hello'', text_hash = sha256(salt || ''Hello''::bytea)
         WHERE text = ''hello''',
        'UPDATE hansard.messages SET salt = ''\x00'' WHERE text = ''hello''',
        'UPDATE hansard.messages SET role = ''user'' WHERE turn_no = 1 AND position = 2',
        'UPDATE hansard.messages SET created_at = created_at + interval ''1 microsecond'' WHERE text = ''hello''',
        'UPDATE hansard.messages SET position = 3 WHERE turn_no = 5 AND position = 2',
        'UPDATE hansard.messages SET turn_no = 6 WHERE turn_no = 5',
        'UPDATE hansard.messages SET chain_hash = ''\x00'' WHERE text = ''hello''',
        'DELETE FROM hansard.messages WHERE turn_no = 5 AND position = 2',
        'DELETE FROM hansard.messages WHERE turn_no = 1',
        'DELETE FROM hansard.messages WHERE turn_no = 2',
        'UPDATE hansard.conversations SET created_at = created_at + interval ''1 microsecond''',
        'UPDATE hansard.conversations SET session_key = ''\x00'''
    ]) AS change WHERE pg_temp.shows(change) <> 't'$$, 'every change shows');
SELECT is(pg_temp.shows($$INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at,
                                                        salt, text_hash, chain_hash)
                          SELECT conversation_id, 2, 2, 'assistant', 'never said', now(), '', sha256('never said'), ''
                          FROM old$$),
          't', 'so does what was never said');

-- The settings of whoever looks do not matter.
SET LOCAL timezone = 'Asia/Kathmandu';
SET LOCAL datestyle = 'German';
SET LOCAL bytea_output = 'escape';
SET LOCAL extra_float_digits = 0;
SELECT is(chain_head, pg_temp.head(conversation_id), 'the head fits under other settings') FROM old;
SELECT help.turn('v', 's', 'under other settings', 'said');
RESET timezone;
RESET datestyle;
RESET bytea_output;
SELECT is(chain_head, pg_temp.head(conversation_id), '... and one made under them fits here') FROM hansard.sessions
WHERE session_id = 's';
SELECT is(hansard.text_hash('\x000102', 'größe'), sha256('\x0001026772c3b6c39f65'), 'texts are hashed as UTF-8');

SELECT * FROM finish();
ROLLBACK;
