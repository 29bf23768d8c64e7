-- Who may do what: workers call functions, auditors read views and call what checks, and nobody else does anything.
BEGIN;
SELECT plan(88);

-- Tables, not views: the planner must not try what is on neither list.
CREATE TEMP TABLE tables AS
SELECT c.oid, c.oid::regclass::text AS name,
       (SELECT quote_ident(attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = 1) AS first_column
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname IN ('hansard', 'hansard_api', 'hansard_admin');
CREATE TEMP TABLE functions AS
SELECT p.oid, n.nspname AS schema, p.oid::regprocedure::text AS name,
       format('%I.%I(%s)', n.nspname, p.proname,
              (SELECT string_agg('NULL::' || format_type(t, NULL), ', ' ORDER BY i)
               FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, i))) AS call
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname LIKE 'hansard%';
CREATE TEMP VIEW roles AS SELECT unnest('{hansard_app,hansard_auditor}'::text[]) AS role;
SELECT cmp_ok(count(*), '>=', 20::bigint, 'there are tables to try, partitions among them') FROM tables;
SELECT cmp_ok(count(*), '>=', 25::bigint, 'and functions') FROM functions;

-- Every table, every verb, tried.
CREATE TEMP VIEW verbs (verb, statement) AS VALUES
    ('SELECT', 'SELECT FROM %1$s'), ('SELECT of a column', 'SELECT %2$s FROM %1$s'),
    ('SELECT FOR UPDATE', 'SELECT FROM %1$s FOR UPDATE'), ('INSERT', 'INSERT INTO %1$s DEFAULT VALUES'),
    ('UPDATE', 'UPDATE %1$s SET %2$s = %2$s'), ('DELETE', 'DELETE FROM %1$s'), ('TRUNCATE', 'TRUNCATE %1$s'),
    ('LOCK', 'LOCK TABLE %1$s IN ACCESS SHARE MODE'), ('REFERENCES', 'CREATE TEMP TABLE mine (LIKE %1$s)'),
    ('DROP', 'DROP TABLE %1$s CASCADE'), ('ALTER', 'ALTER TABLE %1$s ADD COLUMN mine integer'),
    ('TRIGGER', 'CREATE TRIGGER mine AFTER INSERT ON %1$s EXECUTE FUNCTION suppress_redundant_updates_trigger()'),
    ('GRANT', 'GRANT SELECT ON %1$s TO PUBLIC');
SELECT is_empty(format($$SELECT name, help.tries(%L, format(%L, name, first_column)) AS result FROM tables
                         WHERE help.tries(%1$L, format(%2$L, name, first_column)) <> '42501'$$, role, statement),
                format('%s may not %s, whatever table it is', role, verb))
FROM roles, verbs;
SELECT is_empty($$SELECT t.name, r.role, p FROM tables t, roles r,
                  unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p
                  WHERE has_table_privilege(r.role, t.oid, p)$$, 'neither role has a privilege on any table');
SELECT is_empty($$SELECT t.name, r.role, p FROM tables t, roles r,
                  unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) AS p
                  WHERE has_any_column_privilege(r.role, t.oid, p)$$, '... nor on any column');
SELECT is_empty($$SELECT name, relacl FROM tables t JOIN pg_class c USING (oid) WHERE EXISTS (
                      SELECT FROM aclexplode(c.relacl) AS g WHERE g.grantee <> 'hansard_owner'::regrole)$$,
                '... nor has anybody else, but the owner');

-- Every function.
SELECT is_empty($$SELECT name FROM functions
                  WHERE schema <> 'hansard_api' AND help.tries('hansard_app', 'SELECT ' || call) <> '42501'$$,
                'hansard_app may call nothing outside hansard_api');
SELECT is_empty($$SELECT name FROM functions
                  WHERE schema = 'hansard_api' AND help.tries('hansard_app', 'SELECT ' || call) = '42501'$$,
                '... and everything inside');
