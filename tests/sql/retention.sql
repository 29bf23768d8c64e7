-- Retention: what is past its time goes, turn by turn or a month at once; what is not, stays.
BEGIN;
SELECT plan(92);
SELECT help.worker('w');
INSERT INTO hansard.tiers (tier, rate_per_minute, burst, retention)
VALUES ('short', NULL, 100, '10 days'), ('long', NULL, 100, '400 days'), ('ever', NULL, 100, '0');
SELECT help.caller(c, c) FROM unnest('{free,short,long,ever}'::text[]) c;

CREATE FUNCTION pg_temp.at(ago interval) RETURNS timestamptz
LANGUAGE sql STABLE
RETURN now() - ago;

-- A conversation of so many answered turns that began so long ago, one turn a day; its session rests since its last turn.
CREATE FUNCTION pg_temp.talk(session text, caller text, ago interval, turns integer DEFAULT 1) RETURNS uuid
LANGUAGE plpgsql
AS $$
DECLARE
    began timestamptz := pg_temp.at(ago);
    key   bytea := help.session_key(session, caller);
    owner uuid := (SELECT u.user_id FROM hansard.users u WHERE u.name = caller);
    talk  uuid := hansard.uuid_v7(began);
    head  bytea := hansard.chain_start(talk, key, began);
    said  timestamptz;
    words text;
    hash  bytea;
    month date := date_trunc('month', began AT TIME ZONE 'UTC');
BEGIN
    PERFORM hansard.make_partition(p, month) FROM unnest('{conversations,turns,messages}'::text[]) p;
    INSERT INTO hansard.conversations VALUES (talk, key, owner, session, began);
    FOR n IN 1..turns LOOP
        said := began + (n - 1) * interval '1 day';
        INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, address, attempt,
                                   accepted_at, finished_at)
        VALUES (talk, n, 'completed', 'k' || n, sha256('x'), help.id('r'), '192.0.2.1', 1, said, said);
        FOR position IN 1..2 LOOP
            words := session || ' ' || n || '.' || position;
            hash := hansard.text_hash('0123456789abcdef', words);
            head := hansard.chain_hash(head, talk, n, position::smallint, (ARRAY['user', 'assistant'])[position], said, hash);
            INSERT INTO hansard.messages VALUES (talk, n, position, (ARRAY['user', 'assistant'])[position]::hansard.message_role,
                                                 words, said, '0123456789abcdef', hash, head);
        END LOOP;
    END LOOP;
    DELETE FROM hansard.sessions WHERE session_key = key;
    INSERT INTO hansard.sessions VALUES (key, owner, session, talk, turns + 1, 0, NULL, NULL, head, said);
    RETURN talk;
END
$$;

-- A whole walk, of steps of so many conversations; how it ended, with the age in days.
CREATE FUNCTION pg_temp.walk(keep interval, most integer DEFAULT 2) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    answer bigint[];
BEGIN
    UPDATE hansard.retention_walk SET ended_at = NULL, began_at = NULL WHERE ended_at IS NOT NULL;
    UPDATE hansard.retention_walk SET shortest = NULL;
    FOR n IN 1..1000 LOOP
        answer := hansard_api.apply_retention((extract(epoch FROM keep) * 1000)::bigint, most);
        IF answer[1] <> 1 THEN
            RETURN answer[1] || ' ' || CASE WHEN answer[2] > 0 THEN answer[2] / 86400 ELSE answer[2] END;
        END IF;
    END LOOP;
    RETURN 'endless';
END
$$;
CREATE FUNCTION pg_temp.words(session text, caller text) RETURNS text
LANGUAGE sql
AS $$
    SELECT string_agg(coalesce(m.text, '-'), ', ' ORDER BY m.conversation_id, m.turn_no, m.position)
    FROM hansard.conversations c JOIN hansard.messages m USING (conversation_id)
    WHERE c.session_key = help.session_key(session, caller)
$$;
CREATE FUNCTION pg_temp.has_month(ago interval) RETURNS integer
LANGUAGE sql
AS $$ SELECT count(*)::integer FROM pg_class WHERE relname ~ ('_' || to_char(pg_temp.at(ago) AT TIME ZONE 'UTC', 'YYYYMM') || '$')
          AND relnamespace = 'hansard'::regnamespace AND relkind = 'r' $$;
