-- Merge: the state of a row is a join-semilattice. Each field is a last-writer-wins register
-- ordered by its stamp; `_born` is the stamp of every field that `_fields` does not name.
-- Commutative, associative, idempotent; reads nothing but its arguments.

CREATE OR REPLACE FUNCTION fabric.pick(doc jsonb, keys text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_agg(doc -> key ORDER BY position) FROM unnest(keys) WITH ORDINALITY u(key, position)
$$;

-- -1 where the writer's table had no such column yet.
CREATE OR REPLACE FUNCTION fabric.field_stamp(doc jsonb, field text) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN doc ? field
                THEN coalesce((doc -> '_fields' ->> field)::bigint, (doc ->> '_born')::bigint)
                ELSE -1 END
$$;

CREATE OR REPLACE FUNCTION fabric.merge(mine jsonb, theirs jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    born bigint;
    older jsonb;
    newer jsonb;
    merged jsonb;
    stamps jsonb;
BEGIN
    IF mine IS NULL OR theirs IS NULL THEN
        RETURN coalesce(mine, theirs);
    END IF;
    IF (mine ->> '_stamp')::bigint > (theirs ->> '_stamp')::bigint THEN
        newer := mine; older := theirs;
    ELSE
        newer := theirs; older := mine;
    END IF;
    born := greatest((mine ->> '_born')::bigint, (theirs ->> '_born')::bigint);
    WITH field AS (
        SELECT key, fabric.field_stamp(older, key) AS old, fabric.field_stamp(newer, key) AS new
          FROM jsonb_object_keys(older || newer) AS key
         WHERE key NOT IN ('_born', '_stamp', '_fields', '_base')
    )
    SELECT jsonb_object_agg(key, CASE WHEN old > new THEN older -> key ELSE newer -> key END),
           jsonb_object_agg(key, greatest(old, new)) FILTER (WHERE greatest(old, new) <> born)
      INTO merged, stamps FROM field;
    RETURN merged || jsonb_build_object(
        '_born', born, '_stamp', newer -> '_stamp',
        '_fields', stamps, '_base', newer -> '_base');
END $$;

-- Earliest wins: the stamps that a run of changes to one row was based on.
CREATE OR REPLACE AGGREGATE fabric.first_base(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}');

-- The values that applying `theirs` onto `mine` discards although nobody knowingly replaced them.
-- `based`: the stamps that their writer saw in the fields it changed.
CREATE OR REPLACE FUNCTION fabric.discarded(mine jsonb, theirs jsonb, based jsonb)
RETURNS TABLE (field text, loser_stamp bigint, loser jsonb, winner_stamp bigint, winner jsonb)
LANGUAGE sql IMMUTABLE AS $$
    WITH pair AS (
        SELECT key, fabric.field_stamp(mine, key) AS m, fabric.field_stamp(theirs, key) AS t,
               coalesce((based ->> key)::bigint, 0) AS seen,
               coalesce((mine -> '_base' ->> key)::bigint, 0) AS known
          FROM jsonb_object_keys(theirs - ARRAY['_born', '_stamp', '_fields', '_base']) AS key
         WHERE (based = '{}' OR based ? key) AND mine -> key IS DISTINCT FROM theirs -> key
    )
    SELECT key, least(m, t), CASE WHEN t > m THEN mine -> key ELSE theirs -> key END,
           greatest(m, t), CASE WHEN t > m THEN theirs -> key ELSE mine -> key END
      FROM pair
     WHERE m >= 0 AND (t > m AND seen <> m OR t < m AND known <> t)
$$;
