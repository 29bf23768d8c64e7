-- What models cost, for operators. Nothing that happens to a turn looks at it.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard_admin.set_price(model text, valid_from timestamptz, prompt_price numeric,
                                                   completion_price numeric, currency text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF coalesce(octet_length(model) NOT BETWEEN 1 AND 200, true) THEN
        RAISE EXCEPTION 'a model''s name has 1 to 200 bytes' USING ERRCODE = 'HS400';
    END IF;
    IF coalesce(NOT isfinite(valid_from), true) THEN
        RAISE EXCEPTION 'a price holds from some time on' USING ERRCODE = 'HS400';
    END IF;
    IF coalesce(prompt_price < 0 OR prompt_price >= 1000000000 OR completion_price < 0 OR completion_price >= 1000000000, true) THEN
        RAISE EXCEPTION 'a price is a number from 0 to a thousand million' USING ERRCODE = 'HS400';
    END IF;
    IF coalesce(currency !~ '^[A-Z]{3}$', true) THEN
        RAISE EXCEPTION 'a currency has three capital letters, as EUR' USING ERRCODE = 'HS400';
    END IF;
    INSERT INTO hansard.prices VALUES (model, valid_from, prompt_price, completion_price, currency)
    ON CONFLICT ON CONSTRAINT prices_pkey DO UPDATE
    SET prompt_price = excluded.prompt_price, completion_price = excluded.completion_price, currency = excluded.currency;
    PERFORM hansard.note_event('price_set', NULL,
                               jsonb_build_object('model', model, 'valid_from', valid_from, 'prompt_price', prompt_price,
                                                  'completion_price', completion_price, 'currency', currency));
END
$$;
COMMENT ON FUNCTION hansard_admin.set_price(text, timestamptz, numeric, numeric, text) IS
    'What a million tokens of prompts and of answers of a model cost, for turns accepted from a time on; one that was set for '
    'the same time is replaced. Noted in audit_events. HS400: not a price.';

RESET ROLE;
