-- With jobs, words are said before earlier turns are answered: the chain goes by the time they were said, which only rises.
--
-- The bytes are put together here once more, by what the comments of the functions say, and not by the functions.
BEGIN;
SELECT plan(24);
SELECT help.worker('w');
SELECT help.worker('v');

-- The head of the session's conversation by its rows, in the order of the chain; NULL when they do not fit.
CREATE FUNCTION pg_temp.head() RETURNS bytea
LANGUAGE plpgsql
AS $$
DECLARE
    head   bytea;
    before timestamptz := '-infinity';
    m      record;
BEGIN
    SELECT sha256('hansard conversation 1'::bytea || uuid_send(c.conversation_id) || c.session_key
                  || int8send((extract(epoch FROM c.created_at) * 1000000)::bigint))
    INTO head FROM hansard.conversations c JOIN hansard.sessions s USING (conversation_id);
    FOR m IN
        SELECT w.* FROM hansard.messages w JOIN hansard.sessions s USING (conversation_id)
        ORDER BY w.created_at, w.turn_no, w.position
    LOOP
        head := sha256(head || uuid_send(m.conversation_id) || int4send(m.turn_no) || int2send(m.position)
                       || int4send(length(m.role::text)) || m.role::text::bytea
                       || int8send((extract(epoch FROM m.created_at) * 1000000)::bigint) || m.text_hash);
        IF head <> m.chain_hash OR m.created_at <= before THEN
            RETURN NULL;
        END IF;
        before := m.created_at;
    END LOOP;
    RETURN head;
END
$$;
CREATE FUNCTION pg_temp.order_said() RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(m.turn_no || '.' || m.position, ' ' ORDER BY m.created_at, m.turn_no, m.position)
      FROM hansard.messages m JOIN hansard.sessions s USING (conversation_id) $$;
CREATE FUNCTION pg_temp.fits(what text) RETURNS text
LANGUAGE sql
AS $$ SELECT is(chain_head, pg_temp.head(), what) FROM hansard.sessions $$;

SELECT help.outcomes('w', '{"job": true, "words": "one"}');
SELECT pg_temp.fits('the head fits after a job was queued');
SELECT help.outcomes('w', '{"job": true, "words": "two"}');
SELECT pg_temp.fits('... and another behind it');
SELECT is(help.claim('w'), 's 1 1 one', 'the first is claimed');
SELECT pg_temp.fits('... which says nothing');
SELECT help.outcomes('w', '{"job": true, "words": "three"}');
SELECT help.finishes('{"answer": "to one"}');
SELECT pg_temp.fits('the head fits after it was answered');
SELECT is(pg_temp.order_said(), '1.1 2.1 3.1 1.2', 'the answer comes after the words of later turns');
SELECT help.claim('w');
SELECT help.finishes('{"state": "queued"}');
SELECT pg_temp.fits('... after one was handed back');
SELECT help.claim('w');
SELECT help.silence('w', '13 seconds');
SELECT hansard_api.reap_workers();
SELECT pg_temp.fits('... after one was queued again, for its worker died');
SELECT help.claim('v');
SELECT help.finishes('{"state": "failed"}');
SELECT pg_temp.fits('... after one failed');
SELECT hansard_api.cancel_job(NULL, conversation_id, 3) FROM hansard.sessions;
SELECT pg_temp.fits('... after one was cancelled');
SELECT help.turn('v', 's', 'four', 'to four');
SELECT pg_temp.fits('... and after a live turn');
SELECT is(pg_temp.order_said(), '1.1 2.1 3.1 1.2 4.1 4.2', '... in this order');
SELECT is(count(DISTINCT created_at), 6::bigint, '... each at a time of its own') FROM hansard.messages;

-- A clock that is set back, or stands still: times of a conversation rise all the same.
CREATE TEMP TABLE ahead AS SELECT '2100-01-01 00:00:00.123456'::timestamptz AS at;
UPDATE hansard.sessions SET last_activity = ahead.at FROM ahead;
SELECT help.outcomes('v', '{"job": true, "words": "five"}');
SELECT pg_temp.fits('when the clock was set back, the head fits after a job');
SELECT help.claim('v');
SELECT help.finishes('{}');
SELECT pg_temp.fits('... and after its answer');
SELECT is(help.outcomes('v', '{"words": "six", "key": "six"}'), 'accepted', 'a live turn is open');
SELECT pg_temp.fits('... after its words');
SELECT help.silence('v', '16 seconds');
SELECT help.worker('x');
SELECT is(help.outcomes('x', '{"words": "six", "key": "six"}'), 'accepted', 'it is taken over');
SELECT help.finishes('{}');
SELECT pg_temp.fits('... and the head fits after its answer');
SELECT is(help.outcomes('x', '{"words": "seven"}'), 'accepted', 'a live turn is open');
SELECT help.silence('x', '16 seconds');
SELECT help.worker('y');
SELECT is(help.outcomes('y', '{"words": "eight"}'), 'accepted', 'it makes way for the next');
SELECT pg_temp.fits('... whose words fit');
SELECT is(pg_temp.order_said(), '1.1 2.1 3.1 1.2 4.1 4.2 5.1 5.2 6.1 6.2 7.1 8.1', 'all in the order they came');
SELECT is(max(created_at), at + interval '6 microseconds', '... a microsecond apart') FROM hansard.messages, ahead GROUP BY at;

SELECT * FROM finish();
ROLLBACK;