CREATE FUNCTION pg_temp.kinds() RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(kind || ' ' || n, ', ' ORDER BY kind)
      FROM (SELECT kind, count(*) AS n FROM hansard.audit_events WHERE kind ~ '^(retention|partition)' GROUP BY kind) k $$;

-- Nothing there, nothing to do.
SELECT is(pg_temp.walk('90 days'), '0 -1', 'an empty record has no oldest words');
SELECT is(pg_temp.kinds(), NULL, 'and nothing is noted');
SELECT is(hansard_api.apply_retention(7776000001, 10), '{0,-1}'::bigint[], 'a walk is made once an hour: it is not begun anew at once');

-- Turn by turn, in months of which something is kept.
SELECT pg_temp.talk('old', 'free', '100 days');
SELECT pg_temp.talk('kept', 'long', '100 days');
SELECT pg_temp.talk('half', 'free', '94 days 12 hours', 10);
SELECT pg_temp.talk('young', 'free', '80 days');
SELECT pg_temp.talk('short', 'short', '12 days'), pg_temp.talk('beside', 'free', '12 days');
SELECT pg_temp.talk('nobody', NULL, '91 days');
SELECT pg_temp.talk('nobody young', NULL, '89 days');
CREATE TEMP TABLE hashes AS SELECT conversation_id, turn_no, position, text_hash, chain_hash FROM hansard.messages;
SELECT is(pg_temp.walk('0'), '0 100', 'kept for ever, but for a tier that says otherwise');
SELECT is(pg_temp.words('short', 'short'), '-, -', 'a tier''s own retention counts, though it is shorter');
SELECT is(pg_temp.words('old', 'free'), 'old 1.1, old 1.2', '... for its callers only');
SELECT is(pg_temp.walk('90 days', 1), '0 100', 'what a tier keeps is the oldest then');
SELECT is(pg_temp.words('old', 'free'), '-, -', 'what is past its time is blanked');
SELECT is(pg_temp.words('kept', 'long'), 'kept 1.1, kept 1.2', 'a tier''s own retention counts, though it is longer');
SELECT is(pg_temp.words('young', 'free'), 'young 1.1, young 1.2', 'what is not yet past its time stays');
SELECT is(pg_temp.words('nobody', NULL), '-, -', 'callers without a key are a tier, too');
SELECT is(pg_temp.words('nobody young', NULL), 'nobody young 1.1, nobody young 1.2', '... and theirs stays as long');
SELECT is(pg_temp.words('half', 'free'), repeat('-, ', 10) || (SELECT string_agg(format('half %s.1, half %1$s.2', n), ', ')
                                                               FROM generate_series(6, 10) n), 'in a long conversation turn by turn');
SELECT set_eq('SELECT conversation_id, turn_no, position, text_hash, chain_hash FROM hansard.messages', 'SELECT * FROM hashes',
              'rows and hashes stay');
SELECT is(ROW(t.address, t.fingerprint, t.idempotency_key), ROW(NULL::text, ''::bytea, 'erased·1'::text), 'address, fingerprint and key go, too')
FROM hansard.turns t JOIN hansard.conversations c USING (conversation_id) WHERE c.session_key = help.session_key('old', 'free');
SELECT is((SELECT session_id FROM hansard.conversations WHERE session_key = help.session_key('old', 'free')), NULL,
          'a conversation of which nothing is left has no name');
SELECT is((SELECT count(*) FROM hansard.sessions WHERE session_key = help.session_key('old', 'free')), 0::bigint, 'and no session');
SELECT is((SELECT count(*) FROM hansard.sessions WHERE session_key = help.session_key('half', 'free')), 1::bigint,
          'one of which something is left has both');
SELECT is((SELECT jsonb_build_array(sum((detail ->> 'conversations')::int), sum((detail ->> 'turns')::int), sum((detail ->> 'messages')::int))
           FROM hansard.audit_events WHERE kind = 'retention_applied'), '[3, 8, 16]', 'what went is noted with its counts');
SELECT is(pg_temp.walk('90 days'), '0 100', 'once more');
SELECT is((SELECT sum((detail ->> 'turns')::int) FROM hansard.audit_events WHERE kind = 'retention_applied'), 8::bigint, '... nothing is to be done');
SELECT is(pg_temp.kinds(), 'retention_applied ' || (SELECT count(*) FROM hansard.audit_events WHERE kind = 'retention_applied'),
          'no month was dropped');
