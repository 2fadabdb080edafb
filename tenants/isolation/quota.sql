-- Tenants that hold more than they may, and the check that keeps them from adding to it. In each
-- cell database; run as its owner, safe to repeat. Filled by the region's meter (tenants.limits).
CREATE TABLE IF NOT EXISTS tenancy.over_quota (
    tenant uuid PRIMARY KEY,
    schema_name text NOT NULL,      -- where its tables are
    what text NOT NULL,             -- 'rows' or 'bytes'
    used bigint NOT NULL,
    allowed bigint NOT NULL,
    no_updates boolean NOT NULL     -- so far over that it may only delete
);
REVOKE ALL ON tenancy.over_quota FROM PUBLIC, meridian_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.over_quota TO meridian_agent;

-- After each statement that adds or changes rows. It asks the rows whose they are: no setting, and
-- so nothing that a statement can change on its way. TG_ARGV[0]: 'shared' where tenants share
-- tables. Others than the application (moves, erasures) are not limited.
CREATE OR REPLACE FUNCTION tenancy.check_quota() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    excess tenancy.over_quota;
BEGIN
    IF NOT EXISTS (SELECT FROM tenancy.over_quota) OR session_user <> 'meridian_app' THEN
        RETURN NULL;
    END IF;
    IF TG_ARGV[0] = 'shared' THEN
        SELECT * INTO excess FROM tenancy.over_quota o
         WHERE (TG_OP = 'INSERT' OR o.no_updates)
           AND EXISTS (SELECT FROM fresh WHERE fresh.tenant_id = o.tenant);
    ELSE
        SELECT * INTO excess FROM tenancy.over_quota o
         WHERE (TG_OP = 'INSERT' OR o.no_updates)
           AND o.schema_name = TG_TABLE_SCHEMA AND EXISTS (SELECT FROM fresh);
    END IF;
    IF FOUND THEN
        RAISE EXCEPTION 'the tenant has used up its quota of %', excess.what
            USING ERRCODE = 'MQT01',
                  DETAIL = json_build_object('what', excess.what, 'used', excess.used,
                                             'allowed', excess.allowed),
                  HINT = 'Delete something, or ask the operator for more.';
    END IF;
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION tenancy.check_quota() FROM PUBLIC;
