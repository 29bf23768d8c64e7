-- What hansard_audit.verify says of a conversation, whole, changed in every way, erased, and gone.
BEGIN;
SELECT plan(59);
SELECT help.worker('w');
SELECT help.caller('ann', 'free');

-- A conversation of three turns, of which the second has no answer; one that is over; one of a caller.
SELECT help.turn('w', 's', 'good evening', 'good night');
CREATE TEMP TABLE old AS SELECT * FROM hansard.sessions;
UPDATE hansard.sessions SET last_activity = now() - interval '2 days';
SELECT help.turn('w', 's', 'hello', 'hi there');
SELECT help.turn('w', 's', 'trouble', NULL);
SELECT help.turn('w', 's', 'größe?', '1,80 m');
CREATE TEMP TABLE talk AS SELECT * FROM hansard.sessions WHERE session_key = help.session_key('s');
SELECT is(help.outcomes('w', '{"session": "t", "caller": "ann"}'), 'accepted', 'a turn of a caller is open');
GRANT SELECT ON talk, old TO hansard_auditor;

-- "status turns messages erased seals", or what is wrong: "turn.position problem", the first.
CREATE FUNCTION pg_temp.says(conversation uuid) RETURNS text
LANGUAGE sql
AS $$
    SELECT CASE v.status WHEN 'broken' THEN trim(concat(v.turn_no, '.' || v.position, ' ') || v.problem)
           ELSE concat_ws(' ', v.status, v.turns, v.messages, v.erased, v.seals) END
    FROM hansard_audit.verify(conversation) AS v LIMIT 1
$$;
-- ... after a change, which is undone.
CREATE FUNCTION pg_temp.after(change text) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    said text;
BEGIN
    EXECUTE change;
    SELECT pg_temp.says(t.conversation_id) INTO said FROM talk t;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0', MESSAGE = coalesce(said, 'nothing');
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
    RETURN SQLERRM;
END
$$;
CREATE FUNCTION pg_temp.at(turn integer, place integer) RETURNS text
LANGUAGE sql
RETURN format(' WHERE (conversation_id, turn_no, position) = (%L, %s, %s)', (SELECT conversation_id FROM talk), turn, place);
CREATE FUNCTION pg_temp.there() RETURNS text
LANGUAGE sql
RETURN format(' WHERE conversation_id = %L', (SELECT conversation_id FROM talk));

-- Whole.
SELECT is(pg_temp.says(conversation_id), 'ok 3 5 0 0', 'a conversation is fine') FROM talk;
SELECT is(pg_temp.says(conversation_id), 'ok 1 2 0 0', 'one that is over') FROM old;
SELECT is(pg_temp.says(conversation_id), 'ok 1 1 0 0', 'one that waits for its answer')
FROM hansard.sessions WHERE session_id = 't';
SELECT is(pg_temp.says(help.id('nobody')), 'unknown 0 0 0 0', 'one that never was');
SELECT is(help.tries('hansard_auditor', 'SELECT hansard_audit.verify(conversation_id) FROM talk'), 'done', 'auditors may ask');
SELECT is(pg_temp.after('SELECT'), 'ok 3 5 0 0', 'nothing changed, nothing found');

-- A message changed.
SELECT is(pg_temp.after('UPDATE hansard.messages SET text = ''bye''' || pg_temp.at(1, 2)), '1.2 words changed', 'words');
SELECT is(pg_temp.after('UPDATE hansard.messages SET text = ''bye'', text_hash = sha256(salt || ''bye'')' || pg_temp.at(1, 2)),
          '1.2 chain broken', 'words and their hash');
SELECT is(pg_temp.after('UPDATE hansard.messages SET text_hash = sha256(text_hash)' || pg_temp.at(3, 1)), '3.1 words changed', 'a hash');
SELECT is(pg_temp.after('UPDATE hansard.messages SET salt = sha256(salt)' || pg_temp.at(3, 1)), '3.1 words changed', 'a salt');
SELECT is(pg_temp.after('UPDATE hansard.messages SET salt = NULL' || pg_temp.at(3, 1)), '3.1 words changed', 'a salt taken away');
SELECT is(pg_temp.after('UPDATE hansard.messages SET text = NULL' || pg_temp.at(3, 1)), '3.1 words changed', 'words taken away');
SELECT is(pg_temp.after('UPDATE hansard.messages SET salt = '''', text_hash = sha256(convert_to(text, ''UTF8''))' || pg_temp.at(3, 1)),
          '3.1 words changed', 'a hash without salt');
SELECT is(pg_temp.after('UPDATE hansard.messages SET text = NULL, salt = NULL' || pg_temp.at(1, 2)),
          '1.2 words taken away, but not by erasing the conversation', 'words and salt taken away');
SELECT is(pg_temp.after('UPDATE hansard.messages SET role = ''user''' || pg_temp.at(1, 2)), '1.2 chain broken', 'a role');
SELECT is(pg_temp.after('UPDATE hansard.messages SET created_at = created_at + interval ''1 us''' || pg_temp.at(3, 2)),
          '3.2 chain broken', 'a time');
