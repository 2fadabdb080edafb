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

-- Why nobody may write here, whoever holds the lease; null: nothing of that kind.
CREATE OR REPLACE FUNCTION fabric.kept_closed() RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(barred, CASE WHEN trusted_start <> pg_postmaster_start_time()
        THEN 'has not been looked at since its server started' END) FROM fabric.gate
$$;

-- Whether somebody may write here now. In plain SQL and without settings of its own, so that it
-- becomes part of whatever asks: each transaction does, and a call costs more than the look.
CREATE OR REPLACE FUNCTION fabric.is_open(gate fabric.gate) RETURNS boolean LANGUAGE sql AS $$
    SELECT pg_catalog.clock_timestamp() < gate.valid_until AND gate.barred IS NULL
       AND coalesce(gate.trusted_start = pg_catalog.pg_postmaster_start_time(), true)
$$;

CREATE OR REPLACE FUNCTION fabric.require_gate() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gate fabric.gate;
    here fabric.member;
BEGIN
    SELECT * INTO gate FROM fabric.gate;
    IF fabric.is_open(gate) THEN
        RETURN gate.epoch;
    END IF;
    SELECT * INTO here FROM fabric.member;
    RAISE EXCEPTION 'cell % may not be written in region % now', here.cell, here.region
        USING ERRCODE = 'MDF01', HINT = coalesce('This replica ' || fabric.kept_closed(),
              'Another region holds its lease, or none does') || ': send the write to the edge.';
END $$;

-- For a new transaction, where the gate is not simply open. The fabric's own rows (probes, wants)
-- pass the pressure: they tell how things are, and are few. Tasks are the application's.
DROP FUNCTION IF EXISTS fabric.admit(name);
CREATE OR REPLACE FUNCTION fabric.admit(of_schema name, of_table name) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    epoch bigint := fabric.require_gate();
    gate fabric.gate;
    here fabric.member;
BEGIN
    SELECT * INTO gate FROM fabric.gate;
    IF gate.pressed IS NULL OR of_schema = 'fabric' AND of_table <> 'task' THEN
        RETURN epoch;
    ELSIF gate.slowed_ms IS NOT NULL THEN
        PERFORM pg_sleep(gate.slowed_ms / 1000.0);
        RETURN epoch;
    END IF;
    SELECT * INTO here FROM fabric.member;
    RAISE EXCEPTION 'cell % takes no writes in region % now: %', here.cell, here.region, gate.pressed
        USING ERRCODE = 'MDF02', HINT = 'Try again later.';
END $$;

