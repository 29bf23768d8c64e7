-- What auditors see of what callers, workers and operators did.
BEGIN;
SELECT plan(36);

SELECT help.worker('w');
SELECT help.caller('ann', 'paid');
SELECT help.caller('bob', 'free');
SELECT hansard_admin.add_key('ann', NULL, help.hash('ann''s second'));
SELECT hansard_admin.revoke_key(hansard.key_id(help.hash('ann''s second')));
SELECT hansard_admin.set_price('demo', now() - interval '40 days', 1, 2, 'EUR');
SELECT hansard_admin.set_price('demo', now() - interval '1 day', 10, 20, 'EUR');
SELECT hansard_admin.set_price('demo', now() + interval '1 day', 5, 5, 'USD');

-- ann: answered, failed, open; bob: answered by a model nobody knows the price of; somebody: answered and erased.
SELECT FROM help.ask('w', '{"caller": "ann", "session": "a", "words": "one", "address": "192.0.2.1", "request": "r1", "key": "k1"}');
SELECT FROM help.finish('{"caller": "ann", "session": "a", "answer": "first", "model": "demo", "prompt_tokens": 1000,
                          "completion_tokens": 500, "first_byte_ms": 40, "calls": 2}');
SELECT FROM help.ask('w', '{"caller": "ann", "session": "a", "words": "two"}');
SELECT FROM help.finish('{"caller": "ann", "session": "a", "state": "failed", "error": "model_failed", "calls": 3}');
SELECT FROM help.ask('w', '{"caller": "ann", "session": "a", "words": "three"}');
SELECT FROM help.ask('w', '{"caller": "bob", "session": "b", "words": "good day"}');
SELECT FROM help.finish('{"caller": "bob", "session": "b", "answer": "hi", "model": "other", "prompt_tokens": 7, "completion_tokens": 8}');
SELECT FROM help.ask('w', '{"session": "s", "words": "secret", "address": "192.0.2.9"}');
SELECT FROM help.finish('{"session": "s", "answer": "kept", "model": "demo"}');
SELECT hansard_api.erase_conversation(NULL, 's', help.id('r9')::text);
SELECT help.outcomes('w', jsonb_agg(jsonb_build_object('session', 'n' || i, 'address', '192.0.2.7')))
FROM generate_series(1, 11) AS i;

SET LOCAL search_path = hansard_audit, tap;

-- Transcript.
SELECT results_eq($$SELECT turn_no, position, who, session_id, role::text, text, state::text FROM transcript
                    WHERE user_name = 'ann' ORDER BY said_at, turn_no, position$$,
                  $$VALUES (1, 1::smallint, 'ann', 'a', 'user', 'one', 'completed'),
                           (1, 2::smallint, 'ann', 'a', 'assistant', 'first', 'completed'),
                           (2, 1::smallint, 'ann', 'a', 'user', 'two', 'failed'),
                           (3, 1::smallint, 'ann', 'a', 'user', 'three', 'running')$$, 'what ann said and was told');
SELECT is(ROW(model, worker_id, request_id, address, is_erased, said_at >= accepted_at),
          ROW('demo'::text, md5('w')::uuid, md5('r1')::uuid, '192.0.2.1'::text, false, true), '... by whom, and from where')
FROM transcript WHERE text = 'first';
SELECT is(ROW(who, user_name, user_id), ROW('bob'::text, 'bob'::text, (SELECT user_id FROM owners WHERE user_name = 'bob')),
          'bob is bob') FROM transcript WHERE text = 'good day';
SELECT is(ROW(who, user_name, user_id), ROW('anonymous'::text, NULL::text, NULL::uuid), 'who has no key is anonymous')
FROM transcript WHERE session_id = 'n1';
SELECT is(ROW(count(*), count(text), count(session_id), count(address), min(who)),
          ROW(2::bigint, 0::bigint, 0::bigint, 0::bigint, 'anonymous'::text), 'of what was erased the rows are left')
FROM transcript WHERE is_erased;

-- Turns.
SELECT is(ROW(who, state::text, model, prompt_tokens, completion_tokens, first_byte_ms, attempt::int, model_attempts::int,
              idempotency_key, finished_at > accepted_at, day),
          ROW('ann'::text, 'completed'::text, 'demo'::text, 1000, 500, 40::bigint, 1, 2, 'k1'::text, true,
              (now() AT TIME ZONE 'UTC')::date), 'a turn') FROM turns WHERE user_name = 'ann' AND turn_no = 1;
SELECT is(ROW(cost, currency), ROW((1000 * 10 + 500 * 20) / 1000000.0, 'EUR'::text),
          'it costs what its model cost then: not what it did before, nor what it will') FROM turns WHERE cost > 0;
SELECT is(ROW(cost, currency), ROW(NULL::numeric, NULL::text), 'no price, no cost') FROM turns WHERE model = 'other';
SELECT is(ROW(cost, currency), ROW(NULL::numeric, 'EUR'::text), 'no tokens, no cost')
FROM turns WHERE model = 'demo' AND prompt_tokens IS NULL;
SELECT is(ROW(state::text, finished_at, total_ms, cost), ROW('running'::text, NULL::timestamptz, NULL::bigint, NULL::numeric),
          'one that is open') FROM turns WHERE user_name = 'ann' AND turn_no = 3;
SELECT is(count(*), 15::bigint, 'a row each, whatever prices there are') FROM turns;

SELECT is(ROW(turn_no, who, error_code, question, model_attempts::int), ROW(2, 'ann'::text, 'model_failed'::text, 'two'::text, 3),
          'the failed one') FROM failed_turns;
