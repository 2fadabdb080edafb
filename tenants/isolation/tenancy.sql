-- Who may see whose rows: the check of the signed tenant context, in each cell database.
-- Run as the database's owner; safe to repeat. The key is filled in by `install`.
CREATE SCHEMA IF NOT EXISTS tenancy;
REVOKE ALL ON SCHEMA tenancy FROM PUBLIC;
GRANT USAGE ON SCHEMA tenancy TO meridian_app, meridian_agent;

-- The HMAC key, already combined with the inner and outer pad: two built-in sha256() calls make
-- the HMAC, without an extension. Only the owner reads it.
CREATE TABLE IF NOT EXISTS tenancy.secret (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    inner_pad bytea NOT NULL,
    outer_pad bytea NOT NULL
);
REVOKE ALL ON tenancy.secret FROM PUBLIC, meridian_app, meridian_agent;

-- Tenants that have left this cell, or are leaving it: nothing is read or written for them here.
CREATE TABLE IF NOT EXISTS tenancy.frozen (
    tenant uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
REVOKE ALL ON tenancy.frozen FROM PUBLIC, meridian_app, meridian_agent;

-- NULL without a context; raises when one was made up. Everything is found in pg_catalog or by
-- its full name, whatever search_path the caller has.
CREATE OR REPLACE FUNCTION tenancy.current_tenant() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    context text := current_setting('meridian.context', true);
    parts text[];
    expected bytea;
    gone boolean;
BEGIN
    IF context IS NULL OR context = '' THEN
        RETURN NULL;
    END IF;
    parts := string_to_array(context, '.');
    SELECT sha256(secret.outer_pad
                  || sha256(secret.inner_pad || convert_to(parts[1] || '.' || parts[2], 'UTF8'))),
           EXISTS (SELECT FROM tenancy.frozen f WHERE f.tenant::text = parts[1])
        INTO expected, gone FROM tenancy.secret;
    IF cardinality(parts) <> 3 OR expected IS NULL
       OR encode(expected, 'hex') <> parts[3] THEN
        RAISE EXCEPTION 'the tenant context is not genuine'
            USING ERRCODE = 'MTN01', HINT = 'Only the platform signs contexts, one cell each.';
    END IF;
    IF parts[2]::bigint < extract(epoch FROM clock_timestamp()) THEN
        RAISE EXCEPTION 'the tenant context has expired' USING ERRCODE = 'MTN01';
    END IF;
    IF gone THEN
        RAISE EXCEPTION 'the tenant is moving, or has moved, to another cell'
            USING ERRCODE = 'MDF01', HINT = 'Send the request again: the map shows where it went.';
    END IF;
    RETURN parts[1]::uuid;
END
$body$;

REVOKE ALL ON FUNCTION tenancy.current_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.current_tenant() TO meridian_app, meridian_owner;

-- Puts the transaction under a tenant: what stands in front of each statement. Without a SET
-- clause of its own, so that what it sets outlives it. One call, whose arguments statement
-- statistics replace by numbers, and the application needs no right to set_config(), which could
-- change a setting for the session's next tenant in the midst of an innocent SELECT.
CREATE OR REPLACE FUNCTION tenancy.enter(context text, path text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
AS $body$
BEGIN
    RETURN pg_catalog.set_config('meridian.context', context, true) IS NOT NULL
       AND pg_catalog.set_config('search_path', path, true) IS NOT NULL;
END
$body$;

REVOKE ALL ON FUNCTION tenancy.enter(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.enter(text, text) TO meridian_app, meridian_owner;