SELECT is_empty($$SELECT name FROM functions
                  WHERE schema <> 'hansard_audit' AND help.tries('hansard_auditor', 'SELECT ' || call) <> '42501'$$,
                'hansard_auditor may call nothing outside hansard_audit');
SELECT is_empty($$SELECT name FROM functions
                  WHERE schema = 'hansard_audit' AND help.tries('hansard_auditor', 'SELECT ' || call) = '42501'$$,
                '... and everything inside');
SELECT is_empty($$SELECT f.name FROM functions f JOIN pg_proc p USING (oid)
                  WHERE f.schema = 'hansard_audit' AND p.provolatile = 'v'$$, '... where nothing writes');
SELECT is_empty($$SELECT name FROM functions WHERE has_function_privilege('public', oid, 'EXECUTE')$$,
                'PUBLIC may call nothing');
SELECT is_empty($$SELECT f.name, g.grantee::regrole FROM functions f JOIN pg_proc p USING (oid),
                  aclexplode(p.proacl) AS g
                  WHERE g.grantee <> 'hansard_owner'::regrole
                    AND NOT (g.grantee = 'hansard_app'::regrole AND f.schema = 'hansard_api')
                    AND NOT (g.grantee = 'hansard_auditor'::regrole AND f.schema = 'hansard_audit')$$,
                'nobody else may call anything');
SELECT is_empty($$SELECT f.name FROM functions f JOIN pg_proc p USING (oid), aclexplode(p.proacl) AS g
                  WHERE g.is_grantable AND g.grantee <> 'hansard_owner'::regrole$$, '... or pass it on');

-- Every schema.
SELECT is_empty($$SELECT n.nspname, r.role FROM pg_namespace n, roles r
                  WHERE n.nspname !~ '^pg_(toast_)?temp_'
                    AND help.tries(r.role, format('CREATE TABLE %I.mine ()', n.nspname)) NOT IN ('42501')$$,
                'neither may create a table in any schema');
SELECT is_empty($$SELECT n.nspname, r.role FROM pg_namespace n, roles r
                  WHERE n.nspname !~ '^pg_(toast_)?temp_'
                    AND help.tries(r.role, format('CREATE FUNCTION %I.mine() RETURNS int LANGUAGE sql RETURN 1', n.nspname))
                        <> '42501'$$, '... nor a function');
SELECT is(help.tries(role, 'CREATE SCHEMA mine'), '42501', format('%s may not create a schema', role)) FROM roles;
SELECT set_eq($$SELECT n.nspname::text, r.role FROM pg_namespace n, roles r
                WHERE n.nspname LIKE 'hansard%' AND has_schema_privilege(r.role, n.oid, 'USAGE')$$,
              $$VALUES ('hansard_api', 'hansard_app'), ('hansard_audit', 'hansard_auditor')$$,
              'each sees its own schema and no other');
SELECT is_empty($$SELECT nspname, r.role FROM pg_namespace n, roles r
                  WHERE nspname LIKE 'hansard%' AND has_schema_privilege(r.role, n.oid, 'CREATE')$$,
                '... and creates in none');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c, roles r
                  WHERE c.relnamespace = 'hansard_audit'::regnamespace AND c.relkind <> 'v'$$,
                'what auditors may read are views');
