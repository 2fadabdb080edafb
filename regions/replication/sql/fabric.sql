-- The fabric's objects in one cell database: who this replica is, the write gate, the change log,
-- what has been applied, tombstones, the conflict ledger and dead letters. Idempotent: run over what an
-- earlier version made it adds what came later. That stands after each table, before what needs it.
-- A stamp is a hybrid logical clock in one bigint: microseconds since 2020 << 8 | node.

CREATE SCHEMA IF NOT EXISTS fabric;

CREATE TABLE IF NOT EXISTS fabric.member (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    cell text NOT NULL,
    region text NOT NULL,
    node smallint NOT NULL CHECK (node BETWEEN 1 AND 31)
);

ALTER TABLE fabric.member
    -- How often the cell's replicas are compared; nothing: only when somebody asks.
    ADD COLUMN IF NOT EXISTS verify_every interval DEFAULT '1 day',
    -- Which version of these scripts this database has.
    ADD COLUMN IF NOT EXISTS version text,
    -- Up to which stamp tombstones were collected, and when that was tried last with success.
    ADD COLUMN IF NOT EXISTS collected bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS collected_at timestamptz,
    -- How many bytes of log this replica keeps for a peer, and of a peer's unapplied; what happens
    -- when a peer lacks more.
    ADD COLUMN IF NOT EXISTS log_budget bigint NOT NULL DEFAULT 1073741824,
    ADD COLUMN IF NOT EXISTS over_budget text NOT NULL DEFAULT 'let-go'
        CHECK (over_budget IN ('let-go', 'refuse'));

-- Until when this replica may commit. A leased cell's agent keeps moving `valid_until`;
-- an active-active cell's stays at infinity.
CREATE TABLE IF NOT EXISTS fabric.gate (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    epoch bigint NOT NULL DEFAULT 0,
    valid_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO fabric.gate DEFAULT VALUES ON CONFLICT DO NOTHING;
-- Why nobody may write here at all, whoever holds the lease: it is being seeded, or taken away.
ALTER TABLE fabric.gate ADD COLUMN IF NOT EXISTS barred text;
-- Which start of the server somebody has looked at since: it may have started on an old backup. Null:
-- there is no agent, and nobody looks.
ALTER TABLE fabric.gate ADD COLUMN IF NOT EXISTS trusted_start timestamptz;
-- Why writers are slowed down, by so many milliseconds a transaction; without a number they are refused.
ALTER TABLE fabric.gate ADD COLUMN IF NOT EXISTS pressed text;
ALTER TABLE fabric.gate ADD COLUMN IF NOT EXISTS slowed_ms integer;
-- The member's, once more: a transaction finds all that it needs in one row.
ALTER TABLE fabric.gate ADD COLUMN IF NOT EXISTS node smallint;
UPDATE fabric.gate g SET node = m.node FROM fabric.member m WHERE g.node IS DISTINCT FROM m.node;

CREATE SEQUENCE IF NOT EXISTS fabric.clock MINVALUE 0 START 0;   -- newest microsecond seen
CREATE SEQUENCE IF NOT EXISTS fabric.change_seq;
CREATE SEQUENCE IF NOT EXISTS fabric.arrival;
-- What the session's transaction has in fabric.txn, by currval: no other value is ever anybody's.
CREATE UNLOGGED SEQUENCE IF NOT EXISTS fabric.stamp;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS fabric.epoch MINVALUE 0;
-- Whose rows this session is capturing: a table's oid.
CREATE UNLOGGED SEQUENCE IF NOT EXISTS fabric.at_hand;

-- The log: what this replica wrote (origin = own node) and what its peers sent. An entry holds `size`
-- rows of one statement, tenant and table, each as the text of its record: what the types' own
-- output functions give under fixed settings, so that their input functions bring back the same.
-- Only inserts are published. `arrival` is not: each replica numbers what it receives, which is
-- commit order. What it wrote itself has its `seq` there, so that one index is enough.
CREATE TABLE IF NOT EXISTS fabric.change (
    origin smallint NOT NULL,
    seq bigint NOT NULL,
    xact xid8 NOT NULL,
    stamp bigint NOT NULL,
    epoch bigint NOT NULL,
    op "char" NOT NULL,         -- I, U, D: what was done; H: a heartbeat
    lead boolean NOT NULL,
    tenant uuid,
    rel text,
    size integer NOT NULL DEFAULT 0,
    columns text[],             -- what an earlier version has in the place of `names`
    rows text[],
    arrival bigint
);
-- The columns of the writer's table, in its order, as the text of an array: one value to send and to
-- receive, not one for each column.
ALTER TABLE fabric.change ADD COLUMN IF NOT EXISTS names text;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attname = 'state' AND NOT attisdropped
                  AND attrelid = 'fabric.change'::pg_catalog.regclass) THEN
        RAISE EXCEPTION 'its change log is of a format that this version cannot read'
            USING ERRCODE = 'feature_not_supported';
    END IF;
