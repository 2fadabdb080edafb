-- One acceptor of PaxosLease (Trencséni, Gazsó, Reinhardt 2012, arXiv:1209.4187) in a region's
-- control database, never replicated. Ballots and epochs are durable, so a restart needs no wait;
-- an accepted lease expires by this server's own clock, `ttl` after it was accepted.

CREATE SCHEMA IF NOT EXISTS lease;

CREATE TABLE IF NOT EXISTS lease.acceptor (
    cell text PRIMARY KEY,
    promised bigint NOT NULL DEFAULT 0,
    ballot bigint NOT NULL DEFAULT 0,
    holder text,
    epoch bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity',
    successor text,                                     -- a planned switchover's target …
    reserved_until timestamptz NOT NULL DEFAULT '-infinity'   -- … has the first try until then
);

-- Regions that are being worked on stand aside. The newest word that a majority has counts.
CREATE TABLE IF NOT EXISTS lease.aside (
    region text PRIMARY KEY,
    aside boolean NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL
);

-- What agents are asked to do with this region's leases, and what they did and why.
CREATE TABLE IF NOT EXISTS lease.request (
    id uuid PRIMARY KEY,
    cell text NOT NULL,
    target text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('hand_over', 'take')),
    forced boolean NOT NULL DEFAULT false,      -- let go even if the target did not catch up
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    outcome text
);
ALTER TABLE lease.request
    ADD COLUMN IF NOT EXISTS by text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS begun timestamptz;     -- since then nobody can take it back
CREATE INDEX IF NOT EXISTS request_open ON lease.request (at) WHERE outcome IS NULL;
CREATE TABLE IF NOT EXISTS lease.event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    region text NOT NULL,
    cell text NOT NULL,
    action text NOT NULL,
    reason text NOT NULL,
    epoch bigint
);
CREATE INDEX IF NOT EXISTS event_by_cell ON lease.event (cell, id);

-- An acceptor that went back in time has forgotten what it promised: until somebody has looked, and
-- it has learned that from the others, it has no vote.
CREATE OR REPLACE FUNCTION lease.require_memory() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    reason text := fabric.kept_closed();
BEGIN
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION 'this acceptor has no vote: its database %', reason
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END $$;

-- Everything that this acceptor knows, and a mark of it; to who has that mark already, only the mark:
-- many cells are looked at often, and change seldom. One moment decides what has ended.
DROP FUNCTION IF EXISTS lease.state(text[]);
CREATE OR REPLACE FUNCTION lease.look(known text)
RETURNS TABLE (mark text, leases jsonb, words jsonb)
LANGUAGE sql AS $$
    SELECT lease.require_memory();
    WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS at),
    seen AS MATERIALIZED (
        SELECT cell, promised, holder, epoch, expires_at > at AS live, successor,
               reserved_until > at AS reserved
          FROM lease.acceptor, moment),
    marked AS MATERIALIZED (
        SELECT concat_ws(' ', (SELECT sum(hash_record_extended(seen, 0)) FROM seen),
                         (SELECT sum(hash_record_extended(w, 0)) FROM lease.aside w)) AS mark)
    SELECT mark,
           CASE WHEN mark IS DISTINCT FROM known THEN (
               SELECT coalesce(jsonb_agg(jsonb_build_array(
                          cell, promised, holder, epoch, live, successor, reserved)), '[]')
                 FROM seen) END,
           CASE WHEN mark IS DISTINCT FROM known THEN (
               SELECT coalesce(jsonb_agg(jsonb_build_array(
                          region, extract(epoch FROM at), aside)), '[]')
                 FROM lease.aside) END
      FROM marked
$$;

-- Phase 1, for many cells in one message: promise, and tell what was accepted before.
CREATE OR REPLACE FUNCTION lease.prepare(cells text[], ballots bigint[])
RETURNS TABLE (cell text, granted boolean, promised bigint, holder text, epoch bigint, live boolean)
LANGUAGE sql AS $$
    SELECT lease.require_memory();
    WITH asked AS MATERIALIZED (SELECT c, b FROM unnest(cells, ballots) AS u(c, b)),
    told AS (
        INSERT INTO lease.acceptor AS a (cell, promised) SELECT c, b FROM asked ORDER BY c
        ON CONFLICT (cell) DO UPDATE SET promised = greatest(a.promised, EXCLUDED.promised)
        RETURNING a.cell, a.promised, a.holder, a.epoch, a.expires_at > clock_timestamp() AS live)
    SELECT told.cell, told.promised = asked.b, told.promised, told.holder, told.epoch, told.live
      FROM told JOIN asked ON asked.c = told.cell
$$;

-- Phase 2, and renewal: accept unless a higher ballot was promised since. Of each cell its ballot and
-- its epoch, as one document: a thousand are written in a fifth of the time that arrays take.
CREATE OR REPLACE FUNCTION lease.accept(proposals jsonb, new_holder text, ttl interval)
RETURNS TABLE (cell text)
LANGUAGE sql AS $$
    SELECT lease.require_memory();
    UPDATE lease.acceptor AS a
       SET promised = b, ballot = b, epoch = e, holder = new_holder,
           expires_at = clock_timestamp() + ttl, successor = NULL, reserved_until = '-infinity'
      FROM (SELECT key AS c, (value->>0)::bigint AS b, (value->>1)::bigint AS e
              FROM jsonb_each(proposals)) AS proposed
     WHERE a.cell = c AND a.promised <= b
    RETURNING a.cell
$$;

-- The holder lets go, and may name who shall have the first try.
CREATE OR REPLACE FUNCTION lease.release(
    which text, of_holder text, of_epoch bigint, to_region text, reserved interval)
RETURNS boolean LANGUAGE sql AS $$
    WITH done AS (
        UPDATE lease.acceptor
           SET expires_at = '-infinity', successor = to_region,
               reserved_until = CASE WHEN to_region IS NULL THEN '-infinity'::timestamptz
                                     ELSE clock_timestamp() + reserved END
         WHERE cell = which AND holder = of_holder AND epoch = of_epoch
        RETURNING 1
    ) SELECT EXISTS (SELECT FROM done)
$$;