SELECT is_empty($$SELECT v.* FROM hansard.conversations c, hansard_audit.verify(c.conversation_id) v WHERE v.status <> 'ok'$$,
                'who checks the chains finds nothing wrong');
SELECT is(ROW(v.status, v.messages, v.erased), ROW('ok'::text, 20::bigint, 10::bigint), '... and what is blanked counts as erased')
FROM hansard.conversations c, hansard_audit.verify(c.conversation_id) v WHERE c.session_key = help.session_key('half', 'free');

-- What is left is spoken on: the blanked turns are not shown to the model.
SELECT is((SELECT history FROM help.ask('w', '{"session": "half", "caller": "free", "words": "still there?"}', ttl => '1000 days')),
          ARRAY(SELECT m.text FROM hansard.conversations c JOIN hansard.messages m USING (conversation_id)
                WHERE c.session_key = help.session_key('half', 'free') AND m.text ~ '^half' ORDER BY m.turn_no, m.position),
          'a model is shown what is left');
SELECT is(help.finishes('{"session": "half", "caller": "free", "state": "failed"}'), 'finished', 'that turn fails');
SELECT is((SELECT cardinality(history) FROM help.ask('w', '{"session": "half", "caller": "free", "words": "and now?"}', ttl => '1000 days')),
          10, '... the other way to read a history leaves them out as well');
SELECT is(hansard_api.read_conversation(help.hash('free'), 'half', 0, 1, 65536)::jsonb #> '{turns,0,messages,0}',
          '{"role": "user", "content": null, "position": 1}', 'who reads the conversation sees that something was there');
SELECT is((SELECT count(*) FROM hansard_admin.export_user('free', '00000000-0000-0000-0000-000000000000', 0, 100, 65536)), 14::bigint,
          'so does who exports it');

-- An open turn is never past its time.
SELECT pg_temp.talk('open', 'free', '200 days');
UPDATE hansard.turns SET state = 'running', finished_at = NULL WHERE conversation_id =
    (SELECT conversation_id FROM hansard.sessions WHERE session_key = help.session_key('open', 'free'));
SELECT is(pg_temp.walk('90 days'), '0 200', 'a turn that is open is kept');
SELECT is(pg_temp.words('open', 'free'), 'open 1.1, open 1.2', '... with its words');
SELECT is(pg_temp.has_month('200 days'), 3, '... and its month');
UPDATE hansard.turns SET state = 'failed', finished_at = pg_temp.at('95 days') WHERE state = 'running' AND accepted_at < pg_temp.at('190 days');

-- A month at once.
SELECT pg_temp.talk('with it', 'free', '200 days', 2), pg_temp.talk('and it', NULL, '200 days'), pg_temp.talk('erased', NULL, '200 days');
SELECT lives_ok($$SELECT hansard_api.erase_conversation(NULL, 'erased', help.id('r')::text)$$, 'one was erased before');
CREATE TEMP TABLE doomed AS
SELECT c.conversation_id, (SELECT m.chain_hash FROM hansard.messages m WHERE m.conversation_id = c.conversation_id
                           ORDER BY turn_no DESC, position DESC LIMIT 1) AS head
FROM hansard.conversations c WHERE c.created_at = pg_temp.at('200 days');
SELECT is(pg_temp.walk('90 days', 3), '0 100', 'the oldest words are now those of another month');
SELECT is(pg_temp.has_month('200 days'), 0, 'a month of which nothing is to be kept is dropped, all three tables');
SELECT is(pg_temp.words('with it', 'free'), NULL, 'its rows are gone');
SELECT is_empty($$SELECT FROM hansard.sessions s JOIN doomed USING (conversation_id)$$, 'and no session points there');
SELECT is((SELECT detail - 'heads_hash' FROM hansard.audit_events WHERE kind = 'partition_dropped'),
          jsonb_build_object('month', to_char(pg_temp.at('200 days') AT TIME ZONE 'UTC', 'YYYYMM'), 'conversations', 4,
                             'turns', 5, 'messages', 10), 'which is noted with counts');
SELECT is(string_agg(DISTINCT v.status, ' '), 'gone', 'who checks its chains is told that they are gone')
FROM doomed d, hansard_audit.verify(d.conversation_id) v;
CREATE FUNCTION pg_temp.fold() RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    hash bytea := '';
    d    record;
