-- One batch of everything: each request gets what it would have got alone.
BEGIN;
SELECT plan(12);
SELECT help.worker(w) FROM unnest('{w,v,dead}'::text[]) AS w;
SELECT help.caller('ann', 'free');
SELECT help.caller('bob', 'paid');
SELECT help.turn('w', 'old', 'hello', 'hi there');
SELECT help.turn('w', 'old', 'fail', NULL);
SELECT is(help.outcomes('v', '{"session": "busy"}'), 'accepted', 'one conversation is busy elsewhere');
SELECT is(help.outcomes('w', '{"session": "own", "key": "k", "request": "r"}'), 'accepted', 'one is busy here');
SELECT is(help.outcomes('dead', '[{"session": "takeover", "key": "k"}, {"session": "orphan"}]'), 'accepted accepted',
          'a worker dies over two');
SELECT help.silence('dead', '16 seconds');
UPDATE hansard.tiers SET burst = 2 WHERE tier = 'anonymous';
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM hansard.turns) AS turns,
    (SELECT count(*) FROM hansard.messages) AS messages;

CREATE TEMP TABLE batch AS SELECT * FROM help.ask('w', '[
    {"session": "new 1", "address": "192.0.2.1"},
    {"session": "new 2", "caller": "nobody"},
    {"session": "old", "key": "hello", "words": "hello"},
    {"session": "old 2", "caller": "ann", "address": "192.0.2.1"},
    {"session": "busy"},
    {"session": "old", "key": "fail", "words": "fail"},
    {"session": "new 1", "address": "192.0.2.1"},
    {"session": "own", "key": "k", "request": "r"},
    {"session": "new 3", "address": "192.0.2.1"},
    {"session": "takeover", "key": "k"},
    {"session": "new 4", "address": "192.0.2.1"},
    {"session": "orphan", "words": "next"},
    {"session": "old", "key": "hello", "words": "bye"},
    {"session": "new 5", "address": "192.0.2.1"},
    {"session": "new 6", "caller": "bob"},
    {"session": "old 3", "caller": "ann"}
]');
SELECT results_eq(
    $$SELECT item, outcome, turn_no, attempt, quota_remaining FROM batch WHERE outcome IN ('accepted', 'HS429')
      ORDER BY item$$,
    $$VALUES (1, 'accepted', 1, 1, 1), (4, 'accepted', 1, 1, 19), (8, 'accepted', 1, 1, 2), (9, 'accepted', 1, 1, 0),
             (10, 'accepted', 1, 2, 2), (11, 'HS429', 1, 1, 0), (12, 'accepted', 2, 1, 1), (14, 'HS429', 1, 1, 0),
             (15, 'accepted', 1, 1, 119), (16, 'accepted', 1, 1, 18)$$,
    'accepted are those that may, in their order, with what each has left');
SELECT results_eq(
    $$SELECT item, outcome, reply, error_code FROM batch WHERE outcome NOT IN ('accepted', 'HS429') ORDER BY item$$,
    $$VALUES (2, 'HS401', NULL, NULL), (3, 'replayed', 'hi there', NULL), (5, 'waiting', NULL, NULL),
             (6, 'replayed', NULL, 'model_failed'), (7, 'waiting', NULL, NULL), (13, 'HS422', NULL, NULL)$$,
    'the others are told why not');
SELECT is(array_agg(item ORDER BY item), ARRAY(SELECT generate_series(1, 16)), 'each has one answer') FROM batch;
SELECT cmp_ok(a.retry_after_ms, '=', b.retry_after_ms, 'two refused at once are told the same time')
FROM batch a, batch b WHERE a.item = 11 AND b.item = 14;
SELECT is((SELECT count(*) FROM hansard.turns) - turns, 6::bigint, 'six turns are new') FROM before;
SELECT is((SELECT count(*) FROM hansard.messages) - messages, 6::bigint, '... with one message each') FROM before;
SELECT is(array_agg(s.session_id ORDER BY b.item),
          ARRAY['new 1', 'old 2', 'own', 'new 3', 'takeover', 'orphan', 'new 6', 'old 3'],
          'each is open in its own session')
FROM batch b JOIN hansard.sessions s ON s.session_key = b.session_key AND s.conversation_id = b.conversation_id
    AND s.open_turn = b.turn_no AND s.open_worker = help.id('w')
WHERE b.outcome = 'accepted';
SELECT is(string_agg(b.item || ' ' || m.text, ', ' ORDER BY b.item),
          '1 hello, 4 hello, 8 hello, 9 hello, 10 hello, 12 next, 15 hello, 16 hello',
          '... with its own words')
FROM batch b JOIN hansard.messages m USING (conversation_id, turn_no) WHERE b.outcome = 'accepted';
SELECT is((SELECT count(DISTINCT salt) FROM hansard.messages), (SELECT count(*) FROM hansard.messages),
          'no two messages share a salt');

SELECT * FROM finish();
ROLLBACK;
