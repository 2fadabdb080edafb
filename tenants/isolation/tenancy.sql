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

-- Whether there is one, beside the key: that is what each statement looks at.
ALTER TABLE tenancy.secret ADD COLUMN IF NOT EXISTS some_frozen boolean NOT NULL DEFAULT false;

CREATE OR REPLACE FUNCTION tenancy.note_frozen() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    -- One at a time, and only then a look: with what the last one has committed.
    PERFORM FROM tenancy.secret FOR UPDATE;
    UPDATE tenancy.secret SET some_frozen = EXISTS (SELECT FROM tenancy.frozen);
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION tenancy.note_frozen() FROM PUBLIC;

CREATE OR REPLACE TRIGGER note_frozen AFTER INSERT OR DELETE OR TRUNCATE ON tenancy.frozen
    FOR EACH STATEMENT EXECUTE FUNCTION tenancy.note_frozen();
ALTER TABLE tenancy.frozen ENABLE ALWAYS TRIGGER note_frozen;

-- The whole check: NULL without a context; raises when one was made up. A context is a tenant's id
-- (36 characters), a point, its expiry (10), a point, and the signature of what is before it.
CREATE OR REPLACE FUNCTION tenancy.examine() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    context text := current_setting('meridian.context', true);
    genuine boolean;
BEGIN
    IF context IS NULL OR context = '' THEN
        RETURN NULL;
    END IF;
    SELECT encode(sha256(outer_pad || sha256(inner_pad
                             || convert_to(substr(context, 1, 47), 'UTF8'))), 'hex')
               = substr(context, 49)
      INTO genuine FROM tenancy.secret;
    IF genuine IS NOT TRUE THEN
        RAISE EXCEPTION 'the tenant context is not genuine'
            USING ERRCODE = 'MTN01', HINT = 'Only the platform signs contexts, one cell each.';
    END IF;
    IF to_timestamp(substr(context, 38, 10)::double precision) < clock_timestamp() THEN
        RAISE EXCEPTION 'the tenant context has expired' USING ERRCODE = 'MTN01';
    END IF;
    IF EXISTS (SELECT FROM tenancy.frozen f WHERE f.tenant = substr(context, 1, 36)::uuid) THEN
        RAISE EXCEPTION 'the tenant is moving, or has moved, to another cell'
            USING ERRCODE = 'MDF01', HINT = 'Send the request again: the map shows where it went.';
    END IF;
    RETURN substr(context, 1, 36)::uuid;
END
$body$;
REVOKE ALL ON FUNCTION tenancy.examine() FROM PUBLIC;

-- The tenant whose rows the statement may see: asked once a statement and table. A good context,
-- in a cell that no tenant leaves, costs one query without parameters, whose plan is kept; all else
-- is examined. In SQL, not PL/pgSQL, which prepares each of its expressions anew in every
-- transaction. The names in a body of this form are bound when it is made: whatever search_path the
-- caller has, they mean the same.
-- Bytes are cut out of bytea and fields at their points, because a substring of text is counted
-- character by character. Who and until when stand at fixed places within what is signed: what
-- somebody puts between that and the signature changes neither.
CREATE OR REPLACE FUNCTION tenancy.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN encode(sha256(s.outer_pad || sha256(s.inner_pad || substr(convert_to(
                 current_setting('meridian.context', true), 'UTF8'), 1, 47))), 'hex')
             = split_part(current_setting('meridian.context', true), '.', 3)
         AND NOT s.some_frozen
         AND to_timestamp(substr(current_setting('meridian.context', true), 38, 10)
                          ::double precision) >= clock_timestamp()
        THEN split_part(current_setting('meridian.context', true), '.', 1)::uuid
        ELSE tenancy.examine()
    END FROM tenancy.secret s;
END;

REVOKE ALL ON FUNCTION tenancy.current_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.current_tenant() TO meridian_app, meridian_owner;

-- What stands in front of each statement is SET LOCAL: no function that the application may call
-- sets a context, in the midst of an innocent SELECT. An earlier version had one.
DROP FUNCTION IF EXISTS tenancy.enter(text, text);
DROP FUNCTION IF EXISTS tenancy.examine(text);