BEGIN
    FOR d IN SELECT * FROM doomed ORDER BY conversation_id LOOP
        hash := sha256(hash || uuid_send(d.conversation_id) || d.head);
    END LOOP;
    RETURN encode(hash, 'hex');
END
$$;
SELECT is((SELECT detail ->> 'heads_hash' FROM hansard.audit_events WHERE kind = 'partition_dropped'), pg_temp.fold(),
          'and a hash over the heads of its chains');
SELECT is(pg_temp.words('kept', 'long'), 'kept 1.1, kept 1.2', 'other months stay');
SELECT is((SELECT outcome || turn_no FROM help.ask('w', '{"session": "with it", "caller": "free", "words": "again"}', ttl => '1000 days')),
          'accepted1', 'a session of it begins anew, though it had never to rest for so long');

-- Between: out of the record, and not deleted yet.
CREATE FUNCTION pg_temp.tables(name text) RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(regexp_replace(relname, '[0-9]{6}$', ''), ' ' ORDER BY relname) FROM pg_class
      WHERE relnamespace = 'hansard'::regnamespace AND relkind = 'r' AND relname ~ name $$;
CREATE FUNCTION pg_temp.walk_until_dropped() RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    state bigint;
BEGIN
    UPDATE hansard.retention_walk SET ended_at = NULL, began_at = NULL;
    FOR n IN 1..1000 LOOP
        state := (hansard_api.apply_retention(7776000000, 2))[1];
        EXIT WHEN state <> 1 OR pg_temp.tables('^dropped_.*_[0-9]{6}$') IS NOT NULL;
    END LOOP;
    RETURN state;
END
$$;
SELECT pg_temp.talk('between', 'free', '150 days') AS between \gset
CREATE TABLE hansard.messages_199912 AS SELECT 'taken out by hand' AS why;
CREATE TABLE hansard.dropped_turns_of_mine AS SELECT 'made by hand' AS why;
SELECT is(pg_temp.walk_until_dropped(), 1::bigint, 'a month is dropped, and there is something left to do');
SELECT is(pg_temp.tables('^dropped_.*_[0-9]{6}$'), 'dropped_conversations_ dropped_messages_ dropped_turns_', '... for its tables are still there');
SELECT is(pg_temp.has_month('150 days'), 3, '... all three, under names that say so');
SELECT is(pg_temp.words('between', 'free'), NULL, 'nobody sees its rows');
SELECT is((SELECT count(*) FROM hansard.audit_events WHERE kind = 'partition_dropped'), 2::bigint, 'it is noted already');
SELECT is((SELECT array_agg(month) FROM hansard_audit.dropped_months WHERE month = to_char(pg_temp.at('150 days') AT TIME ZONE 'UTC', 'YYYYMM')),
          ARRAY[to_char(pg_temp.at('150 days') AT TIME ZONE 'UTC', 'YYYYMM')], '... so who checks is told that the month is gone');
SELECT is((SELECT string_agg(v.status, ' ') FROM hansard_audit.verify(:'between') v), 'gone', '... and its chains');
SELECT is((SELECT count(*) FROM hansard_admin.export_user('free', '00000000-0000-0000-0000-000000000000', 0, 100, 65536) e
           WHERE e::text ~ 'between'), 0::bigint, 'it is in no export');
SELECT is((SELECT count(*) FROM hansard_audit.storage WHERE partition_name ~ '^dropped_.*_[0-9]{6}$' AND month IS NULL), 3::bigint,
          'who asks for storage sees what is left');
UPDATE hansard.retention_walk SET month = NULL;
SELECT is(hansard_api.apply_retention(7776000000, 2), '{1,NULL}'::bigint[], 'a step deletes one of them, though there is no other month');
SELECT is(pg_temp.tables('^dropped_.*_[0-9]{6}$'), 'dropped_messages_ dropped_turns_', '... and no more');
UPDATE hansard.retention_walk SET ended_at = pg_temp.at('1 day');
SELECT is(pg_temp.walk('90 days'), '0 100', 'a later walk finds what is left');
SELECT is(pg_temp.tables('^dropped_.*_[0-9]{6}$'), NULL, '... and deletes it before it ends');
SELECT is(pg_temp.tables('^(messages_199912|dropped_)'), 'dropped_turns_of_mine messages_', 'what somebody made or took out by hand stays');
SELECT is((SELECT count(*) FROM hansard.audit_events WHERE kind = 'partition_dropped'), 2::bigint, 'it is noted once');
DROP TABLE hansard.messages_199912, hansard.dropped_turns_of_mine;