SELECT is(count(*), 1::bigint, '... is the only one') FROM failed_turns;
SELECT is_empty('SELECT * FROM slow_turns', 'none is slow');
UPDATE hansard.turns SET accepted_at = accepted_at - interval '11 seconds' WHERE turn_no IN (1, 3);
UPDATE hansard.turns SET accepted_at = accepted_at - interval '9 seconds' WHERE turn_no = 2;
SELECT results_eq($$SELECT turn_no, state::text, total_ms BETWEEN 10000 AND 21000 FROM slow_turns WHERE user_name = 'ann' ORDER BY turn_no$$,
                  $$VALUES (1, 'completed', true), (3, 'running', true)$$, 'slow ones, one of them open');

SELECT results_eq($$SELECT who, model, turns, completed, failed, cancelled, model_calls, prompt_tokens, completion_tokens, cost,
                           currency, without_cost
                    FROM usage_daily WHERE day = (now() AT TIME ZONE 'UTC')::date AND user_name IS NOT NULL ORDER BY who, model$$,
                  $$VALUES ('ann', 'demo', 1::bigint, 1::bigint, 0::bigint, 0::bigint, 2::bigint, 1000::bigint, 500::bigint, 0.02, 'EUR', 0::bigint),
                           ('ann', NULL, 2, 0, 1, 0, 3, NULL, NULL, NULL, NULL, 0),
                           ('bob', 'other', 1, 1, 0, 0, 1, 7, 8, NULL, NULL, 1)$$, 'usage of a day');
SELECT is(sum(turns), (SELECT count(*)::numeric FROM turns), 'all turns are in it') FROM usage_daily;

-- What is gone beside a row does not take the row out of sight.
SAVEPOINT whole;
DELETE FROM hansard.conversations WHERE session_id = 'a';
DELETE FROM hansard.turns WHERE turn_no = 1;
SELECT is(ROW(who, user_id, model), ROW(NULL::text, NULL::uuid, NULL::text), 'a message without header and turn is seen')
FROM transcript WHERE text = 'first';
SELECT is(count(*), 2::bigint, '... so are turns without a header, whose owner is not called anonymous') FROM turns WHERE who IS NULL;
ROLLBACK TO whole;
SET LOCAL search_path = hansard_audit, tap;

-- Events, refusals, owners.
SELECT results_eq($$SELECT kind, count(*), min(user_name) FROM events GROUP BY kind ORDER BY kind$$,
                  $$VALUES ('conversation_erased', 1::bigint, NULL), ('key_added', 3, 'ann'), ('key_revoked', 1, 'ann'),
                           ('limit_reached', 1, NULL), ('price_set', 3, NULL)$$, 'events');
SELECT is(detail - 'valid_from', '{"model": "demo", "prompt_price": 5, "completion_price": 5, "currency": "USD"}',
          'a price that was set is one') FROM events WHERE detail ->> 'currency' = 'USD';
SELECT is(ROW(who, user_name, limit_kind, tier, address, request_id IS NOT NULL),
          ROW('anonymous'::text, NULL::text, 'rate'::text, 'anonymous'::text, '192.0.2.7'::text, true),
          'somebody came to a limit') FROM refusals;
SELECT is(ROW(tier, keys_in_force, keys_revoked, conversations, first_conversation_at = last_conversation_at),
          ROW('paid'::text, 1::bigint, 1::bigint, 1::bigint, true), 'ann as an owner') FROM owners WHERE user_name = 'ann';
SELECT is(count(*), 2::bigint, 'owners have keys') FROM owners;

-- Prices and storage.
SELECT results_eq('SELECT model, prompt_price, valid_until FROM prices ORDER BY valid_from',
                  $$VALUES ('demo', 1::numeric, now() - interval '1 day'), ('demo', 10, now() + interval '1 day'),
                           ('demo', 5, 'infinity')$$, 'each price holds until the next');
SELECT lives_ok($$SELECT hansard_admin.set_price('demo', now() - interval '1 day', 0, 0.5, 'EUR')$$, 'a price can be set anew');
SELECT is(ROW(count(*), max(prompt_price) FILTER (WHERE completion_price = 0.5)), ROW(3::bigint, 0::numeric),
          '... and takes the place of the old one') FROM hansard.prices;
SELECT throws_ok(format('SELECT hansard_admin.set_price(%s)', wrong), 'HS400', NULL, format('not a price: %s', wrong))
FROM unnest(ARRAY[$$'', now(), 1, 1, 'EUR'$$, $$'demo', 'infinity', 1, 1, 'EUR'$$, $$'demo', now(), -1, 1, 'EUR'$$,
                  $$'demo', now(), 1, 'NaN', 'EUR'$$, $$'demo', now(), 1, 1, 'euro'$$, $$'demo', NULL, 1, 1, 'EUR'$$]) AS wrong;
ANALYZE hansard.turns, hansard.users;
SELECT is(ROW(table_name, rows, table_bytes > 0, index_bytes > 0), ROW('turns'::text, 15::bigint, true, true), 'a partition')
FROM storage WHERE table_name = 'turns' AND month = date_trunc('month', now() AT TIME ZONE 'UTC')::date;
SELECT is(ROW(partition_name, month, rows), ROW('users'::text, NULL::date, 2::bigint), 'a table') FROM storage WHERE table_name = 'users';
SELECT is(count(*) FILTER (WHERE month IS NOT NULL), 9::bigint, 'each partition once') FROM storage;

SELECT * FROM finish();
ROLLBACK;