END $$;
-- The worker that fills the inbox would read a condition's text anew for each row.
ALTER TABLE fabric.change DROP CONSTRAINT IF EXISTS change_op_check;
ALTER TABLE fabric.change ALTER rows SET STORAGE EXTERNAL;   -- compressing costs more than it saves
DO $$ BEGIN
    IF to_regclass('fabric.change_in_order') IS NULL THEN
        ALTER TABLE fabric.change DROP CONSTRAINT IF EXISTS change_pkey,
            ALTER arrival DROP NOT NULL, ALTER arrival DROP DEFAULT, ALTER seq SET NOT NULL;
        UPDATE fabric.change c SET arrival = c.seq FROM fabric.member m WHERE c.origin = m.node;
        CREATE INDEX change_in_order ON fabric.change (origin, arrival);
        DROP INDEX IF EXISTS fabric.change_by_arrival, fabric.change_arrived;
    END IF;
END $$;

-- Called: the applier has much to do and looks by itself; to call it would cost more than the rest of
-- what its worker does. Read and written outside of transactions (regions/replication/waking.py).
CREATE UNLOGGED SEQUENCE IF NOT EXISTS fabric.attentive;

-- Numbers what has arrived and wakes the applier; fires in the apply worker only, which would plan a
-- column's default anew for each row.
CREATE OR REPLACE FUNCTION fabric.receive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.arrival IS NOT NULL THEN
        RETURN NEW;     -- a session that applies writes the log itself
    END IF;
    NEW.arrival := pg_catalog.nextval('fabric.arrival');
    IF NEW.lead AND pg_catalog.pg_sequence_last_value('fabric.attentive') IS NULL THEN
        PERFORM pg_catalog.pg_notify('fabric', NEW.origin::pg_catalog.text);
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER receive BEFORE INSERT ON fabric.change
    FOR EACH ROW EXECUTE FUNCTION fabric.receive();
ALTER TABLE fabric.change ENABLE REPLICA TRIGGER receive;
DROP TRIGGER IF EXISTS announce ON fabric.change;
DROP FUNCTION IF EXISTS fabric.announce();

-- One row a writing transaction: its stamp, and the place where the gate is checked at commit.
CREATE UNLOGGED TABLE IF NOT EXISTS fabric.txn (
    xact xid8 PRIMARY KEY,
    stamp bigint NOT NULL,
    epoch bigint NOT NULL
);
-- The task that writes, if one does: `fabric.claim`, which is sent with each of its statements.
ALTER TABLE fabric.txn ADD COLUMN IF NOT EXISTS claim text;
-- In which of its messages the gate was looked at last, before the commit, and how often that message
-- may still have it looked at and be no commit.
ALTER TABLE fabric.txn ADD COLUMN IF NOT EXISTS looked timestamptz;
ALTER TABLE fabric.txn ADD COLUMN IF NOT EXISTS looks bigint;

CREATE TABLE IF NOT EXISTS fabric.relation (
    rel text PRIMARY KEY,
    key text[] NOT NULL,
    columns text[] NOT NULL,
    rules jsonb NOT NULL DEFAULT '{}'   -- by column; "*" is the rows' own
);
ALTER TABLE fabric.relation ADD COLUMN IF NOT EXISTS rules jsonb NOT NULL DEFAULT '{}';

CREATE TABLE IF NOT EXISTS fabric.watermark (
    origin smallint PRIMARY KEY,
    region text NOT NULL,
    arrival bigint NOT NULL DEFAULT 0,
    heartbeat bigint NOT NULL DEFAULT 0,      -- seq of the origin's newest applied heartbeat
    stamp bigint NOT NULL DEFAULT 0,
    at timestamptz
);
-- Since when this replica may lack what the origin had written: its slot there was lost.
ALTER TABLE fabric.watermark ADD COLUMN IF NOT EXISTS gap timestamptz;
-- Since when nothing is taken from the origin, because too much of it waits to be applied.
ALTER TABLE fabric.watermark ADD COLUMN IF NOT EXISTS paused timestamptz;
-- The greatest number of the origin's log that is applied here.
ALTER TABLE fabric.watermark ADD COLUMN IF NOT EXISTS seq bigint NOT NULL DEFAULT 0;

-- Regions that were lost and taken out of the cell: a replica that comes back from there stays shut.
CREATE TABLE IF NOT EXISTS fabric.expelled (
    node smallint PRIMARY KEY,
    region text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    by text NOT NULL,
    heard_until timestamptz     -- everything that it had committed by then is here
);

