-- Capture: stamps rows, writes the log, guards the commit. The triggers are ordinary ones: with
-- session_replication_role = replica (apply) none of them fires, so nothing loops.

CREATE OR REPLACE FUNCTION fabric.next_stamp() RETURNS bigint LANGUAGE sql AS $$
    SELECT greatest(
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 1577836800000000,
        (SELECT last_value + 1 FROM fabric.clock)
    ) << 8 | (SELECT node FROM fabric.member)
$$;

-- The successor of a stamp, made by the node that `mine` carries.
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

-- At commit: whoever slept past the lease's end does not commit.
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

-- Before each writing statement: the transaction has a stamp and an open gate.
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

-- Row by row: who wrote which field when. TG_ARGV: the columns that PostgreSQL generates.
CREATE OR REPLACE FUNCTION fabric.stamp_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW._born := current_setting('fabric.stamp')::bigint;
    NEW._stamp := NEW._born;
    NEW._fields := NULL;
    NEW._base := NULL;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION fabric.stamp_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine bigint := current_setting('fabric.stamp')::bigint;
    ours text[] := ARRAY['_born', '_stamp', '_fields', '_base'] || TG_ARGV;
    before jsonb := to_jsonb(OLD) - ours;
    changed jsonb;
    based jsonb;
BEGIN
    NEW._born := OLD._born;
    NEW._stamp := OLD._stamp;
    NEW._fields := OLD._fields;
    NEW._base := OLD._base;
    IF OLD._stamp >= mine THEN
        mine := fabric.after_stamp(OLD._stamp, mine);
        PERFORM setval('fabric.clock', mine >> 8);
    END IF;
    SELECT jsonb_object_agg(key, mine),
           jsonb_object_agg(key, coalesce((OLD._fields ->> key)::bigint, OLD._born))
      INTO changed, based
      FROM jsonb_each(to_jsonb(NEW) - ours) AS after
     WHERE value IS DISTINCT FROM before -> key;
    IF changed IS NOT NULL THEN
        NEW._stamp := mine;
        NEW._fields := coalesce(OLD._fields, '{}') || changed;
        NEW._base := based || jsonb_build_object('', OLD._stamp);
    END IF;
    RETURN NEW;
END $$;

-- After the statement: one log row a changed row, whole, so that it can be applied in any order.
-- TG_ARGV[0]: the tenant ('' where each row says its own); then the primary key's columns.
CREATE OR REPLACE FUNCTION fabric.capture_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO fabric.change (origin, seq, xact, stamp, epoch, op, lead, tenant, rel, state)
    SELECT txn.stamp & 255, nextval('fabric.change_seq'), txn.xact, (doc ->> '_stamp')::bigint,
           txn.epoch, left(TG_OP, 1)::"char", row_number() OVER () = 1,
           coalesce(nullif(TG_ARGV[0], ''), doc ->> 'tenant_id')::uuid,
           TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, doc
      FROM fabric.txn, (SELECT to_jsonb(_fabric_row) AS doc FROM fresh AS _fabric_row) AS rows
     WHERE txn.xact = pg_current_xact_id();
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION fabric.capture_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    newest bigint;
BEGIN
    WITH gone AS (
        INSERT INTO fabric.change (origin, seq, xact, stamp, epoch, op, lead, tenant, rel, state)
        SELECT txn.stamp & 255, nextval('fabric.change_seq'), txn.xact,
               greatest(txn.stamp, fabric.after_stamp((doc ->> '_stamp')::bigint, txn.stamp)),
               txn.epoch, 'D', row_number() OVER () = 1,
               coalesce(nullif(TG_ARGV[0], ''), doc ->> 'tenant_id')::uuid,
               TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, doc
          FROM fabric.txn, (SELECT to_jsonb(_fabric_row) AS doc FROM stale AS _fabric_row) AS rows
         WHERE txn.xact = pg_current_xact_id()
        RETURNING rel, stamp, tenant, state
    ), buried AS (
        INSERT INTO fabric.tombstone (rel, pk, stamp, tenant, state)
        SELECT rel, fabric.pick(state, TG_ARGV[1:]), stamp, tenant, state FROM gone
        ON CONFLICT (rel, pk) DO UPDATE SET stamp = EXCLUDED.stamp, state = EXCLUDED.state
    )
    SELECT max(stamp) INTO newest FROM gone;
    IF newest IS NOT NULL THEN
        -- What follows in this transaction is younger than the deletion, a re-insert above all.
        UPDATE fabric.txn SET stamp = fabric.after_stamp(newest, stamp)
         WHERE xact = pg_current_xact_id();
        PERFORM setval('fabric.clock', greatest((newest >> 8) + 1, last_value)) FROM fabric.clock;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION fabric.refuse_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the primary key of a replicated row cannot be changed'
        USING ERRCODE = 'feature_not_supported', HINT = 'Insert a new row and delete the old one.';
END $$;

-- Durability `remote`: has a peer got this transaction?
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