-- At commit: what a task writes is committed as long as it is still this worker's. The row is locked,
-- so nobody takes it over between this look and the commit. `claim`: <tenant>.<claims>.<hex of its id>
CREATE OR REPLACE FUNCTION fabric.require_claim(claim text[], under bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM fabric.task t, fabric.member m
      WHERE t.tenant_id = claim[1]::uuid AND t.id = convert_from(decode(claim[3], 'hex'), 'UTF8')
        AND t.claims = claim[2]::integer AND t.epoch = under AND t.region = m.region
        FOR SHARE OF t;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this task is not this worker''s any more'
            USING ERRCODE = 'MDF03', HINT = 'Another worker has begun it since, or it has ended.';
    END IF;
END $$;

-- At commit: whoever slept past the lease's end does not commit, nor a task that is another worker's
-- by then. One trigger without a condition, which the server would read anew in each transaction.
-- SET CONSTRAINTS ALL IMMEDIATE, as Django's check_constraints says, is no commit: it has what was put
-- off done while it runs, and what comes later within the trigger that begins a statement. Then the
-- look is put off again. Nothing but its text tells that command from the commit, and one message may
-- have both: so often as it has the word (`looks`), the look is put off, and then it was the commit.
CREATE OR REPLACE FUNCTION fabric.guard_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fine boolean;
    again bigint := 0;
BEGIN
    SELECT g.epoch = NEW.epoch AND fabric.is_open(g) AND coalesce(NEW.claim = '', true)
           AND pg_trigger_depth() = 1
           AND coalesce(current_query() COLLATE "C" NOT ILIKE '%constraints%', true) INTO fine
      FROM fabric.gate g;
    IF fine THEN
        RETURN NULL;
    END IF;
    IF fabric.require_gate() <> NEW.epoch THEN
        RAISE EXCEPTION 'the lease changed hands during this transaction'
            USING ERRCODE = 'MDF01', HINT = 'Send the write again.';
    END IF;
    IF NEW.claim <> '' THEN
        PERFORM fabric.require_claim(string_to_array(NEW.claim, '.'), NEW.epoch);
    END IF;
    IF NEW.looked = statement_timestamp() THEN
        again := NEW.looks;
    ELSIF current_query() COLLATE "C"
          ~* 'set(\s|--[^\r\n]*[\r\n]|/\*.*\*/)+constraints' THEN
        again := regexp_count(current_query() COLLATE "C", 'constraints', 1, 'i');
    END IF;
    IF pg_trigger_depth() > 1 OR again > 0 THEN
        SET CONSTRAINTS fabric.guard_commit DEFERRED;
        UPDATE fabric.txn
           SET looked = statement_timestamp(),
               looks = CASE WHEN pg_trigger_depth() > 1 THEN again ELSE again - 1 END
         WHERE xact = NEW.xact;
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS guard_commit ON fabric.txn;
CREATE CONSTRAINT TRIGGER guard_commit AFTER INSERT OR UPDATE OF looked ON fabric.txn
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fabric.guard_commit();
DROP TRIGGER IF EXISTS guard_task ON fabric.txn;
DROP FUNCTION IF EXISTS fabric.guard_task();

-- Before each writing statement: the transaction has a stamp and an open gate. Sequences carry the
-- stamp to the rows and the epoch to the log: whoever writes may read them and nobody else's hand is
-- on them in this session. Tables that an earlier version attached have no argument, and the stamp
-- from a setting: it can be forged, so what they got is checked when they are captured.
-- A transaction without a number has written nothing, so that it has no stamp yet and is not looked for.
-- A plan is kept, maybe one of when there were no transactions: it must not read all of them. What is
-- set is assigned, not performed: that is a tenth of the price.
CREATE OR REPLACE FUNCTION fabric.open_statement() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    mine bigint;
    under bigint;
    told text;
BEGIN
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        -- Nothing that was rolled back takes back what rows may have got.
        SELECT setval('fabric.stamp', greatest(stamp, currval('fabric.stamp'))),
               setval('fabric.epoch', epoch) INTO mine, under
          FROM fabric.txn WHERE xact = pg_current_xact_id();
    END IF;
    IF mine IS NULL THEN
        -- As next_stamp and admit say; called, or with the clock in the query, they cost more than
        -- the rest. A clock that nobody has set yet has no last value.
        mine := greatest(
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 1577836800000000,
            pg_sequence_last_value('fabric.clock') + 1) << 8;
        INSERT INTO fabric.txn (xact, stamp, epoch, claim)
        SELECT pg_current_xact_id(), mine | g.node,
               CASE WHEN fabric.is_open(g) AND g.pressed IS NULL THEN g.epoch
                    ELSE fabric.admit(TG_TABLE_SCHEMA, TG_TABLE_NAME) END,
               current_setting('fabric.claim', true)
          FROM fabric.gate g
        RETURNING setval('fabric.stamp', stamp), setval('fabric.epoch', epoch) INTO mine, under;
    END IF;
    IF TG_OP IN ('UPDATE', 'TRUNCATE') OR TG_NARGS = 0 THEN
        IF TG_OP = 'TRUNCATE' THEN
            RAISE EXCEPTION 'TRUNCATE of %, which is replicated: peers would keep its rows',
                TG_TABLE_NAME USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE.';
        END IF;
        told := set_config('fabric.stamp', mine::text, true);
        told := set_config('fabric.unclear', CASE
            WHEN current_setting('DateStyle') LIKE 'ISO%'
             AND current_setting('extra_float_digits')::integer > 0 THEN 'no' ELSE 'yes' END, true);
    END IF;
    RETURN NULL;
END $$;

-- Row by row, as whoever writes: who wrote which field when. A new row's columns have the stamp by
-- default; this is for those that somebody gave others.
CREATE OR REPLACE FUNCTION fabric.stamp_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW._born := pg_catalog.currval('fabric.stamp');
    NEW._stamp := NEW._born;
    NEW._fields := NULL;
    NEW._base := NULL;
    RETURN NEW;
END $$;

-- What differs, told by the values' texts under settings that hide nothing.
CREATE OR REPLACE FUNCTION fabric.differing(one record, other record) RETURNS hstore
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET extra_float_digits = 1 AS $$
BEGIN
    RETURN hstore(one) - hstore(other);
END $$;

-- TG_ARGV: the columns that are nobody's to write. A row that is newer than the transaction (a peer's
-- clock may be ahead) gets the next stamp after its own.
CREATE OR REPLACE FUNCTION fabric.stamp_update() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mine bigint := pg_catalog.currval('fabric.stamp');
    changed text[];
    field text;