-- What an operator has detached of a month stays, and is in nobody's way.
SELECT pg_temp.talk('past', 'free', '800 days');
SELECT 'messages_' || to_char(pg_temp.at('800 days') AT TIME ZONE 'UTC', 'YYYYMM') AS parted \gset
ALTER TABLE hansard.messages DETACH PARTITION hansard.:"parted";
SELECT alike(pg_temp.walk('90 days', 1), '0 %', 'a part of a month was detached by hand');
SELECT is(pg_temp.has_month('800 days'), 1, '... it stays, and the rest goes');
DROP TABLE hansard.:"parted";

-- One conversation that is kept keeps its month.
SELECT pg_temp.talk('past', 'free', '300 days'), pg_temp.talk('stays', 'ever', '300 days');
SELECT is(pg_temp.walk('90 days', 1), '0 300', 'one is kept for ever');
SELECT is(pg_temp.has_month('300 days'), 3, 'so its month stays');
SELECT is(pg_temp.words('past', 'free'), '-, -', '... without the words of others');
SELECT is(pg_temp.words('stays', 'ever'), 'stays 1.1, stays 1.2', '... with its own');
SELECT pg_temp.talk('late', 'free', '350 days');
UPDATE hansard.turns SET finished_at = pg_temp.at('1 day') WHERE accepted_at = pg_temp.at('350 days');
SELECT is(pg_temp.walk('90 days', 1), '0 350', 'a turn of long ago that ended yesterday');
SELECT is(pg_temp.has_month('350 days'), 3, '... keeps its month, too');

-- A walk goes on where it was left.
UPDATE hansard.retention_walk SET ended_at = NULL, began_at = NULL, shortest = NULL;
SELECT is((hansard_api.apply_retention(7776000000, 1))[1], 1::bigint, 'a walk begins');
CREATE TEMP TABLE before AS SELECT * FROM hansard.retention_walk;
SELECT is((hansard_api.apply_retention(7776000000, 1))[1], 1::bigint, 'and goes on');
SELECT is(w.began_at, b.began_at, 'it is the same one') FROM hansard.retention_walk w, before b;
SELECT cmp_ok(w.after_id, '>', b.after_id, 'further on') FROM hansard.retention_walk w, before b WHERE w.is_mixed = b.is_mixed
UNION ALL SELECT is(w.month, b.month, 'in the same month, known as mixed now') FROM hansard.retention_walk w, before b WHERE w.is_mixed <> b.is_mixed;

-- The month we are in is never dropped, whatever the retention.
SELECT pg_temp.talk('just now', 'free', '2 seconds');
SELECT alike(pg_temp.walk('1 second', 50), '0 %', 'a retention of a second');
SELECT is(pg_temp.words('just now', 'free'), '-, -', 'is kept');
SELECT is(pg_temp.has_month('0'), 3, 'the month stays');

-- Addresses of callers without a key, in events.
INSERT INTO hansard.audit_events
SELECT hansard.uuid_v7(pg_temp.at(ago)), pg_temp.at(ago), 'limit_reached', NULL, NULL, '{"limit": "rate", "address": "192.0.2.9"}'
FROM unnest('{100 days,1 day}'::interval[]) ago;
UPDATE hansard.retention_walk SET events_after = '00000000-0000-0000-0000-000000000000';
SELECT alike(pg_temp.walk('90 days'), '0 %', 'events are walked, too');
SELECT is((SELECT array_agg(detail ? 'address' ORDER BY event_id) FROM hansard.audit_events WHERE kind = 'limit_reached'), '{f,t}',
          'addresses go when they are past the retention of callers without a key');


-- A page of them is not all of them.
UPDATE hansard.audit_events SET detail = '{"address": "192.0.2.9"}' WHERE kind = 'limit_reached';
INSERT INTO hansard.audit_events
SELECT hansard.uuid_v7(pg_temp.at('100 days') + n * interval '1 ms'), pg_temp.at('100 days'), 'limit_reached', NULL, NULL,
       '{"address": "192.0.2.9"}' FROM generate_series(1, 60) n;