SELECT is(pg_temp.after('UPDATE hansard.messages SET created_at = ''infinity''' || pg_temp.at(3, 2)), '3.2 chain broken', 'a time that is none');
SELECT is(pg_temp.after('UPDATE hansard.messages SET chain_hash = sha256(chain_hash)' || pg_temp.at(1, 1)), '1.1 chain broken',
          'a chain hash');
SELECT is(pg_temp.after('UPDATE hansard.messages SET chain_hash = sha256(chain_hash)' || pg_temp.at(3, 2)), '3.2 chain broken',
          'the last chain hash');
SELECT is(pg_temp.after('UPDATE hansard.messages SET created_at = created_at - interval ''1 day''' || pg_temp.at(3, 1)),
          '3.1 chain broken', 'an order');

-- Rows taken away, added, swapped.
SELECT is(pg_temp.after('DELETE FROM hansard.messages' || pg_temp.at(1, 1)), '1.1 question missing', 'the first question');
SELECT is(pg_temp.after('DELETE FROM hansard.messages' || pg_temp.at(1, 2)), '1.2 answer missing', 'an answer');
SELECT is(pg_temp.after('DELETE FROM hansard.messages' || pg_temp.at(3, 2)), '3.2 answer missing', 'the last answer');
SELECT is(pg_temp.after('DELETE FROM hansard.turns' || pg_temp.there() || ' AND turn_no = 2'), '2 turn missing', 'a turn without its messages');
SELECT is(pg_temp.after('DELETE FROM hansard.turns' || pg_temp.there() || ' AND turn_no = 3'), '3.1 turn missing', 'the last one');
SELECT is(pg_temp.after('WITH m AS (DELETE FROM hansard.messages' || pg_temp.there() || ' AND turn_no = 2) DELETE FROM hansard.turns'
                        || pg_temp.there() || ' AND turn_no = 2'), '2 turn missing', 'a turn with its messages');
SELECT is(pg_temp.after('WITH m AS (DELETE FROM hansard.messages' || pg_temp.there() || ' AND turn_no = 3) DELETE FROM hansard.turns'
                        || pg_temp.there() || ' AND turn_no = 3'), 'newest message missing', 'the tail');
SELECT is(pg_temp.after('WITH m AS (DELETE FROM hansard.messages' || pg_temp.there() || ') DELETE FROM hansard.turns' || pg_temp.there()),
          '1 turn missing', 'everything but the header');
SELECT is(pg_temp.after('WITH t AS (DELETE FROM hansard.turns' || pg_temp.there() || '), m AS (DELETE FROM hansard.messages'
                        || pg_temp.there() || ') DELETE FROM hansard.conversations' || pg_temp.there()), 'conversation missing', 'everything');
CREATE FUNCTION pg_temp.added(turn integer, place integer, place_after text) RETURNS text
LANGUAGE sql
RETURN format($$INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash, chain_hash)
    SELECT m.conversation_id, %s, %s, 'assistant', 'oh', m.created_at + interval '1 us', m.salt, sha256(m.salt || 'oh'),
           hansard.chain_hash(m.chain_hash, m.conversation_id, %1$s, %2$s::smallint, 'assistant', m.created_at + interval '1 us',
                              sha256(m.salt || 'oh'))
    FROM hansard.messages m %3$s$$, turn, place, place_after);
SELECT is(pg_temp.after(pg_temp.added(2, 2, pg_temp.at(2, 1))), '3.1 chain broken', 'an answer put in, by the rules');
SELECT is(pg_temp.after(pg_temp.added(4, 1, pg_temp.at(3, 2))), '4.1 turn missing', 'words put at the end');
SELECT is(pg_temp.after(pg_temp.added(3, 3, pg_temp.at(3, 2))), '3.3 role out of place', 'a third message of a turn');
-- All that the other row holds but its place.
CREATE FUNCTION pg_temp.swapped(turn text, place text, turns text) RETURNS text
LANGUAGE sql
RETURN format('UPDATE hansard.messages m SET (text, salt, text_hash, chain_hash, created_at) =
                   (SELECT o.text, o.salt, o.text_hash, o.chain_hash, o.created_at FROM hansard.messages o
                    WHERE (o.conversation_id, o.turn_no, o.position) = (m.conversation_id, %s, %s)) %s AND turn_no IN (%s)',
              turn, place, pg_temp.there(), turns);
SELECT is(pg_temp.after(pg_temp.swapped('4 - m.turn_no', 'm.position', '1, 3')), '3.1 chain broken', 'two turns swapped');
SELECT is(pg_temp.after(pg_temp.swapped('m.turn_no', '3 - m.position', '1')), '1.2 chain broken', 'question and answer swapped');

-- The header.
SELECT is(pg_temp.after('DELETE FROM hansard.conversations' || pg_temp.there()), 'header missing', 'no header');
SELECT is(pg_temp.after('UPDATE hansard.conversations SET user_id = gen_random_uuid()' || pg_temp.there()),
          'owner or session id changed', 'another owner');
