-- Merge rules: the state of a field that is not the last writer's stands in `_fields` under its
-- name, by node. Only a node itself changes its part, so a part is ordered by its stamps.
-- counter: [newest stamp, sum of this node's changes]. Flags: [stamp of the newest dominant write,
-- stamp of the newest one that somebody has knowingly undone].
-- A field without a state has its row's first value; where a stamp stands in its place the rule was
-- declared after that write.

-- The stamp of a node's next part: the write's, or what the node makes of that and of the part's own.
CREATE OR REPLACE FUNCTION fabric.part_stamp(state jsonb, node text, stamp bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN stamp & 255 = node::bigint AND stamp > last THEN stamp
                ELSE ((greatest(stamp, last) >> 8) + 1) << 8 | node::bigint END
      FROM coalesce((state -> node ->> 0)::bigint, 0) AS last
$$;

CREATE OR REPLACE FUNCTION fabric.counter_state(state jsonb, born bigint, value numeric)
RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(state) WHEN 'object' THEN state ELSE jsonb_build_object(
        born & 255, jsonb_build_array(coalesce(state::bigint, born), value)) END
$$;

CREATE OR REPLACE FUNCTION fabric.join_counter(
    mine jsonb, mine_value numeric, theirs jsonb, theirs_value numeric, born bigint)
RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN 'object' IN (jsonb_typeof(mine), jsonb_typeof(theirs)) THEN (
        SELECT jsonb_object_agg(node, CASE
                   WHEN m IS NULL OR (t ->> 0)::bigint > (m ->> 0)::bigint THEN t ELSE m END)
          FROM jsonb_each(fabric.counter_state(mine, born, mine_value)) AS a(node, m)
          FULL JOIN jsonb_each(fabric.counter_state(theirs, born, theirs_value)) AS b(node, t)
               USING (node))
           ELSE greatest(mine, theirs) END
$$;

CREATE OR REPLACE FUNCTION fabric.counter_value(state jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(state) WHEN 'object' THEN (
        SELECT sum((part ->> 1)::numeric) FROM jsonb_each(state) AS parts(node, part)) END
$$;

CREATE OR REPLACE FUNCTION fabric.flag_state(state jsonb, born bigint, dominant boolean)
RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN jsonb_typeof(state) = 'object' THEN state
                WHEN dominant OR state IS NOT NULL THEN
        jsonb_build_object(born & 255, jsonb_build_array(coalesce(state::bigint, born),
                           CASE WHEN dominant THEN 0 ELSE state::bigint END))
                ELSE '{}' END
$$;

CREATE OR REPLACE FUNCTION fabric.join_flag(
    mine jsonb, mine_dominant boolean, theirs jsonb, theirs_dominant boolean, born bigint)
RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN 'object' IN (jsonb_typeof(mine), jsonb_typeof(theirs)) THEN (
        SELECT coalesce(jsonb_object_agg(node, jsonb_build_array(
                   greatest((m ->> 0)::bigint, (t ->> 0)::bigint),
                   greatest((m ->> 1)::bigint, (t ->> 1)::bigint))), '{}')
          FROM jsonb_each(fabric.flag_state(mine, born, mine_dominant)) AS a(node, m)
          FULL JOIN jsonb_each(fabric.flag_state(theirs, born, theirs_dominant)) AS b(node, t)
               USING (node))
           ELSE greatest(mine, theirs) END
$$;

CREATE OR REPLACE FUNCTION fabric.flag_value(state jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(state) WHEN 'object' THEN EXISTS (
        SELECT FROM jsonb_each(state) AS parts(node, part)
         WHERE (part ->> 0)::bigint > (part ->> 1)::bigint) END
$$;

-- TG_ARGV: the rule, the column. Runs after the stamps. No trigger here has a condition: it would
-- keep a migration from changing the column.
CREATE OR REPLACE FUNCTION fabric.keep_state() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    node text := NEW._stamp & 255;
    was text := hstore(OLD) -> TG_ARGV[1];
    now text := hstore(NEW) -> TG_ARGV[1];
    state jsonb := OLD._fields -> TG_ARGV[1];
BEGIN
    IF was = now THEN
        RETURN NEW;
    END IF;
    IF TG_ARGV[0] = 'counter' THEN
        state := fabric.counter_state(state, OLD._born, was::numeric);
        state := state || jsonb_build_object(node, jsonb_build_array(NEW._stamp,
            coalesce((state -> node ->> 1)::numeric, 0) + now::numeric - was::numeric));
    ELSE
        state := fabric.flag_state(
            state, OLD._born, was::boolean = (TG_ARGV[0] = 'enable_wins'));
        IF now::boolean = (TG_ARGV[0] = 'enable_wins') THEN
            state := state || jsonb_build_object(node, jsonb_build_array(
                NEW._stamp, coalesce((state -> node ->> 1)::bigint, 0)));
        ELSE
            SELECT coalesce(jsonb_object_agg(key, jsonb_build_array(part -> 0, part -> 0)), '{}')
              INTO state FROM jsonb_each(state) AS parts(key, part);
        END IF;
    END IF;
    NEW._fields := jsonb_set(NEW._fields, ARRAY[TG_ARGV[1]], state);
    RETURN NEW;
END $$;

-- TG_ARGV: the rule, the column. Before the stamps: what the rule does not let happen is no change.
CREATE OR REPLACE FUNCTION fabric.keep_field() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET DateStyle = 'ISO, YMD'
SET IntervalStyle = 'postgres' SET extra_float_digits = 1 AS $$
DECLARE
    was text := hstore(OLD) -> TG_ARGV[1];
    now text := hstore(NEW) -> TG_ARGV[1];
    undone boolean := was IS NOT NULL AND now IS NULL;
BEGIN
    IF was <> now THEN
        EXECUTE format('SELECT ($1).%1$I %2$s ($2).%1$I', TG_ARGV[1],
                       CASE TG_ARGV[0] WHEN 'max' THEN '<' ELSE '>' END)
           INTO undone USING NEW, OLD;
    END IF;
    IF undone THEN
        RETURN NEW #= hstore(TG_ARGV[1], was);
    END IF;
    RETURN NEW;
END $$;

-- TG_ARGV: the rule, the columns that name an element. The same element, the same key.
CREATE OR REPLACE FUNCTION fabric.name_element() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.id := ('x' || left(md5((hstore(NEW) -> TG_ARGV[1:])::text), 16))::bit(64)::bigint
              & 9223372036854775807;
    RETURN NEW;
END $$;
