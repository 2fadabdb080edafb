-- Values as sets of which additions win (an optimised OR-set; Bieniusa et al. 2012), and values that are
-- kept beside each other (a multi-value register, which is such a set of values). The state stands in
-- `_fields`, by node: [newest stamp of the node's additions, {element: stamp of its addition}]. Who has
-- seen a node's stamp and lacks an element that the node added before has seen it removed.

CREATE OR REPLACE FUNCTION fabric.set_state(state jsonb, born bigint, elements text[])
RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(state) WHEN 'object' THEN state ELSE jsonb_build_object(
        born & 255, jsonb_build_array(coalesce(state::bigint, born), (
            SELECT coalesce(jsonb_object_agg(element, coalesce(state::bigint, born)), '{}')
              FROM unnest(elements) AS element))) END
$$;

-- Of one node's additions: those that both have, and those that the other has not seen yet.
CREATE OR REPLACE FUNCTION fabric.join_additions(mine jsonb, theirs jsonb)
RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_build_array(
        greatest((mine ->> 0)::bigint, (theirs ->> 0)::bigint), (
        SELECT coalesce(jsonb_object_agg(element, added), '{}') FROM (
            SELECT element, added FROM jsonb_each(mine -> 1) AS m(element, added)
             WHERE added::bigint > coalesce((theirs ->> 0)::bigint, 0)
                OR theirs -> 1 -> element = added
             UNION
            SELECT element, added FROM jsonb_each(theirs -> 1) AS t(element, added)
             WHERE added::bigint > coalesce((mine ->> 0)::bigint, 0)) AS kept))
$$;

CREATE OR REPLACE FUNCTION fabric.join_set(
    mine jsonb, my_elements text[], theirs jsonb, their_elements text[], born bigint)
RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN 'object' IN (jsonb_typeof(mine), jsonb_typeof(theirs)) THEN (
        SELECT jsonb_object_agg(node, fabric.join_additions(m, t))
          FROM jsonb_each(fabric.set_state(mine, born, my_elements)) AS a(node, m)
          FULL JOIN jsonb_each(fabric.set_state(theirs, born, their_elements)) AS b(node, t)
               USING (node))
           ELSE greatest(mine, theirs) END
$$;

-- In the order in which they were added; those of one write by their texts.
CREATE OR REPLACE FUNCTION fabric.set_value(state jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(state) WHEN 'object' THEN (
        SELECT coalesce(array_agg(element ORDER BY added, element COLLATE "C"), '{}')
          FROM (SELECT element, min(stamp::bigint) AS added
                  FROM jsonb_each(state) AS parts(node, part)
                 CROSS JOIN LATERAL jsonb_each_text(part -> 1) AS e(element, stamp)
                 GROUP BY element) AS elements) END
$$;

-- The node's write: what it added has its stamp, what it removed is nobody's addition any more.
CREATE OR REPLACE FUNCTION fabric.change_set(
    state jsonb, node text, stamp bigint, added text[], removed text[])
RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_object_agg(key, CASE key WHEN node THEN jsonb_build_array(
               greatest(stamp, (part ->> 0)::bigint),
               ((part -> 1) - removed) || (SELECT coalesce(jsonb_object_agg(e, stamp), '{}')
                                             FROM unnest(added) AS e))
           ELSE jsonb_build_array(part -> 0, (part -> 1) - removed) END)
      FROM jsonb_each(jsonb_build_object(node, '[0, {}]'::jsonb) || state) AS parts(key, part)
$$;

-- TG_ARGV: the rule, the column. Runs after the stamps.
CREATE OR REPLACE FUNCTION fabric.keep_set() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1
SET TimeZone = 'UTC' SET bytea_output = 'hex' AS $$
DECLARE
    field text := TG_ARGV[1];
    was text[];
    now text[] := hstore(NEW) -> field;
    state jsonb;
    node text := (SELECT m.node FROM fabric.member m);
BEGIN
    IF (CASE WHEN array_ndims(now) > 1 THEN true ELSE array_position(now, NULL) IS NOT NULL END)
    THEN
        RAISE EXCEPTION 'a set has neither null nor arrays among its elements: "%"', field
            USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
                  COLUMN = field, CONSTRAINT = 'fabric_set';
    END IF;
    IF TG_OP = 'INSERT' THEN
        RETURN NEW;
    END IF;
    was := hstore(OLD) -> field;
    IF was = now THEN
        RETURN NEW;
    END IF;
    state := fabric.set_state(OLD._fields -> field, OLD._born, was);
    state := fabric.change_set(
        state, node,
        fabric.part_stamp(state, node, NEW._stamp),
        ARRAY(SELECT unnest(now) EXCEPT SELECT unnest(was)),
        ARRAY(SELECT unnest(was) EXCEPT SELECT unnest(now)));
    NEW._fields := jsonb_set(coalesce(NEW._fields, '{}'), ARRAY[field], state);
    RETURN NEW #= hstore(field, fabric.set_value(state)::text);
END $$;

-- Values that are kept beside each other: a set of values, of which a write leaves its own alone. As an
-- element a value is its text after an equals sign; null is nothing.
CREATE OR REPLACE FUNCTION fabric.kept_element(value text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT ARRAY[coalesce('=' || value, '')] $$;

-- The newest first, which is the one that the field has.
CREATE OR REPLACE FUNCTION fabric.kept_values(state jsonb)
RETURNS TABLE (value text, stamp bigint) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN element <> '' THEN substr(element, 2) END, max(added::bigint)
      FROM jsonb_each(CASE jsonb_typeof(state) WHEN 'object' THEN state END) AS parts(node, part)
     CROSS JOIN LATERAL jsonb_each_text(part -> 1) AS e(element, added)
     GROUP BY element ORDER BY 2 DESC
$$;

CREATE OR REPLACE FUNCTION fabric.kept_value(state jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ 
    SELECT value FROM fabric.kept_values(state) ORDER BY stamp DESC LIMIT 1
$$;

-- TG_ARGV: the rule, the column. Before the stamps. Who settles on the value that the field has anyway
-- writes {"settle": column} to _base, which the stamps put back.
CREATE OR REPLACE FUNCTION fabric.hear_settled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW._base IS DISTINCT FROM OLD._base AND NEW._base ->> 'settle' = TG_ARGV[1] THEN
        PERFORM set_config('fabric.settled', TG_ARGV[1], true);
    END IF;
    RETURN NEW;
END $$;

-- TG_ARGV: the rule, the column. Runs after the stamps. A write replaces all that is kept here.
CREATE OR REPLACE FUNCTION fabric.keep_values() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1
SET TimeZone = 'UTC' SET bytea_output = 'hex' AS $$
DECLARE
    field text := TG_ARGV[1];
    was text := hstore(OLD) -> field;
    now text := hstore(NEW) -> field;
    settled boolean := coalesce(current_setting('fabric.settled', true) = field, false);
    state jsonb;
    node text;
BEGIN
    IF settled THEN
        PERFORM set_config('fabric.settled', '', true);
    ELSIF was IS NOT DISTINCT FROM now THEN
        RETURN NEW;
    END IF;
    SELECT m.node INTO node FROM fabric.member m;
    state := fabric.set_state(OLD._fields -> field, OLD._born, fabric.kept_element(was));
    state := fabric.change_set(
        state, node, fabric.part_stamp(state, node, NEW._stamp), fabric.kept_element(now),
        (SELECT array_agg(element) FROM jsonb_each(state) AS parts(key, part)
          CROSS JOIN LATERAL jsonb_object_keys(part -> 1) AS element));
    NEW._fields := jsonb_set(coalesce(NEW._fields, '{}'), ARRAY[field], state);
    RETURN NEW;
END $$;
