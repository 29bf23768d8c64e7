-- A conversation is read by pages, by its owner and nobody else.
BEGIN;
SELECT plan(36);
SELECT help.worker('w');
SELECT help.caller('ann', 'free');
SELECT help.caller('bob', 'free');
SELECT help.caller('eve', 'free');
SELECT FROM hansard_admin.add_key('ann', NULL, help.hash('ann''s other key'));
SELECT hansard_admin.revoke_key(hansard.key_id(help.hash('eve')));

CREATE FUNCTION pg_temp.page(session text, after_turn integer DEFAULT 0, most_turns integer DEFAULT 100,
                             most_bytes integer DEFAULT 65536,
                             caller text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql
AS $$ SELECT hansard_api.read_conversation(CASE WHEN caller IS NOT NULL THEN help.hash(caller) END, session, after_turn,
                                           most_turns, most_bytes)::jsonb $$;
-- '1 2 > 2': turns 1 and 2, more after 2.
CREATE FUNCTION pg_temp.turns(page jsonb) RETURNS text
LANGUAGE sql
AS $$
    SELECT concat_ws(' ',
                     (SELECT string_agg(t ->> 'turn', ' ' ORDER BY n)
                      FROM jsonb_array_elements(page -> 'turns') WITH ORDINALITY AS e (t, n)),
                     '> ' || (page ->> 'next_after'))
$$;

-- One turn of each kind.
SELECT help.turn('w', 's', 'hello', 'hi "there"');
SELECT help.turn('w', 's', 'trouble', NULL);
SELECT help.outcomes('w', '{"words": "still running"}');
UPDATE hansard.turns SET accepted_at = '2026-01-02 03:04:05.678901+00', model = 'm-1', prompt_tokens = 3,
    completion_tokens = 2147483647
WHERE turn_no = 1;
UPDATE hansard.turns SET finished_at = '2026-01-02 03:04:06+00' WHERE turn_no = 1;
SET LOCAL timezone = 'America/New_York';
SET LOCAL datestyle = 'SQL, DMY';
SELECT is(pg_temp.page('s') - 'turns',
          jsonb_build_object('session_id', 's', 'conversation_id', conversation_id, 'next_after', NULL),
          'a page says of what it is, and that it is the last') FROM hansard.sessions;
SELECT is(pg_temp.page('s') #> '{turns,0}',
          '{"turn": 1, "status": "completed", "error": null, "model": "m-1", "accepted_at": "2026-01-02T03:04:05.678Z",
            "finished_at": "2026-01-02T03:04:06.000Z",
            "usage": {"prompt_tokens": 3, "completion_tokens": 2147483647, "total_tokens": 2147483650},
            "messages": [{"position": 1, "role": "user", "content": "hello"},
                         {"position": 2, "role": "assistant", "content": "hi \"there\""}]}'::jsonb,
          'a completed turn is whole, and times are UTC');
RESET timezone;
RESET datestyle;
SELECT is((pg_temp.page('s') #> '{turns,1}') - '{accepted_at,finished_at}'::text[],
          '{"turn": 2, "status": "failed", "error": "model_failed", "model": null, "usage": null,
            "messages": [{"position": 1, "role": "user", "content": "trouble"}]}'::jsonb,
          'a failed turn has its error');
SELECT is((pg_temp.page('s') #> '{turns,2}') - 'accepted_at',
          '{"turn": 3, "status": "running", "error": null, "model": null, "usage": null, "finished_at": null,
            "messages": [{"position": 1, "role": "user", "content": "still running"}]}'::jsonb,
          'a running turn has no end');
SELECT matches(pg_temp.page('s') #>> '{turns,2,accepted_at}', '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$',
               'but a beginning');
SELECT is(help.finishes('{}'), 'finished', 'it is answered');