BEGIN
    NEW._born := OLD._born;
    NEW._stamp := OLD._stamp;
    NEW._fields := OLD._fields;
    NEW._base := OLD._base;
    IF pg_catalog.current_setting('fabric.unclear') OPERATOR(pg_catalog.=) 'yes' THEN
        changed := pg_catalog.akeys(fabric.differing(NEW, OLD) OPERATOR(pg_catalog.-) TG_ARGV);
    ELSE
        changed := pg_catalog.akeys(
            pg_catalog.hstore(NEW) OPERATOR(pg_catalog.-) pg_catalog.hstore(OLD)
            OPERATOR(pg_catalog.-) TG_ARGV);
    END IF;
    IF changed OPERATOR(pg_catalog.=) '{}' THEN
        RETURN NEW;
    END IF;
    IF OLD._stamp OPERATOR(pg_catalog.>=) mine THEN
        mine := ((OLD._stamp >> 8) + 1) << 8 | (mine & 255);
    END IF;
    NEW._stamp := mine;
    NEW._base := pg_catalog.jsonb_build_object('', OLD._stamp);
    NEW._fields := coalesce(OLD._fields, '{}');
    FOREACH field IN ARRAY changed LOOP
        NEW._base := pg_catalog.jsonb_set(
            NEW._base, ARRAY[field], coalesce(OLD._fields -> field, pg_catalog.to_jsonb(OLD._born)));
        NEW._fields := pg_catalog.jsonb_set(NEW._fields, ARRAY[field], pg_catalog.to_jsonb(mine));
    END LOOP;
    RETURN NEW;
END $$;

-- The columns of a table, in the order of its records.
CREATE OR REPLACE FUNCTION fabric.columns_of(relation oid) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT array_agg(attname::text ORDER BY attnum) FROM pg_catalog.pg_attribute
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;

-- A row's text under settings that hide nothing, which those of its writer are not.
CREATE OR REPLACE FUNCTION fabric.text_of(written record) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1
SET bytea_output = 'hex' SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
BEGIN
    RETURN written::text;
END $$;

-- One entry of the log: rows of one statement, tenant and table.
DROP FUNCTION IF EXISTS fabric.log_rows(
    fabric.txn, "char", boolean, uuid, bigint, text, text[], text[]);
CREATE OR REPLACE FUNCTION fabric.log_rows(
    mine bigint, epoch bigint, operation "char", lead boolean, tenant uuid, stamp bigint, here text,
    relation oid, docs text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    number bigint := nextval('fabric.change_seq');
BEGIN
    INSERT INTO fabric.change (origin, seq, arrival, xact, stamp, epoch, op, lead, tenant, rel, size,
                               names, rows)
    VALUES (mine & 255, number, number, pg_current_xact_id(), log_rows.stamp, log_rows.epoch,
            operation, log_rows.lead, log_rows.tenant, here, cardinality(docs),
            ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a    -- columns_of costs more
                   WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
                   ORDER BY a.attnum)::text, docs);
END $$;

DROP FUNCTION IF EXISTS fabric.columns_at_hand();
-- The columns of the table at hand, which is whichever the asker has set. The planner is told that they
-- never change, so that they become part of a plan. Only for queries that read a table's rows: their
-- plans are made anew when the table is altered, or they could not be carried out.
CREATE OR REPLACE FUNCTION fabric.names_at_hand() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN fabric.columns_of(pg_catalog.currval('fabric.at_hand')::oid);
END $$;

-- After the statement: its rows go to the log, whole, so that they can be applied in any order.
-- Many rows share an entry; an entry is one tenant's and, but for its last row, a quarter of a
-- megabyte. TG_ARGV[0]: the tenant, '' where each row may say its own; then the primary key's
-- columns. An entry's stamp is its newest row's; of a deletion, later than that.
-- One row, as most statements have, is written at once: to gather it would cost as much as that. Many
-- are gathered one by one: to group them takes twice as long, and all of them in memory. What their
-- texts depend on is fixed for the texts alone, and only where the writer's settings are others than
-- usual. What is volatile is asked before the query, which would become one within another.
-- Rows may have columns of any name, so variables are qualified; but for `tenant_id`, which is the
-- rows' own where they have it.
CREATE OR REPLACE FUNCTION fabric.capture_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
<<own>>
DECLARE
    usual boolean := concat_ws(' ', current_setting('DateStyle'), current_setting('TimeZone'),
            current_setting('IntervalStyle'), current_setting('bytea_output'),
            current_setting('lc_monetary'), current_setting('extra_float_digits'))
        LIKE 'ISO, ___ UTC postgres hex C 1';
    tenant uuid := nullif(TG_ARGV[0], '')::uuid;
    tenant_id uuid;
    mine bigint := currval('fabric.stamp');
    epoch bigint := currval('fabric.epoch');
    number bigint := nextval('fabric.change_seq');
    at_hand bigint := setval('fabric.at_hand', TG_RELID::bigint);
    newest bigint;
    latest bigint;