SELECT is(pg_temp.after('UPDATE hansard.conversations SET session_id = ''x''' || pg_temp.there()), 'owner or session id changed', 'another session');
SELECT is(pg_temp.after('UPDATE hansard.conversations SET session_id = ''x'', session_key = hansard.session_key(NULL, ''x'')' || pg_temp.there()),
          '1.1 chain broken', '... and its key');
SELECT is(pg_temp.after('UPDATE hansard.conversations SET created_at = created_at - interval ''1 us''' || pg_temp.there()),
          '1.1 chain broken', 'another time');
SELECT is(pg_temp.after('UPDATE hansard.conversations SET session_id = NULL' || pg_temp.there()),
          '1.1 session id taken away, but not by erasing the conversation', 'another one that is taken for erased');

-- A turn whose words retention has taken, in a conversation that goes on.
UPDATE hansard.turns SET finished_at = now() - interval '100 days'
WHERE turn_no = 1 AND conversation_id = (SELECT conversation_id FROM talk);
SELECT is(hansard.blank_turns(conversation_id, now() - interval '90 days', 0, 10), '{1,2,NULL}', 'a turn is past its time') FROM talk;
SELECT is(pg_temp.says(conversation_id), 'ok 3 5 2 0', '... its words are erased, and nothing is wrong') FROM talk;
SELECT is(help.tries('hansard_auditor', $$DO $do$ BEGIN ASSERT (SELECT string_agg(t.turn_no::text, ' ') FROM hansard_audit.chain_turns t
    JOIN talk USING (conversation_id) WHERE t.is_blanked) = '1'; END $do$ $$), 'done', '... which the view says, too');
SELECT is(pg_temp.after('UPDATE hansard.messages SET text = NULL, salt = NULL' || pg_temp.at(3, 2)),
          '3.2 words taken away, but not by erasing the conversation', 'words of another turn taken away');
SELECT is(pg_temp.after('UPDATE hansard.turns SET fingerprint = sha256(''x'')' || pg_temp.there() || ' AND turn_no = 1'),
          '1.1 words taken away, but not by erasing the conversation', 'a fingerprint where there are no words');
SELECT is(pg_temp.after('UPDATE hansard.turns SET fingerprint = ''''' || pg_temp.there() || ' AND turn_no = 3'),
          '3.1 words left in a turn that was blanked', 'a fingerprint taken away, but not the words');
SELECT is(pg_temp.after('WITH t AS (UPDATE hansard.turns SET fingerprint = ''''' || pg_temp.there() || ' AND turn_no = 3) '
                        'UPDATE hansard.messages SET text = NULL, salt = NULL' || pg_temp.at(3, 1)),
          '3.2 words left in a turn that was blanked', '... or only the question');
SELECT is(pg_temp.after('UPDATE hansard.messages SET text = ''said'', salt = sha256(''x'')' || pg_temp.at(1, 1)), '1.1 words changed',
          'words put in for blanked ones');
SELECT is(pg_temp.after('UPDATE hansard.messages SET text_hash = sha256(text_hash)' || pg_temp.at(1, 1)), '1.1 chain broken',
          'a hash of what was blanked');
SELECT is(pg_temp.after('DELETE FROM hansard.messages' || pg_temp.at(1, 2)), '1.2 answer missing', 'a row of what was blanked');
SELECT is(pg_temp.after('DELETE FROM hansard.turns' || pg_temp.there() || ' AND turn_no = 1'), '1 turn missing', 'the turn that was blanked');
SELECT is(pg_temp.after('UPDATE hansard.conversations SET session_id = NULL' || pg_temp.there()),
          '2.1 session id taken away, but not by erasing the conversation', 'the rest taken for erased');

-- More than one thing: all are named.
UPDATE hansard.messages SET text = 'x' WHERE conversation_id = (SELECT conversation_id FROM old);
SELECT results_eq('SELECT status, turn_no, position::integer, problem, turns, messages, erased FROM hansard_audit.verify((SELECT conversation_id FROM old))',
                  $$VALUES ('broken', 1, 1, 'words changed', 1::bigint, 2::bigint, 0::bigint),
                           ('broken', 1, 2, 'words changed', 1::bigint, 2::bigint, 0::bigint)$$, 'each row that was changed is named');

-- Erased.
SELECT ok(hansard_api.erase_conversation(NULL, 's', gen_random_uuid()::text) IS NOT NULL, 'it is erased');
SELECT is(pg_temp.says(conversation_id), 'ok 3 5 5 0', '... and can be checked') FROM talk;
SELECT is(pg_temp.after('UPDATE hansard.messages SET text_hash = sha256(text_hash)' || pg_temp.at(3, 1)), '3.1 chain broken',
          'a hash of what was erased');
SELECT is(pg_temp.after('UPDATE hansard.messages SET text = ''said'', salt = sha256(''x'')' || pg_temp.at(3, 1)), '3.1 words changed',
          'words put in for erased ones');
SELECT is(pg_temp.after('DELETE FROM hansard.messages' || pg_temp.at(2, 1)), '2.1 question missing', 'a row of what was erased');

SELECT * FROM finish();
ROLLBACK;
