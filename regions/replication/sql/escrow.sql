-- Bounded counters (escrow; O'Neil 1986, Balegas et al. 2015): a value never falls below its bound,
-- whatever is cut off from what. A node may take away only what it holds rights for. It has them from
-- what it added itself and from what others gave it; all nodes' rights together are what the value is
-- above the bound. The state is a counter's, with a third item in each node's part: [version, sum of
-- this node's changes, {node: what it has been given in all}]. Only a node itself gives its rights away,
-- so a version is the node's own count; it is a stamp, but need not be its row's.

-- Who may take away how much. `first`: the node that made the row, and holds its first value.
CREATE OR REPLACE FUNCTION fabric.rights(state jsonb, first bigint, least_value numeric)
RETURNS TABLE (node text, rights numeric) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    WITH gift AS (
        SELECT parts.node AS giver, gifts.node AS taker, amount::numeric
          FROM jsonb_each(state) AS parts(node, part)
         CROSS JOIN LATERAL jsonb_each_text(part -> 2) AS gifts(node, amount)
    ), known AS (
        SELECT jsonb_object_keys(state) AS node UNION SELECT taker FROM gift UNION SELECT first::text
    )
    SELECT known.node,
           coalesce((state -> known.node ->> 1)::numeric, 0)
           - CASE WHEN known.node = first::text THEN least_value ELSE 0 END
           - coalesce((SELECT sum(amount) FROM gift WHERE giver = known.node), 0)
           + coalesce((SELECT sum(amount) FROM gift WHERE taker = known.node), 0)
      FROM known
$$;

-- How much `here` may take away, and all others. What somebody took without a right, before there was
-- the rule, is nobody's to take again.
CREATE OR REPLACE FUNCTION fabric.rights_here(
    state jsonb, first bigint, least_value numeric, here text,
    OUT mine numeric, OUT elsewhere numeric)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(sum(rights) FILTER (WHERE node = here), 0)
           + coalesce(sum(rights) FILTER (WHERE node <> here AND rights < 0), 0),
           coalesce(sum(rights) FILTER (WHERE node <> here AND rights > 0), 0)
      FROM fabric.rights(state, first, least_value)
$$;

-- The node's part, changed and with one more gift.
CREATE OR REPLACE FUNCTION fabric.change_part(
    state jsonb, node text, stamp bigint, change numeric, taker text, gift numeric)
RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT state || jsonb_build_object(node, jsonb_build_array(
        fabric.part_stamp(state, node, stamp),
        coalesce((state -> node ->> 1)::numeric, 0) + change,
        coalesce(state -> node -> 2, '{}') || CASE WHEN gift > 0 THEN jsonb_build_object(
            taker, coalesce((state -> node -> 2 ->> taker)::numeric, 0) + gift) ELSE '{}' END))
$$;

-- What a region held that is no longer of this cell, goes to the one with the lowest number: no other
-- may write its part.
CREATE OR REPLACE FUNCTION fabric.inherit_rights(
    state jsonb, first bigint, least_value numeric, here text, members text[], stamp bigint)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    gone record;
BEGIN
    IF here::integer = (SELECT min(member::integer) FROM unnest(members) AS member) THEN
        FOR gone IN SELECT * FROM fabric.rights(state, first, least_value)
                     WHERE rights > 0 AND node <> ALL (members) LOOP
            state := fabric.change_part(state, gone.node, stamp, 0, here, gone.rights);
        END LOOP;
    END IF;
    RETURN state;
END $$;

-- Whoever holds less than half of an equal share is given what it lacks, out of what is above `here`'s.
CREATE OR REPLACE FUNCTION fabric.share_rights(
    state jsonb, first bigint, least_value numeric, here text, members text[], stamp bigint)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    share numeric := floor((fabric.counter_value(state) - least_value) / cardinality(members));
    spare numeric := (fabric.rights_here(state, first, least_value, here)).mine - share;
    poor record;
BEGIN
    FOR poor IN
        SELECT member, coalesce(rights, 0) AS rights
          FROM unnest(members) AS member
          LEFT JOIN fabric.rights(state, first, least_value) ON node = member
         WHERE member <> here AND coalesce(rights, 0) * 2 < share ORDER BY 2, 1
    LOOP
        EXIT WHEN spare < 1;
        state := fabric.change_part(
            state, here, stamp, 0, poor.member, least(spare, share - poor.rights));
        spare := spare - least(spare, share - poor.rights);
    END LOOP;
    RETURN state;
END $$;

-- The cell's nodes, as this replica knows them.
CREATE OR REPLACE FUNCTION fabric.members() RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT array_agg(node::text ORDER BY node) FROM (
        SELECT origin AS node FROM fabric.watermark UNION SELECT node FROM fabric.member) AS known
$$;

-- TG_ARGV: the bound, the column. Runs after the stamps. Where a lease says who writes, the writer has
-- all rights.
CREATE OR REPLACE FUNCTION fabric.keep_bound() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bound numeric := TG_ARGV[0];
    field text := TG_ARGV[1];
    now numeric := hstore(NEW) -> field;
    was numeric := CASE TG_OP WHEN 'UPDATE' THEN hstore(OLD) -> field ELSE now::text END;
    here text := (SELECT node FROM fabric.member);
    alone boolean := (SELECT valid_until <> 'infinity' FROM fabric.gate);
    members text[] := fabric.members();
    first bigint := NEW._born & 255;
    state jsonb := CASE TG_OP WHEN 'UPDATE' THEN OLD._fields -> field END;
    rights record;
BEGIN
    IF TG_OP = 'UPDATE' AND was = now THEN
        RETURN NEW;
    END IF;
    state := fabric.counter_state(state, NEW._born, was);
    IF NOT alone THEN
        state := fabric.inherit_rights(state, first, bound, here, members, NEW._stamp);
    END IF;
    state := fabric.change_part(state, here, NEW._stamp, now - was, NULL, 0);
    rights := fabric.rights_here(state, first, bound, here);
    IF now < was AND NOT alone AND rights.mine < 0 OR now < bound AND (now < was OR TG_OP = 'INSERT')
    THEN
        RAISE EXCEPTION 'this region may not take that much of "%"', field
            USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
                  COLUMN = field, CONSTRAINT = 'fabric_bounded',
                  DETAIL = format('It takes %s, and holds rights for %s; other regions for %s.',
                                  was - now, rights.mine + was - now, rights.elsewhere),
                  HINT = 'Ask the other regions for rights (tenants.rights.ask), then try again.';
    END IF;
    IF NOT alone THEN
        state := fabric.share_rights(state, first, bound, here, members, NEW._stamp);
        IF now < was AND rights.elsewhere > 0
           AND rights.mine * 2 < floor((now - bound) / cardinality(members)) + 1 THEN
            PERFORM fabric.want_rights(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, hstore(NEW), field,
                greatest(floor((now - bound) / cardinality(members)), 1));
        END IF;
    END IF;
    NEW._fields := jsonb_set(coalesce(NEW._fields, '{}'), ARRAY[field], state);
    RETURN NEW;
END $$;

-- Tell the others that this node would like to hold so much; nothing while it has said so already.
CREATE OR REPLACE FUNCTION fabric.want_rights(name text, state hstore, field text, amount numeric)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO fabric.want (rel, pk, field, node, amount)
    SELECT name, state -> r.key, want_rights.field, m.node, want_rights.amount
      FROM fabric.relation r, fabric.member m
     WHERE r.rel = name
       AND NOT EXISTS (SELECT FROM fabric.want w
                        WHERE (w.rel, w.pk, w.field, w.node)
                              = (name, state -> r.key, want_rights.field, m.node)
                          AND w.amount >= want_rights.amount)
    ON CONFLICT (rel, pk, field, node) DO UPDATE SET amount = EXCLUDED.amount, at = EXCLUDED.at
$$;

-- TG_ARGV: the bound, the column. Before the stamps. Whoever may update the row may ask for rights: he
-- writes {"ask": {column: amount}} to _base, which the stamps put back.
CREATE OR REPLACE FUNCTION fabric.hear_ask() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    amount numeric := NEW._base -> 'ask' ->> TG_ARGV[1];
BEGIN
    IF NEW._base IS DISTINCT FROM OLD._base AND amount > 0 THEN
        PERFORM fabric.want_rights(
            TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, hstore(NEW), TG_ARGV[1], amount);
    END IF;
    RETURN NEW;
END $$;

-- What an application may know: how much it may take here, and what others hold.
CREATE OR REPLACE FUNCTION fabric.rights_held(
    state jsonb, born bigint, value numeric, least_value numeric,
    OUT mine numeric, OUT elsewhere numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN g.valid_until <> 'infinity' THEN value - least_value ELSE r.mine END,
           CASE WHEN g.valid_until <> 'infinity' THEN 0 ELSE r.elsewhere END
      FROM fabric.member m, fabric.gate g, fabric.rights_here(
               fabric.counter_state(state, born, value), born & 255, least_value, m.node::text) r
$$;

-- Answer a want: `taker` gets up to half of what this node may spare, rounded up, so that who asks for
-- the last one gets it. A node that lacks what it wants itself gives only as much as leaves it no poorer
-- than the taker: else the last ones would be passed on and back again for as long as both want them.
-- The agent's, in a session that captures nothing: so it writes the log itself.
-- Null: the row is not here or in use; else what the taker holds then, and whether anything was given.
-- A want of this node's own is given nothing.
CREATE OR REPLACE FUNCTION fabric.give_rights(
    relation regclass, matching text, wanted fabric.want, least_value numeric,
    OUT held numeric, OUT given boolean)
LANGUAGE plpgsql AS $$
DECLARE
    here text := (SELECT node FROM fabric.member);
    members text[] := fabric.members();
    gate fabric.gate;
    state jsonb;
    first bigint;
    mine numeric;
    gift numeric;
BEGIN
    SELECT * INTO gate FROM fabric.gate;
    IF gate.valid_until <> 'infinity' OR NOT fabric.is_open(gate)
       OR wanted.node::text <> ALL (members) THEN
        RETURN;
    END IF;
    EXECUTE format(
        'SELECT fabric.counter_state(_fields -> $2, _born, %I::numeric), _born & 255
           FROM %s WHERE %s FOR UPDATE SKIP LOCKED', wanted.field, relation, matching)
       INTO state, first USING wanted.pk, wanted.field;
    IF state IS NULL THEN
        RETURN;
    END IF;
    state := fabric.inherit_rights(state, first, least_value, here, members, 0);
    held := (fabric.rights_here(state, first, least_value, wanted.node::text)).mine;
    mine := (fabric.rights_here(state, first, least_value, here)).mine;
    gift := least(wanted.amount - held, CASE
        WHEN EXISTS (SELECT FROM fabric.want w
                      WHERE (w.rel, w.pk, w.field, w.node::text)
                            = (wanted.rel, wanted.pk, wanted.field, here) AND w.amount > mine)
        THEN floor((mine - held) / 2) ELSE ceil(mine / 2) END);
    given := gift > 0 AND wanted.node::text <> here;
    IF NOT given THEN
        RETURN;
    END IF;
    state := fabric.change_part(state, here, 0, 0, wanted.node::text, gift);
    held := held + gift;
    EXECUTE format(
        'WITH changed AS (
             UPDATE %s AS _fabric_row
                SET _fields = jsonb_set(coalesce(_fields, ''{}''), ARRAY[$2], $3)
              WHERE %s RETURNING _fabric_row::text AS doc, _stamp AS stamp, hstore(_fabric_row) AS state)
         INSERT INTO fabric.change
                (origin, seq, arrival, xact, stamp, epoch, op, lead, tenant, rel, size, names, rows)
         SELECT $4, number, number, pg_current_xact_id(), stamp, $5, ''U'', true,
                coalesce($6, (state -> ''tenant_id'')::uuid), $7, 1, fabric.columns_of($8)::text, ARRAY[doc]
           FROM changed, nextval(''fabric.change_seq'') AS number', relation, matching)
      USING wanted.pk, wanted.field, state, here::smallint, gate.epoch, fabric.tenant_of(relation),
            wanted.rel, relation;
END $$;

-- Whose all rows of a table are, by its capture; null where each row may say its own.
CREATE OR REPLACE FUNCTION fabric.tenant_of(relation regclass) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(convert_from(substring(tgargs FOR position('\x00'::bytea IN tgargs) - 1), 'UTF8'), '')::uuid
      FROM pg_trigger WHERE tgrelid = relation AND tgname = 'fabric_update'
$$;
