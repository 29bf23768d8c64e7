-- Callers and their keys, for operators: `hansard keys` calls these as the owner. Workers cannot.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.note_event(kind text, user_id uuid, detail jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    noted_at timestamptz := clock_timestamp();
BEGIN
    INSERT INTO hansard.audit_events (event_id, happened_at, kind, user_id, detail)
    VALUES (hansard.uuid_v7(noted_at), noted_at, note_event.kind, note_event.user_id, note_event.detail);
END
$$;
COMMENT ON FUNCTION hansard.note_event(text, uuid, jsonb) IS 'One row of audit_events, of an operator''s doing.';

CREATE OR REPLACE FUNCTION hansard.key_id(key_hash bytea) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN encode(substring(key_hash FOR 8), 'hex');
COMMENT ON FUNCTION hansard.key_id(bytea) IS 'What a key is called where it must not be shown: 16 digits of its hash.';

CREATE OR REPLACE FUNCTION hansard.check_tier(wanted text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM hansard.tiers t WHERE t.tier = wanted) THEN
        RAISE EXCEPTION 'there is no tier "%"; there are: %', wanted,
            (SELECT string_agg(t.tier, ', ' ORDER BY t.tier) FROM hansard.tiers t) USING ERRCODE = 'HS404';
    END IF;
END
$$;
COMMENT ON FUNCTION hansard.check_tier(text) IS 'HS404 that names the tiers when there is none of this name.';

CREATE OR REPLACE FUNCTION hansard_admin.add_key(user_name text, wanted_tier text, hash bytea) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made_at timestamptz := clock_timestamp();
    owner   hansard.users;
BEGIN
    IF octet_length(user_name) NOT BETWEEN 1 AND 200 THEN
        RAISE EXCEPTION 'a user''s name has 1 to 200 bytes' USING ERRCODE = 'HS400';
    END IF;
    IF wanted_tier IS NOT NULL THEN
        PERFORM hansard.check_tier(wanted_tier);
    END IF;
    INSERT INTO hansard.users (user_id, name, tier, created_at)
    VALUES (hansard.uuid_v7(made_at), user_name, coalesce(wanted_tier, 'free'), made_at)
    ON CONFLICT (name) DO NOTHING;
    SELECT * INTO owner FROM hansard.users u WHERE u.name = user_name FOR UPDATE;
    IF owner.tier <> wanted_tier THEN
        PERFORM hansard_admin.set_tier(user_name, wanted_tier);
    END IF;
    INSERT INTO hansard.api_keys (key_hash, user_id, created_at) VALUES (hash, owner.user_id, made_at);
    PERFORM hansard.note_event('key_added', owner.user_id, jsonb_build_object('key_id', hansard.key_id(hash)));
    RETURN coalesce(wanted_tier, owner.tier);
END
$$;
COMMENT ON FUNCTION hansard_admin.add_key(text, text, bytea) IS
    'Adds a key, by its SHA-256, to a user, who is made when new (tier "free" unless another is named). The user''s tier. '
    'HS400: bad name. HS404: no such tier.';

CREATE OR REPLACE FUNCTION hansard_admin.list_keys()
RETURNS TABLE (user_name text, tier text, key_id text, created_at timestamptz, revoked_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT u.name, u.tier, hansard.key_id(k.key_hash), k.created_at, k.revoked_at
    FROM hansard.users u
    JOIN hansard.api_keys k USING (user_id)
    ORDER BY u.name, k.created_at, k.key_hash;
END
$$;
COMMENT ON FUNCTION hansard_admin.list_keys() IS 'Every key, revoked ones too.';

CREATE OR REPLACE FUNCTION hansard_admin.revoke_key(wanted text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    revoked hansard.api_keys;
BEGIN
    UPDATE hansard.api_keys k
    SET revoked_at = now()
    WHERE hansard.key_id(k.key_hash) = wanted AND k.revoked_at IS NULL
    RETURNING k.* INTO revoked;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no key "%" in force', wanted USING ERRCODE = 'HS404';
    END IF;
    PERFORM hansard.note_event('key_revoked', revoked.user_id, jsonb_build_object('key_id', wanted));
    RETURN (SELECT u.name FROM hansard.users u WHERE u.user_id = revoked.user_id);
END
$$;
COMMENT ON FUNCTION hansard_admin.revoke_key(text) IS
    'Takes a key out of force, by its id; the name of its user. HS404: no such key in force.';

CREATE OR REPLACE FUNCTION hansard_admin.set_tier(user_name text, wanted_tier text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner hansard.users;
BEGIN
    PERFORM hansard.check_tier(wanted_tier);
    SELECT * INTO owner FROM hansard.users u WHERE u.name = user_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no user "%"', user_name USING ERRCODE = 'HS404';
    END IF;
    UPDATE hansard.users u SET tier = wanted_tier WHERE u.user_id = owner.user_id;
    PERFORM hansard.note_event('tier_changed', owner.user_id, jsonb_build_object('from', owner.tier, 'to', wanted_tier));
    RETURN (SELECT count(*) FROM hansard.api_keys k WHERE k.user_id = owner.user_id AND k.revoked_at IS NULL);
END
$$;
COMMENT ON FUNCTION hansard_admin.set_tier(text, text) IS
    'Moves a user to another tier, from the next request on; the number of keys in force. HS404: no such user or tier.';

RESET ROLE;