BEGIN
    INSERT INTO fabric.change AS c (origin, seq, arrival, xact, stamp, epoch, op, lead, tenant, rel,
                                    size, names, rows)
    SELECT own.mine & 255, own.number, own.number, pg_current_xact_id(), _fabric_row._stamp,
           own.epoch, capture_write.tg_op::"char", true,
           coalesce(own.tenant, tenant_id::text::uuid),
           concat(capture_write.tg_table_schema, '.', capture_write.tg_table_name), 1,
           fabric.names_at_hand(),
           ARRAY[CASE WHEN own.usual THEN _fabric_row::text ELSE fabric.text_of(_fabric_row) END]
      FROM fresh AS _fabric_row
     WHERE NOT EXISTS (SELECT FROM fresh OFFSET 1)
    RETURNING c.stamp INTO newest;
    IF newest <= own.mine THEN
        RETURN NULL;
    ELSIF newest IS NULL THEN
        <<entry>>
        DECLARE
            doc text;
            docs text[] := '{}';
            room integer := 262144;
            lead boolean := true;
            tenant uuid;
            theirs uuid;
            stamp bigint;
            stamped bigint := 0;
        BEGIN
            FOR doc, stamp, theirs IN
                SELECT CASE WHEN own.usual THEN _fabric_row::text
                            ELSE fabric.text_of(_fabric_row) END,
                       _fabric_row._stamp, coalesce(own.tenant, tenant_id::text::uuid)
                  FROM fresh AS _fabric_row ORDER BY 3
            LOOP
                IF room <= 0 OR docs <> '{}' AND theirs IS DISTINCT FROM entry.tenant THEN
                    PERFORM fabric.log_rows(
                        own.mine, own.epoch, TG_OP::"char", lead, entry.tenant, stamped,
                        concat(TG_TABLE_SCHEMA, '.', TG_TABLE_NAME), TG_RELID, docs);
                    newest := greatest(newest, stamped);
                    docs := '{}'; room := 262144; stamped := 0; lead := false;
                END IF;
                entry.tenant := theirs;
                docs := docs || doc;
                room := room - octet_length(doc);
                stamped := greatest(stamped, stamp);
            END LOOP;
            IF docs = '{}' THEN
                RETURN NULL;
            END IF;
            PERFORM fabric.log_rows(
                own.mine, own.epoch, TG_OP::"char", lead, entry.tenant, stamped,
                concat(TG_TABLE_SCHEMA, '.', TG_TABLE_NAME), TG_RELID, docs);
            newest := greatest(newest, stamped);
        END;
    END IF;
    -- An honest stamp is the transaction's, or follows the row's own. Whoever writes can't say another,
    -- but where a table still has its stamps from a setting; its owner's triggers could.
    IF newest > own.mine THEN
        IF TG_OP = 'UPDATE' THEN
            SELECT fabric.after_stamp(max(_fabric_row._stamp), 255) INTO latest
              FROM stale AS _fabric_row;
        END IF;
        IF newest > coalesce(latest, 0) THEN
            RAISE EXCEPTION 'a row carries a stamp that is not its transaction''s'
                USING ERRCODE = 'insufficient_privilege',
                      HINT = 'fabric.stamp is the platform''s: no statement may set it.';
        END IF;
        PERFORM setval('fabric.clock', greatest(newest >> 8, last_value)) FROM fabric.clock;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION fabric.capture_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1
SET bytea_output = 'hex' SET TimeZone = 'UTC' SET lc_monetary = 'C'
SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
    columns text[] := ARRAY(   -- columns_of, called, costs three times as much
        SELECT attname::text FROM pg_attribute
         WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped ORDER BY attnum);
    here text := TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME;
    txn fabric.txn;
    elements boolean := (SELECT rules ->> '*' LIKE 'set:%' FROM fabric.relation
                          WHERE rel = TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME);
    newest bigint;
    dead bigint;