SELECT is_empty($$SELECT c.oid::regclass, p FROM pg_class c,
                  unnest('{INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p
                  WHERE c.relnamespace = 'hansard_audit'::regnamespace
                    AND (has_table_privilege('hansard_auditor', c.oid, p) OR has_table_privilege('hansard_app', c.oid, p)
                         OR has_table_privilege('hansard_app', c.oid, 'SELECT'))$$,
                '... and only they, and only read');
CREATE TEMP TABLE views AS
SELECT c.oid::regclass::text AS name,
       (SELECT quote_ident(attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = 1) AS first_column
FROM pg_class c WHERE c.relnamespace = 'hansard_audit'::regnamespace AND c.relkind = 'v';
SELECT cmp_ok(count(*), '>=', 9::bigint, 'there are views to try') FROM views;
SELECT is_empty($$SELECT name FROM views WHERE help.tries('hansard_auditor', 'SELECT * FROM ' || name) <> 'done'$$,
                'hansard_auditor may read each of them');
SELECT is_empty($$SELECT name, role, verb FROM views, roles, verbs
                  WHERE (role = 'hansard_app' OR verb NOT LIKE 'SELECT%' AND verb NOT IN ('LOCK', 'REFERENCES', 'TRUNCATE', 'GRANT')
                         OR verb = 'SELECT FOR UPDATE')
                    AND help.tries(role, format(statement, name, first_column)) <> '42501'
                    -- What the statement is not made for is refused before anybody asks who wants it.
                    AND help.tries(role, format(statement, name, first_column)) NOT IN ('42809', '0A000', '55000')$$,
                '... and write to none, and hansard_app may do neither');
SELECT is(help.tries('hansard_auditor', 'SET default_transaction_read_only = off'), 'done',
          'that its transactions only read is a habit of its own, which the refusals here do not need');

-- Going around.
SELECT is(help.tries(role, format('SET %s', setting)), '42501', format('%s may not SET %s', role, setting))
FROM roles, unnest('{session_replication_role = replica,allow_system_table_mods = on,zero_damaged_pages = on,
                     log_statement = none}'::text[]) AS setting;
SELECT is_empty($$SELECT t.name, r.role FROM tables t, roles r
                  WHERE help.tries(r.role, format('ALTER TABLE %s DISABLE TRIGGER ALL', t.name)) <> '42501'
                     OR help.tries(r.role, format('ALTER TABLE %s DISABLE RULE mine', t.name)) <> '42501'
                     OR help.tries(r.role, format('ALTER TABLE %s OWNER TO %s', t.name, r.role)) <> '42501'$$,
                'neither may take a table''s guards away, nor the table');
SELECT is(help.tries(role, statement), '42501', format('%s may not: %s', role, statement))
FROM roles, unnest(ARRAY[
    'CREATE TEMP TABLE mine ()', 'ALTER ROLE hansard_auditor SUPERUSER', 'GRANT hansard_owner TO hansard_auditor',
    'ALTER DATABASE ' || current_database() || ' SET row_security = off', 'COPY (SELECT 1) TO PROGRAM ''cat''', 'COPY (SELECT 1) TO ''/tmp/mine''', 'SELECT pg_read_file(''/etc/passwd'')',
    'ALTER SCHEMA hansard_audit RENAME TO mine', 'DROP SCHEMA hansard_audit CASCADE', 'SELECT pg_ls_dir(''.'')',
    'CREATE EVENT TRIGGER mine ON sql_drop EXECUTE FUNCTION suppress_redundant_updates_trigger()'
]) AS statement;

-- Becoming somebody else.
SELECT is(help.tries(role, 'SET ROLE hansard_owner'), '42501', format('%s cannot become the owner', role)) FROM roles;
SELECT is(help.tries('hansard_app', 'SET ROLE hansard_auditor') || ' '
          || help.tries('hansard_auditor', 'SET ROLE hansard_app'), '42501 42501', 'nor each other');
SELECT is_empty($$SELECT roleid::regrole, member::regrole FROM pg_auth_members
                  WHERE roleid::regrole::text LIKE 'hansard%'
                        AND member IN ('hansard_app'::regrole, 'hansard_auditor'::regrole)
                     OR member::regrole::text LIKE 'hansard%'$$, 'none of the roles is a member of another');
SELECT set_eq($$SELECT rolname::text, rolcanlogin FROM pg_roles WHERE rolname LIKE 'hansard%'$$,
              $$VALUES ('hansard_owner', false), ('hansard_app', true), ('hansard_auditor', true)$$,
              'the owner cannot log in');
SELECT is_empty($$SELECT rolname FROM pg_roles WHERE rolname LIKE 'hansard%'
                  AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)$$,
                'none has a power of its own');

SELECT * FROM finish();
ROLLBACK;