-- Tenants whose rows are gone from this replica for good: an old backup may have them.
CREATE TABLE IF NOT EXISTS fabric.erased (
    tenant uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A row outside of its table is an hstore: each column's text by its name. `pk` are the key's texts.
CREATE TABLE IF NOT EXISTS fabric.tombstone (
    rel text NOT NULL,
    pk text[] NOT NULL,
    stamp bigint NOT NULL,
    tenant uuid,
    state hstore NOT NULL,      -- kept so that a later write than the deletion revives a whole row
    PRIMARY KEY (rel, pk)
);

-- How the cell's replicas compared, the newest last: in each region that took part. It names no row.
CREATE TABLE IF NOT EXISTS fabric.verification (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),      -- when it ended
    seconds double precision NOT NULL,
    by text NOT NULL,
    regions text[] NOT NULL,
    unreachable text[] NOT NULL,
    tables integer NOT NULL DEFAULT 0,
    tenants integer NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    differences bigint NOT NULL DEFAULT 0,
    repaired bigint NOT NULL DEFAULT 0,
    in_flight bigint NOT NULL DEFAULT 0,
    problem text                                            -- why it has no result
);

-- Which loss it is, the same in every region that has a record of it.
CREATE OR REPLACE FUNCTION fabric.conflict_id(
    rel text, pk text[], field text, stamp bigint, loser jsonb) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT md5(jsonb_build_array(rel, to_jsonb(pk), field, stamp, loser)::text)::uuid
$$;

-- Every value that a merge discarded although its writer never saw the winner. A field's value is a
-- text or null; where `field` is '*' the loser is a whole row, as an object of texts.
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
    id uuid GENERATED ALWAYS AS (fabric.conflict_id(rel, pk, field, loser_stamp, loser)) STORED
        PRIMARY KEY
);
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attname = 'id'
                      AND attrelid = 'fabric.conflict'::pg_catalog.regclass) THEN
        ALTER TABLE fabric.conflict DROP CONSTRAINT conflict_pkey, ADD COLUMN id uuid
            GENERATED ALWAYS AS (fabric.conflict_id(rel, pk, field, loser_stamp, loser)) STORED
            PRIMARY KEY;
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS conflict_of_tenant
    ON fabric.conflict (tenant, (greatest(loser_stamp, winner_stamp)), id);

-- Which of the lost values have been written again, by whom and where: replicated, so that no other
-- region does it a second time.
CREATE TABLE IF NOT EXISTS fabric.restored (
    tenant_id uuid NOT NULL,
    conflict uuid NOT NULL,
    by text NOT NULL,
    region text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, conflict)
);

-- Tasks that are to be done: a row from when one is sent until it has ended. Replicated, so that
-- whoever writes the cell next knows what its last writer had not done.
CREATE TABLE IF NOT EXISTS fabric.task (
    tenant_id uuid NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    queue text,                             -- null: the default one of whichever region it is
    message text NOT NULL,                  -- what goes to a broker
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    region text NOT NULL,                   -- whose broker was told of it last
    epoch bigint NOT NULL,                  -- under which lease
    ring_at timestamptz NOT NULL,           -- when a broker is told again; infinity: never
    claims integer NOT NULL DEFAULT 0,      -- how often a worker has begun: the fencing token
    claimed_at timestamptz,                 -- when the one that does it now began; null: none does
    worker text,
    letter text,                            -- the message that it had it from
    lost integer NOT NULL DEFAULT 0,        -- how many began and never said how it ended
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX IF NOT EXISTS task_to_ring ON fabric.task (epoch, ring_at);

-- What a broker has to be told of here now. Under a lease all that is to be done is its holder's:
-- what was left under an earlier one is taken over. Where every region writes, each has its own.
CREATE OR REPLACE VIEW fabric.task_due AS
SELECT t.tenant_id, t.id, t.name, t.queue, t.message, t.sent_at, t.region
  FROM fabric.task t, fabric.gate g
 WHERE g.valid_until <> 'infinity' AND t.epoch < g.epoch AND t.ring_at <> 'infinity'
 UNION ALL
SELECT t.tenant_id, t.id, t.name, t.queue, t.message, t.sent_at, t.region
  FROM fabric.task t, fabric.member m, fabric.gate g
 WHERE t.ring_at <= now() AND CASE WHEN g.valid_until = 'infinity' THEN t.region = m.region
                                   ELSE t.epoch >= g.epoch END;

-- The newest change of a row by each origin that could not be applied.
CREATE TABLE IF NOT EXISTS fabric.dead_letter (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rel text NOT NULL,
    pk text[] NOT NULL,
    origin smallint NOT NULL,
    tenant uuid,
    state hstore NOT NULL,
    dead bigint,                -- the stamp of its deletion
    reason text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (rel, pk, origin)
);

-- How much of a bounded counter a node would like to hold rights for. Replicated; each region forgets
-- what is answered, or old, by itself.
CREATE TABLE IF NOT EXISTS fabric.want (
    rel text NOT NULL,
    pk text[] NOT NULL,
    field text NOT NULL,
    node smallint NOT NULL,
    amount numeric NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (rel, pk, field, node)
);

-- A real, replicated write that health checks, failover and drills make.
CREATE TABLE IF NOT EXISTS fabric.probe (
    id uuid PRIMARY KEY,
    region text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
