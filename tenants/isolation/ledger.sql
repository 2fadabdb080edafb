-- A tenant's own part of the conflict ledger, in each cell database. Run as the database's owner;
-- safe to repeat. It is ordered by the later of the two writes, which is the same in each region; what
-- is restored is replicated.
CREATE OR REPLACE FUNCTION tenancy.conflicts(
    wanted uuid, tables text[], kinds text[], since bigint, until bigint,
    before_stamp bigint, before_id uuid, most integer)
RETURNS TABLE (id uuid, stamp bigint, at timestamptz, rel text, key jsonb, field text, rule text,
               loser_stamp bigint, loser jsonb, winner_stamp bigint, winner jsonb,
               restored_at timestamptz, restored_by text, restored_in text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT c.id, greatest(c.loser_stamp, c.winner_stamp), c.at, c.rel,
           (SELECT jsonb_object_agg(name, value) FROM fabric.relation r,
                   ROWS FROM (unnest(r.key), unnest(c.pk)) AS part(name, value)
             WHERE r.rel = c.rel AND name <> 'tenant_id'),
           c.field, c.rule, c.loser_stamp, c.loser, c.winner_stamp, c.winner,
           d.at, d.by, d.region
      FROM fabric.conflict c
      LEFT JOIN fabric.restored d ON d.tenant_id = c.tenant AND d.conflict = c.id
     WHERE c.tenant = tenancy.current_tenant() AND c.rel NOT LIKE 'fabric.%'
       AND (wanted IS NULL OR c.id = wanted)
       AND (tables IS NULL OR substr(c.rel, strpos(c.rel, '.') + 1) = ANY (tables))
       AND (kinds IS NULL OR split_part(c.rule, ':', 1) = ANY (kinds))
       AND (since IS NULL OR greatest(c.loser_stamp, c.winner_stamp) >= since)
       AND (until IS NULL OR greatest(c.loser_stamp, c.winner_stamp) < until)
       AND (before_stamp IS NULL
            OR (greatest(c.loser_stamp, c.winner_stamp), c.id) < (before_stamp, before_id))
     ORDER BY 2 DESC, 1 DESC LIMIT most
$body$;
REVOKE ALL ON FUNCTION tenancy.conflicts(
    uuid, text[], text[], bigint, bigint, bigint, uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.conflicts(
    uuid, text[], text[], bigint, bigint, bigint, uuid, integer) TO meridian_app;

-- False: somebody has restored it already.
CREATE OR REPLACE FUNCTION tenancy.note_restored(conflict uuid, by text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    WITH noted AS (
        INSERT INTO fabric.restored (tenant_id, conflict, by, region)
        SELECT tenancy.current_tenant(), note_restored.conflict, note_restored.by, m.region
          FROM fabric.member m WHERE tenancy.current_tenant() IS NOT NULL
        ON CONFLICT DO NOTHING RETURNING 1
    ) SELECT EXISTS (SELECT FROM noted)
$body$;
REVOKE ALL ON FUNCTION tenancy.note_restored(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.note_restored(uuid, text) TO meridian_app;
