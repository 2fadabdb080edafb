-- What the fabric laid at its first version whose log a peer of today can read (25 November 2026), with a
-- table under it, as it was; comments left out. `test_upgrade.py` lays today's over it.

CREATE SCHEMA IF NOT EXISTS fabric;
CREATE TABLE IF NOT EXISTS fabric.member (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    cell text NOT NULL,
    region text NOT NULL,
    node smallint NOT NULL CHECK (node BETWEEN 1 AND 31)
);
CREATE TABLE IF NOT EXISTS fabric.gate (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    epoch bigint NOT NULL DEFAULT 0,
    valid_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO fabric.gate DEFAULT VALUES ON CONFLICT DO NOTHING;
CREATE SEQUENCE IF NOT EXISTS fabric.clock MINVALUE 0 START 0;
CREATE SEQUENCE IF NOT EXISTS fabric.change_seq;
CREATE SEQUENCE IF NOT EXISTS fabric.arrival;
CREATE TABLE IF NOT EXISTS fabric.change (
    origin smallint NOT NULL,
    seq bigint NOT NULL,
    xact xid8 NOT NULL,
    stamp bigint NOT NULL,
    epoch bigint NOT NULL,
    op "char" NOT NULL CHECK (op IN ('I', 'U', 'D', 'H')),
    lead boolean NOT NULL,
    tenant uuid,
    rel text,
    size integer NOT NULL DEFAULT 0,
    columns text[],             -- of the writer's table, in its order
    rows text[],
    arrival bigint NOT NULL DEFAULT nextval('fabric.arrival'),
    PRIMARY KEY (origin, seq)
);
ALTER TABLE fabric.change ALTER rows SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS change_by_arrival ON fabric.change (origin, arrival);
CREATE OR REPLACE FUNCTION fabric.announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_notify('fabric', NEW.origin::pg_catalog.text);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER announce AFTER INSERT ON fabric.change
    FOR EACH ROW WHEN (NEW.lead) EXECUTE FUNCTION fabric.announce();
ALTER TABLE fabric.change ENABLE REPLICA TRIGGER announce;
CREATE UNLOGGED TABLE IF NOT EXISTS fabric.txn (
    xact xid8 PRIMARY KEY,
    stamp bigint NOT NULL,
    epoch bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS fabric.relation (
    rel text PRIMARY KEY,
    key text[] NOT NULL,
    columns text[] NOT NULL
);
CREATE TABLE IF NOT EXISTS fabric.watermark (
    origin smallint PRIMARY KEY,
    region text NOT NULL,
    arrival bigint NOT NULL DEFAULT 0,
    heartbeat bigint NOT NULL DEFAULT 0,      -- seq of the origin's newest applied heartbeat
    stamp bigint NOT NULL DEFAULT 0,
    at timestamptz
);
CREATE TABLE IF NOT EXISTS fabric.tombstone (
    rel text NOT NULL,
    pk text[] NOT NULL,
    stamp bigint NOT NULL,
    tenant uuid,
    state hstore NOT NULL,
    PRIMARY KEY (rel, pk)
);
CREATE TABLE IF NOT EXISTS fabric.conflict (
    rel text NOT NULL,
    pk text[] NOT NULL,
    field text NOT NULL,
    loser_stamp bigint NOT NULL,
    loser jsonb,
    winner_stamp bigint NOT NULL,
    winner jsonb,
    rule text NOT NULL,
    tenant uuid,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (rel, pk, field, loser_stamp)
);
CREATE TABLE IF NOT EXISTS fabric.dead_letter (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rel text NOT NULL,
    pk text[] NOT NULL,
    origin smallint NOT NULL,
    tenant uuid,
    state hstore NOT NULL,
    dead bigint,
    reason text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (rel, pk, origin)
);
CREATE TABLE IF NOT EXISTS fabric.probe (
    id uuid PRIMARY KEY,
    region text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE OR REPLACE FUNCTION fabric.join_fields(
    mine jsonb, mine_born bigint, theirs jsonb, theirs_born bigint, columns text[])
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF mine_born = theirs_born THEN
        IF mine IS NULL OR mine = theirs THEN
            RETURN theirs;
        ELSIF theirs IS NULL THEN
            RETURN mine;
        END IF;
    END IF;
    RETURN (
        SELECT jsonb_object_agg(key, newest)
          FROM (SELECT key, greatest(coalesce((mine ->> key)::bigint, mine_born),
                                     coalesce((theirs ->> key)::bigint, theirs_born)) AS newest
                  FROM unnest(columns) AS key
                UNION ALL
                SELECT key, value::bigint FROM jsonb_each_text(mine) WHERE key <> ALL (columns)
               ) AS field
         WHERE newest <> greatest(mine_born, theirs_born));
END $$;
CREATE OR REPLACE FUNCTION fabric.concat_under(upper jsonb, lower jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT lower || upper $$;
CREATE OR REPLACE AGGREGATE fabric.first_base(jsonb) (SFUNC = fabric.concat_under, STYPE = jsonb, INITCOND = '{}');
CREATE OR REPLACE FUNCTION fabric.field_stamp(doc hstore, field text) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(((doc -> '_fields')::jsonb ->> field)::bigint, (doc -> '_born')::bigint)
$$;
CREATE OR REPLACE FUNCTION fabric.discarded(mine hstore, theirs hstore, based jsonb)
RETURNS TABLE (field text, loser_stamp bigint, loser text, winner_stamp bigint, winner text)
LANGUAGE sql IMMUTABLE AS $$
    WITH pair AS (
        SELECT key, fabric.field_stamp(mine, key) AS m, fabric.field_stamp(theirs, key) AS t,
               coalesce((based ->> key)::bigint, 0) AS seen,
               coalesce(((mine -> '_base')::jsonb ->> key)::bigint, 0) AS known
          FROM skeys(theirs - mine - ARRAY['_born', '_stamp', '_fields', '_base']) AS key
         WHERE (based IS NULL OR based ? key) AND mine ? key
    )
    SELECT key, least(m, t), CASE WHEN t > m THEN mine -> key ELSE theirs -> key END,
           greatest(m, t), CASE WHEN t > m THEN theirs -> key ELSE mine -> key END
      FROM pair
     WHERE t > m AND seen <> m OR t < m AND known <> t
$$;
CREATE OR REPLACE FUNCTION fabric.next_stamp() RETURNS bigint LANGUAGE sql AS $$
    SELECT greatest(
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 1577836800000000,
        (SELECT last_value + 1 FROM fabric.clock)
    ) << 8 | (SELECT node FROM fabric.member)
$$;
CREATE OR REPLACE FUNCTION fabric.after_stamp(stamp bigint, mine bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$ SELECT ((stamp >> 8) + 1) << 8 | (mine & 255) $$;
CREATE OR REPLACE FUNCTION fabric.require_gate() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gate fabric.gate;
    here fabric.member;
BEGIN
    SELECT * INTO gate FROM fabric.gate;
    IF clock_timestamp() < gate.valid_until THEN
        RETURN gate.epoch;
    END IF;
    SELECT * INTO here FROM fabric.member;
    RAISE EXCEPTION 'cell % may not be written in region % now', here.cell, here.region
        USING ERRCODE = 'MDF01',
              HINT = 'Another region holds its lease, or none does: send the write to the edge.';
END $$;
CREATE OR REPLACE FUNCTION fabric.guard_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF fabric.require_gate() <> NEW.epoch THEN
        RAISE EXCEPTION 'the lease changed hands during this transaction'
            USING ERRCODE = 'MDF01', HINT = 'Send the write again.';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS guard_commit ON fabric.txn;
CREATE CONSTRAINT TRIGGER guard_commit AFTER INSERT ON fabric.txn
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fabric.guard_commit();
CREATE OR REPLACE FUNCTION fabric.open_statement() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine bigint;
BEGIN
    SELECT stamp INTO mine FROM fabric.txn WHERE xact = pg_current_xact_id();
    IF mine IS NULL THEN
        INSERT INTO fabric.txn (xact, stamp, epoch)
        VALUES (pg_current_xact_id(), fabric.next_stamp(), fabric.require_gate())
        RETURNING stamp INTO mine;
    END IF;
    PERFORM set_config('fabric.stamp', mine::text, true);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION fabric.stamp_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW._born := current_setting('fabric.stamp')::bigint;
    NEW._stamp := NEW._born;
    NEW._fields := NULL;
    NEW._base := NULL;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION fabric.stamp_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1 AS $$
DECLARE
    mine bigint := current_setting('fabric.stamp')::bigint;
    changed text[] := akeys(
        hstore(NEW) - hstore(OLD) - (ARRAY['_born', '_stamp', '_fields', '_base'] || TG_ARGV));
    field text;
BEGIN
    NEW._born := OLD._born;
    NEW._stamp := OLD._stamp;
    NEW._fields := OLD._fields;
    NEW._base := OLD._base;
    IF changed = '{}' THEN
        RETURN NEW;
    END IF;
    IF OLD._stamp >= mine THEN
        mine := fabric.after_stamp(OLD._stamp, mine);
        PERFORM setval('fabric.clock', mine >> 8);
    END IF;
    NEW._stamp := mine;
    NEW._base := jsonb_build_object('', OLD._stamp);
    NEW._fields := coalesce(OLD._fields, '{}');
    FOREACH field IN ARRAY changed LOOP
        NEW._base := jsonb_set(
            NEW._base, ARRAY[field], coalesce(OLD._fields -> field, to_jsonb(OLD._born)));
        NEW._fields := jsonb_set(NEW._fields, ARRAY[field], to_jsonb(mine));
    END LOOP;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION fabric.columns_of(relation oid) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT array_agg(attname::text ORDER BY attnum) FROM pg_catalog.pg_attribute
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;
CREATE OR REPLACE FUNCTION fabric.capture_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1
SET bytea_output = 'hex' SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
DECLARE
    columns text[] := fabric.columns_of(TG_RELID);
    here text := TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME;
    txn fabric.txn;
BEGIN
    SELECT * INTO txn FROM fabric.txn WHERE xact = pg_current_xact_id();
    IF TG_ARGV[0] = '' AND 'tenant_id' = ANY (columns) THEN
        INSERT INTO fabric.change
               (origin, seq, xact, stamp, epoch, op, lead, tenant, rel, size, columns, rows)
        SELECT txn.stamp & 255, nextval('fabric.change_seq'), txn.xact, max(stamp), txn.epoch,
               left(TG_OP, 1)::"char", row_number() OVER () = 1, tenant, here, count(*), columns,
               array_agg(doc)
          FROM (SELECT doc, stamp, tenant,
                       sum(octet_length(doc)) OVER (PARTITION BY tenant ROWS UNBOUNDED PRECEDING)
                       >> 18 AS part
                  FROM (SELECT _fabric_row::text AS doc, _fabric_row._stamp AS stamp,
                               _fabric_row.tenant_id AS tenant FROM fresh AS _fabric_row) AS row
               ) AS rows
         GROUP BY tenant, part;
    ELSIF EXISTS (SELECT FROM fresh OFFSET 1) THEN
        INSERT INTO fabric.change
               (origin, seq, xact, stamp, epoch, op, lead, tenant, rel, size, columns, rows)
        SELECT txn.stamp & 255, nextval('fabric.change_seq'), txn.xact, max(stamp), txn.epoch,
               left(TG_OP, 1)::"char", row_number() OVER () = 1, nullif(TG_ARGV[0], '')::uuid,
               here, count(*), columns, array_agg(doc)
          FROM (SELECT doc, stamp,
                       sum(octet_length(doc)) OVER (ROWS UNBOUNDED PRECEDING) >> 18 AS part
                  FROM (SELECT _fabric_row::text AS doc, _fabric_row._stamp AS stamp
                          FROM fresh AS _fabric_row) AS row
               ) AS rows
         GROUP BY part;
    ELSE
        INSERT INTO fabric.change
               (origin, seq, xact, stamp, epoch, op, lead, tenant, rel, size, columns, rows)
        SELECT txn.stamp & 255, nextval('fabric.change_seq'), txn.xact, _fabric_row._stamp,
               txn.epoch, left(TG_OP, 1)::"char", true, nullif(TG_ARGV[0], '')::uuid, here, 1,
               columns, ARRAY[_fabric_row::text]
          FROM fresh AS _fabric_row;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION fabric.capture_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1
SET bytea_output = 'hex' SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
DECLARE
    columns text[] := fabric.columns_of(TG_RELID);
    here text := TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME;
    txn fabric.txn;
    newest bigint;
    dead bigint;
BEGIN
    SELECT max(_fabric_row._stamp) INTO newest FROM stale AS _fabric_row;
    IF newest IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO txn FROM fabric.txn WHERE xact = pg_current_xact_id();
    dead := greatest(txn.stamp, fabric.after_stamp(newest, txn.stamp));
    WITH gone AS (
        SELECT _fabric_row::text AS doc, hstore(_fabric_row) AS state FROM stale AS _fabric_row
    ), buried AS (
        INSERT INTO fabric.tombstone (rel, pk, stamp, tenant, state)
        SELECT here, state -> TG_ARGV[1:], dead,
               coalesce(nullif(TG_ARGV[0], ''), state -> 'tenant_id')::uuid, state
          FROM gone
        ON CONFLICT (rel, pk) DO UPDATE SET stamp = EXCLUDED.stamp, state = EXCLUDED.state
    )
    INSERT INTO fabric.change
           (origin, seq, xact, stamp, epoch, op, lead, tenant, rel, size, columns, rows)
    SELECT txn.stamp & 255, nextval('fabric.change_seq'), txn.xact, dead, txn.epoch, 'D',
           row_number() OVER () = 1, tenant, here, count(*), columns, array_agg(doc)
      FROM (SELECT doc, tenant,
                   sum(octet_length(doc)) OVER (PARTITION BY tenant ROWS UNBOUNDED PRECEDING)
                   >> 18 AS part
              FROM (SELECT doc, coalesce(nullif(TG_ARGV[0], ''), state -> 'tenant_id')::uuid
                               AS tenant FROM gone) AS row
           ) AS rows
     GROUP BY tenant, part;
    UPDATE fabric.txn SET stamp = fabric.after_stamp(dead, stamp)
     WHERE xact = pg_current_xact_id();
    PERFORM setval('fabric.clock', greatest((dead >> 8) + 1, last_value)) FROM fabric.clock;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION fabric.refuse_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the primary key of a replicated row cannot be changed'
        USING ERRCODE = 'feature_not_supported', HINT = 'Insert a new row and delete the old one.';
END $$;
CREATE OR REPLACE FUNCTION fabric.commit_position() RETURNS pg_lsn
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_current_wal_insert_lsn()
$$;
CREATE OR REPLACE FUNCTION fabric.confirmed_by(lsn pg_lsn) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*)::integer FROM pg_replication_slots
     WHERE database = current_database() AND slot_type = 'logical' AND confirmed_flush_lsn >= lsn
$$;
CREATE OR REPLACE FUNCTION fabric.may_write() RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT clock_timestamp() < valid_until FROM fabric.gate
$$;
CREATE OR REPLACE FUNCTION fabric.write_probe(probe uuid) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO fabric.probe (id, region) SELECT probe, region FROM fabric.member RETURNING region
$$;
ALTER TABLE fabric.probe
    ADD COLUMN IF NOT EXISTS _born bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS _stamp bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS _fields jsonb,
    ADD COLUMN IF NOT EXISTS _base jsonb;
CREATE OR REPLACE TRIGGER fabric_open BEFORE INSERT OR UPDATE OR DELETE ON fabric.probe
    FOR EACH STATEMENT EXECUTE FUNCTION fabric.open_statement();
CREATE OR REPLACE TRIGGER zz_fabric_stamp_insert BEFORE INSERT ON fabric.probe
    FOR EACH ROW EXECUTE FUNCTION fabric.stamp_insert();
CREATE OR REPLACE TRIGGER zz_fabric_stamp_update BEFORE UPDATE ON fabric.probe
    FOR EACH ROW EXECUTE FUNCTION fabric.stamp_update();
CREATE OR REPLACE TRIGGER fabric_keep_key BEFORE UPDATE ON fabric.probe
    FOR EACH ROW WHEN ((old.id) IS DISTINCT FROM (new.id))
    EXECUTE FUNCTION fabric.refuse_key_change();
CREATE OR REPLACE TRIGGER fabric_insert AFTER INSERT ON fabric.probe
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_write('', 'id');
CREATE OR REPLACE TRIGGER fabric_update AFTER UPDATE ON fabric.probe
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_write('', 'id');
CREATE OR REPLACE TRIGGER fabric_delete AFTER DELETE ON fabric.probe
    REFERENCING OLD TABLE AS stale FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_delete('', 'id');
INSERT INTO fabric.relation (rel, key, columns) VALUES ('fabric.probe', ARRAY['id'], ARRAY['id', 'region', 'at', '_born', '_stamp', '_fields', '_base']);
CREATE TABLE public.note (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, title text, label text UNIQUE);
ALTER TABLE public.note
    ADD COLUMN IF NOT EXISTS _born bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS _stamp bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS _fields jsonb,
    ADD COLUMN IF NOT EXISTS _base jsonb;
CREATE OR REPLACE TRIGGER fabric_open BEFORE INSERT OR UPDATE OR DELETE ON public.note
    FOR EACH STATEMENT EXECUTE FUNCTION fabric.open_statement();
CREATE OR REPLACE TRIGGER zz_fabric_stamp_insert BEFORE INSERT ON public.note
    FOR EACH ROW EXECUTE FUNCTION fabric.stamp_insert();
CREATE OR REPLACE TRIGGER zz_fabric_stamp_update BEFORE UPDATE ON public.note
    FOR EACH ROW EXECUTE FUNCTION fabric.stamp_update();
CREATE OR REPLACE TRIGGER fabric_keep_key BEFORE UPDATE ON public.note
    FOR EACH ROW WHEN ((old.id) IS DISTINCT FROM (new.id))
    EXECUTE FUNCTION fabric.refuse_key_change();
CREATE OR REPLACE TRIGGER fabric_insert AFTER INSERT ON public.note
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_write('', 'id');
CREATE OR REPLACE TRIGGER fabric_update AFTER UPDATE ON public.note
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_write('', 'id');
CREATE OR REPLACE TRIGGER fabric_delete AFTER DELETE ON public.note
    REFERENCING OLD TABLE AS stale FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_delete('', 'id');
INSERT INTO fabric.relation (rel, key, columns) VALUES ('public.note', ARRAY['id'], ARRAY['id', 'title', 'label', '_born', '_stamp', '_fields', '_base']);
CREATE PUBLICATION fabric FOR TABLE fabric.change
    (origin, seq, xact, stamp, epoch, op, lead, tenant, rel, size, columns, rows) WITH (publish = 'insert');