-- Pages.
SELECT help.turn('w', 's', 'q' || i, 'answer ' || i) FROM generate_series(4, 7) AS i; -- 10 bytes a turn
SELECT is(pg_temp.turns(pg_temp.page('s')), '1 2 3 4 5 6 7', 'one page takes all');
SELECT is(pg_temp.turns(pg_temp.page('s', 0, 3)), '1 2 3 > 3', 'the first page of three');
SELECT is(pg_temp.turns(pg_temp.page('s', 3, 3)), '4 5 6 > 6', 'the next page');
SELECT is(pg_temp.turns(pg_temp.page('s', 6, 3)), '7', 'the last page');
SELECT is(pg_temp.turns(pg_temp.page('s', 4, 3)), '5 6 7', '... which is full');
SELECT is(pg_temp.turns(pg_temp.page('s', 7, 3)), '', 'after the last there is nothing');
SELECT is(pg_temp.page('s', 7, 3) -> 'turns', '[]'::jsonb, '... as an empty list');
SELECT is(pg_temp.turns(pg_temp.page('s', 1000000, 3)), '', 'nor far beyond');
SELECT is(pg_temp.turns(pg_temp.page('s', 3, 1)), '4 > 4', 'one by one');
SELECT is(pg_temp.turns(pg_temp.page('s', 3, 100, 30)), '4 5 6 > 6', 'as many as there are bytes');
SELECT is(pg_temp.turns(pg_temp.page('s', 3, 100, 29)), '4 5 > 5', '... and not one more');
SELECT is(pg_temp.turns(pg_temp.page('s', 3, 100, 40)), '4 5 6 7', '... or all');
SELECT is(pg_temp.turns(pg_temp.page('s', 3, 2, 30)), '4 5 > 5', 'both limits at once: turns');
SELECT is(pg_temp.turns(pg_temp.page('s', 3, 3, 20)), '4 5 > 5', '... bytes');
SELECT is(pg_temp.turns(pg_temp.page('s', 3, 100, 1)), '4 > 4', 'one turn always fits, so that every reader gets on');
SELECT help.turn('w', 's', 'large', repeat('ö', 100000));
SELECT help.turn('w', 's', 'last', 'small');
SELECT is(pg_temp.turns(pg_temp.page('s', 6, 100, 10000)), '7 > 7', 'a large turn is left to the next page');
SELECT is(pg_temp.turns(pg_temp.page('s', 7, 100, 10000)), '8 > 8', '... where it is alone');
SELECT is(octet_length(pg_temp.page('s', 7, 100, 10000) #>> '{turns,0,messages,1,content}'), 200000, '... and whole');
SELECT is(pg_temp.turns(pg_temp.page('s', 7, 100, 200005)), '8 > 8', 'ö has two bytes');
SELECT is(pg_temp.turns(pg_temp.page('s', 7, 100, 200014)), '8 9', '... each of which counts');

-- Whose it is.
SELECT is(help.outcomes('w',
                        '[{"session": "mine", "caller": "ann", "words": "secret"},
                          {"session": "mine", "caller": "bob", "words": "other"}]'),
          'accepted accepted', 'two callers have sessions of one name');
SELECT is(pg_temp.page('mine', caller => 'ann') #>> '{turns,0,messages,0,content}', 'secret', 'each reads his own');
SELECT is(pg_temp.page('mine', caller => 'bob') #>> '{turns,0,messages,0,content}', 'other', '... and only that');
SELECT is(pg_temp.page('mine', caller => 'ann''s other key') #>> '{turns,0,messages,0,content}', 'secret',
          'any key of the user will do');
SELECT throws_ok($$SELECT pg_temp.page('mine')$$, 'HS404', NULL, 'without a key there is no such session');
SELECT throws_ok($$SELECT pg_temp.page('s', caller => 'ann')$$, 'HS404', NULL, 'nor is an anonymous session a user''s');
SELECT throws_ok($$SELECT pg_temp.page('nowhere')$$, 'HS404', NULL, 'a session that never was is answered alike');
SELECT throws_ok($$SELECT pg_temp.page('s', caller => 'nobody')$$, 'HS401', NULL, 'an unknown key is refused');
SELECT throws_ok($$SELECT pg_temp.page('s', caller => 'eve')$$, 'HS401', NULL, 'a revoked key is refused');

-- Only the current conversation.
UPDATE hansard.sessions SET last_activity = now() - interval '2 days' WHERE session_id = 's';
SELECT help.turn('w', 's', 'good morning', 'good day');
SELECT is(jsonb_path_query_array(pg_temp.page('s'), '$.turns[*].messages[*].content'),
          '["good morning", "good day"]'::jsonb,
          'of an expired session the new conversation is read');

SELECT * FROM finish();
ROLLBACK;
