-- Functions of PostgreSQL that reach across tenants are revoked from the application; these stand
-- in for those that apps use. They are found first in a tenant's search_path, so apps that call
-- pg_advisory_lock(1) or nextval('…') need no change. Run as the owner; safe to repeat.
CREATE SCHEMA IF NOT EXISTS standin;
REVOKE ALL ON SCHEMA standin FROM PUBLIC;
GRANT USAGE ON SCHEMA standin TO meridian_app;

-- An advisory lock's number is the tenant's own: no other tenant can hold it, or guess it.
CREATE OR REPLACE FUNCTION tenancy.lock_key(key text) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    tenant uuid := tenancy.current_tenant();
BEGIN
    IF tenant IS NULL THEN
        RAISE EXCEPTION 'advisory locks belong to tenants, and no tenant is in context'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN (SELECT ('x' || left(encode(sha256(lock_key || convert_to(tenant || ':' || key, 'UTF8')),
                                       'hex'), 16))::bit(64)::bigint
              FROM tenancy.secret);
END
$body$;

DO $do$
DECLARE
    lock record;
BEGIN
    FOR lock IN
        SELECT proname, pronargs = 1 AS one,
               prorettype::regtype::text AS answer
          FROM pg_catalog.pg_proc
         WHERE pronamespace = 'pg_catalog'::regnamespace
           AND proname ~ '^pg_(try_)?advisory_' AND pronargs > 0
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE FUNCTION standin.%I(%s) RETURNS %s LANGUAGE sql SECURITY DEFINER'
            ' SET search_path = pg_catalog, pg_temp'
            ' AS ''SELECT pg_catalog.%I(tenancy.lock_key(%s))''',
            lock.proname,
            CASE WHEN lock.one THEN 'key bigint' ELSE 'key1 integer, key2 integer' END,
            lock.answer, lock.proname,
            CASE WHEN lock.one THEN 'key::text' ELSE 'key1 || '''','''' || key2' END
        );
    END LOOP;
END
$do$;

CREATE OR REPLACE FUNCTION standin.pg_advisory_unlock_all() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'SELECT pg_catalog.pg_advisory_unlock_all()';

-- A setting ends with the transaction, whatever was asked for. Settings of the platform are not
-- an app's to set in the midst of a statement.
CREATE OR REPLACE FUNCTION standin.set_config(name text, value text, is_local boolean)
    RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER
AS $body$
BEGIN
    IF pg_catalog.lower(name) OPERATOR(pg_catalog.~) '^(meridian|fabric)\.' THEN
        RAISE EXCEPTION 'the setting % is the platform''s', name
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN pg_catalog.set_config(name, value, true);
END
$body$;

-- Whether the relation is in a schema whose rows the tenant in context may see.
CREATE OR REPLACE FUNCTION tenancy.is_mine(relation regclass) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT EXISTS (
        SELECT FROM pg_class asked
          JOIN pg_class guarded ON guarded.relnamespace = asked.relnamespace
          JOIN pg_policy policy ON policy.polrelid = guarded.oid
         CROSS JOIN LATERAL pg_get_expr(policy.polqual, policy.polrelid) AS condition
         WHERE asked.oid = relation AND policy.polname = 'tenant_rows'
           AND (condition LIKE '(tenant_id = %'
                OR position(tenancy.current_tenant()::text IN condition) > 0))
$body$;

-- A counter tells how many rows there ever were, and who draws from it moves it: a tenant draws
-- from its own. (Columns that are identities draw by themselves, without any right to it.)
CREATE OR REPLACE FUNCTION standin.nextval(sequence regclass) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NOT tenancy.is_mine(sequence) THEN
        RAISE EXCEPTION 'permission denied for sequence %', sequence
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN nextval(sequence);
END
$body$;

-- A tenant may draw numbers but not set the counter, which others may draw from too: after rows
-- were written with keys of their own, draws until the counter is past `top`.
CREATE OR REPLACE FUNCTION tenancy.draw_past(sequence regclass, top bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    behind bigint := top - coalesce(pg_sequence_last_value(sequence), 0);
BEGIN
    -- A first migration's tables are nobody's yet.
    IF session_user <> 'meridian_owner' AND NOT tenancy.is_mine(sequence) THEN
        RAISE EXCEPTION 'permission denied for sequence %', sequence
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN (SELECT count(nextval(sequence)) FROM pg_sequence s,
                   generate_series(1, ceil(greatest(behind, 0)::numeric / s.seqincrement)::bigint)
             WHERE s.seqrelid = sequence);
END
$body$;

REVOKE ALL ON FUNCTION tenancy.lock_key(text), tenancy.is_mine(regclass),
    tenancy.draw_past(regclass, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.draw_past(regclass, bigint) TO meridian_app, meridian_owner;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA standin FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA standin TO meridian_app;