BEGIN
    SELECT max(_fabric_row._stamp) INTO newest FROM stale AS _fabric_row;
    IF newest IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO txn FROM fabric.txn WHERE xact = pg_current_xact_id();
    -- Before what the same statement inserts, which has the transaction's stamp already.
    dead := greatest(txn.stamp - 256, fabric.after_stamp(newest, txn.stamp));
    WITH gone AS (
        SELECT _fabric_row::text AS doc, hstore(_fabric_row) AS state,
               CASE WHEN elements THEN _fabric_row._stamp ELSE dead END AS stamp
          FROM stale AS _fabric_row
    ), buried AS (
        INSERT INTO fabric.tombstone (rel, pk, stamp, tenant, state)
        SELECT here, state -> TG_ARGV[1:], stamp,
               coalesce(nullif(TG_ARGV[0], ''), state -> 'tenant_id')::uuid, state
          FROM gone
        ON CONFLICT (rel, pk) DO UPDATE SET stamp = EXCLUDED.stamp, state = EXCLUDED.state
    )
    INSERT INTO fabric.change (origin, seq, arrival, xact, stamp, epoch, op, lead, tenant, rel, size,
                               names, rows)
    SELECT txn.stamp & 255, seq, seq, txn.xact, dead, txn.epoch, 'D', row_number() OVER () = 1, tenant,
           here, size, columns::text, docs
      FROM (SELECT nextval('fabric.change_seq') AS seq, tenant, count(*) AS size,
                   array_agg(doc) AS docs
              FROM (SELECT doc, tenant,
                           sum(octet_length(doc)) OVER (PARTITION BY tenant ROWS UNBOUNDED PRECEDING)
                           >> 18 AS part
                      FROM (SELECT doc, coalesce(nullif(TG_ARGV[0], ''), state -> 'tenant_id')::uuid
                                       AS tenant FROM gone) AS row
                   ) AS rows
             GROUP BY tenant, part) AS entry;
    -- What follows in this transaction is younger than the deletion, a re-insert above all.
    IF dead >= txn.stamp THEN
        UPDATE fabric.txn SET stamp = fabric.after_stamp(dead, stamp)
         WHERE xact = pg_current_xact_id();
        PERFORM setval('fabric.clock', greatest((dead >> 8) + 1, last_value)) FROM fabric.clock;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION fabric.refuse_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the primary key of a replicated row cannot be changed'
        USING ERRCODE = 'feature_not_supported', HINT = 'Insert a new row and delete the old one.';
END $$;

-- A statement that names a partition fires none of the triggers of what it is part of. What names the
-- whole does not fire this.
CREATE OR REPLACE FUNCTION fabric.refuse_part() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is a part of a replicated table: peers would not hear of what is written to it',
        TG_TABLE_NAME USING ERRCODE = 'feature_not_supported',
        HINT = 'Name the whole table in the statement.';
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

-- Sessions: where this replica is in every origin's log, by node: the newest number that its own log
-- has used, the newest heartbeat that it has applied of the others; and how old, by the clock of who
-- wrote it, the newest is that is applied of whichever origin it has least of.
CREATE OR REPLACE FUNCTION fabric.position(OUT beats jsonb, OUT stale float8)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(m.node, CASE WHEN s.is_called THEN s.last_value ELSE 0 END)
               || coalesce((SELECT jsonb_object_agg(origin, heartbeat) FROM fabric.watermark), '{}'),
           coalesce((SELECT CASE WHEN min(stamp) > 0 THEN
                                greatest(0, extract(epoch FROM clock_timestamp())
                                            - ((min(stamp) >> 8) / 1000000.0 + 1577836800))
                                 ELSE 'Infinity' END
                       FROM fabric.watermark HAVING count(*) > 0), 0)
      FROM fabric.member m, fabric.change_seq s
$$;

-- Whether all that a replica with that position could show is here. A heartbeat with a greater number
-- was committed after it, so everything before has come before it.
CREATE OR REPLACE FUNCTION fabric.has_reached(wanted jsonb) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(bool_and(CASE WHEN key = m.node::text THEN s.last_value >= value::bigint
                                  ELSE coalesce(w.heartbeat, -1) > value::bigint END), true)
      FROM fabric.member m, fabric.change_seq s, jsonb_each_text(wanted)
      LEFT JOIN fabric.watermark w ON w.origin::text = key
$$;

CREATE OR REPLACE FUNCTION fabric.may_write() RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT fabric.is_open(g) FROM fabric.gate g
$$;

CREATE OR REPLACE FUNCTION fabric.write_probe(probe uuid) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO fabric.probe (id, region) SELECT probe, region FROM fabric.member RETURNING region
$$;
