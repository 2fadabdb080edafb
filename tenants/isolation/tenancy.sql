-- Who may see whose rows: the check of the signed tenant context, in each cell database.
-- Run as the database's owner; safe to repeat. The key is filled in by `install`.
CREATE SCHEMA IF NOT EXISTS tenancy;
REVOKE ALL ON SCHEMA tenancy FROM PUBLIC;
GRANT USAGE ON SCHEMA tenancy TO meridian_app, meridian_agent;

-- The key that contexts are signed with, and that of the numbers of advisory locks. Only the owner
-- reads them.
CREATE TABLE IF NOT EXISTS tenancy.secret (
    one boolean PRIMARY KEY DEFAULT true CHECK (one)
);
ALTER TABLE tenancy.secret
    ADD COLUMN IF NOT EXISTS context_key bytea,
    ADD COLUMN IF NOT EXISTS lock_key bytea;
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

-- The whole check: NULL without a context; raises when one was made up. A context is a tenant's id,
-- a point, its expiry, a point (48 bytes in all), and a signature of 64: `sha384` of all that with
-- the key in the signature's place (docs/adr/0037). Nothing else is genuine: the key is put at that
-- place and nowhere else, and all that is left is in the hash.
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
    SELECT split_part(context, '.', 3) = encode(sha384(overlay(
               convert_to(context, 'UTF8') PLACING context_key FROM 49 FOR 64)), 'base64')
      INTO genuine FROM tenancy.secret;
    IF genuine IS NOT TRUE THEN
        RAISE EXCEPTION 'the tenant context is not genuine'
            USING ERRCODE = 'MTN01', HINT = 'Only the platform signs contexts, one cell each.';
    END IF;
    IF to_timestamp(split_part(context, '.', 2)::double precision) < clock_timestamp() THEN
        RAISE EXCEPTION 'the tenant context has expired' USING ERRCODE = 'MTN01';
    END IF;
    IF EXISTS (SELECT FROM tenancy.frozen f WHERE f.tenant = split_part(context, '.', 1)::uuid) THEN
        RAISE EXCEPTION 'the tenant is moving, or has moved, to another cell'
            USING ERRCODE = 'MDF01', HINT = 'Send the request again: the map shows where it went.';
    END IF;
    RETURN split_part(context, '.', 1)::uuid;
END
$body$;
REVOKE ALL ON FUNCTION tenancy.examine() FROM PUBLIC;

-- The tenant whose rows the statement may see: asked once a statement and table. A good context,
-- in a cell that no tenant leaves, costs one query without parameters, whose plan is kept; all else
-- is examined. In SQL, not PL/pgSQL, which prepares each of its expressions anew in every
-- transaction. The names in a body of this form are bound when it is made: whatever search_path the
-- caller has, they mean the same.
-- Each function in it costs more to begin than to call: hence the few, and `OFFSET 0`: without
-- it the planner writes the setting out in each place that names it.
CREATE OR REPLACE FUNCTION tenancy.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN split_part(context, '.', 3) = encode(sha384(overlay(
                 convert_to(context, 'UTF8') PLACING context_key FROM 49 FOR 64)), 'base64')
         AND NOT some_frozen
         AND to_timestamp(split_part(context, '.', 2)::double precision) >= clock_timestamp()
        THEN split_part(context, '.', 1)::uuid
        ELSE tenancy.examine()
    END FROM (
        SELECT context_key, some_frozen, current_setting('meridian.context', true) AS context
          FROM tenancy.secret OFFSET 0
    ) AS asked;
END;

REVOKE ALL ON FUNCTION tenancy.current_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.current_tenant() TO meridian_app, meridian_owner;

-- What stands in front of each statement is SET LOCAL: no function that the application may call
-- sets a context, in the midst of an innocent SELECT. An earlier version had one.
DROP FUNCTION IF EXISTS tenancy.enter(text, text);
DROP FUNCTION IF EXISTS tenancy.examine(text);

-- Those of an earlier version, whose functions no longer need them.
ALTER TABLE tenancy.secret DROP COLUMN IF EXISTS inner_pad, DROP COLUMN IF EXISTS outer_pad;