UPDATE hansard.retention_walk SET events_after = '00000000-0000-0000-0000-000000000000';
SELECT alike(pg_temp.walk('90 days', 1), '0 %', 'more events than a step looks at');
SELECT is((SELECT count(*) FROM hansard.audit_events WHERE kind = 'limit_reached' AND detail ? 'address'), 1::bigint, '... all go');

-- A conversation of more turns than a step takes, and others beside it.
SELECT pg_temp.talk('short 1', 'free', '120 days'), pg_temp.talk('long', 'free', '121 days', 25), pg_temp.talk('short 2', 'free', '119 days');
SELECT pg_temp.talk('longer', 'free', '94 days 12 hours', 35), pg_temp.talk('ten', 'free', '130 days', 10);
SELECT pg_temp.talk('for ever', 'ever', ago) FROM unnest('{95 days,119 days,120 days,121 days,130 days}'::interval[]) ago; -- no month is dropped
DELETE FROM hansard.audit_events WHERE kind = 'retention_applied';
SELECT alike(pg_temp.walk('90 days', 1), '0 %', 'a walk with ten turns in a step');
SELECT is(replace(string_agg(pg_temp.words(s, 'free'), ', '), '-, ', ''), '-', 'all that is past its time goes')
FROM unnest('{short 1,long,short 2,ten}'::text[]) s;
SELECT is(array_agg(c.session_id), ARRAY[NULL, NULL, NULL, NULL]::text[], '... and is closed') FROM hansard.conversations c
WHERE c.session_key IN (SELECT help.session_key(s, 'free') FROM unnest('{short 1,long,short 2,ten}'::text[]) s);
SELECT is(pg_temp.words('longer', 'free'), repeat('-, ', 10) || (SELECT string_agg(format('longer %s.1, longer %1$s.2', n), ', ' ORDER BY n)
                                                                 FROM generate_series(6, 35) n), 'what is not stays');
SELECT is((SELECT jsonb_build_array(max((detail ->> 'turns')::int), sum((detail ->> 'turns')::int), sum((detail ->> 'messages')::int), sum((detail ->> 'conversations')::int))
           FROM hansard.audit_events WHERE kind = 'retention_applied'), '[10, 42, 84, 4]', 'in steps, each of which is noted');
SELECT is((SELECT after_turn FROM hansard.retention_walk), 0, 'the next walk begins with nothing');

-- No worker asks for less than is allowed.
UPDATE hansard.retention_walk SET ended_at = NULL, began_at = NULL, shortest = '90 days';
SELECT throws_ok('SELECT hansard_api.apply_retention(7775999999, 1)', 'HS400', NULL, 'a retention that is shorter than allowed is refused');
SELECT is(help.tries('hansard_app', $$UPDATE hansard.retention_walk SET shortest = '1 s'$$), '42501', '... and no worker allows it');
SELECT is((hansard_api.apply_retention(0, 1))[1], 1::bigint, 'for ever is not shorter');
SELECT is((SELECT shortest FROM hansard.retention_walk), '90 days'::interval, '... nor the least from then on');
UPDATE hansard.retention_walk SET shortest = '0';
SELECT throws_ok('SELECT hansard_api.apply_retention(3153600000000, 1)', 'HS400', NULL, 'a hundred years are shorter than for ever');
UPDATE hansard.retention_walk SET shortest = NULL;
SELECT is((SELECT w.shortest FROM hansard_api.apply_retention(86400000, 1), hansard.retention_walk w), NULL, 'nobody has asked yet');
SELECT is((SELECT shortest FROM hansard.retention_walk), '1 day'::interval, 'the first who asks says what is the least');

UPDATE hansard.retention_walk SET shortest = NULL, ended_at = clock_timestamp();
SELECT is((hansard_api.apply_retention(86400000, 1))[1], 0::bigint, 'a walk has just ended');
SELECT is((SELECT shortest FROM hansard.retention_walk), '1 day'::interval, '... who asks says it all the same');

-- Settings.
SELECT throws_ok($$UPDATE hansard.tiers SET retention = '-1 day'$$, '23514', NULL, 'no time is negative');

SELECT * FROM finish();
ROLLBACK;
