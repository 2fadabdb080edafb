-- Merge: the state of a row is a join-semilattice. Each field is a last-writer-wins register
-- ordered by its stamp; `_born` is the stamp of every field that `_fields` does not name.
-- The rows themselves are merged by typed statements (statements.py); these are their parts, which
-- read nothing but their arguments.

-- A field had a rule once: the stamp of the newest write in the state that it left.
CREATE OR REPLACE FUNCTION fabric.newest_of(state jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT max((part ->> 0)::bigint) FROM jsonb_each(state) AS parts(node, part)
$$;

-- The stamp of a field by what `_fields` has of it; null where it has nothing.
CREATE OR REPLACE FUNCTION fabric.stamp_of(noted jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(noted)
           WHEN 'object' THEN fabric.newest_of(noted) ELSE noted::bigint END
$$;

-- The stamps of two versions' fields, joined. `columns`: the fields that both have. Those with a
-- rule of their own are not among them, nor in the arguments.
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
          FROM (SELECT key, CASE WHEN coalesce(fabric.stamp_of(theirs -> key), theirs_born)
                                    > coalesce(fabric.stamp_of(mine -> key), mine_born)
                                 THEN coalesce(theirs -> key, to_jsonb(theirs_born))
                                 ELSE coalesce(mine -> key, to_jsonb(mine_born)) END AS newest
                  FROM unnest(columns) AS key
                UNION ALL
                -- What only our table has keeps its stamp, or its state while it is the same row.
                SELECT key, value FROM jsonb_each(mine)
                 WHERE key <> ALL (columns)
                   AND (jsonb_typeof(value) = 'number' OR mine_born >= theirs_born)
               ) AS field
         WHERE newest <> to_jsonb(greatest(mine_born, theirs_born)));
END $$;

-- Stamps after this are of a wrong clock, here or there: they wait, and push no clock.
CREATE OR REPLACE FUNCTION fabric.horizon() RETURNS bigint LANGUAGE sql AS $$
    SELECT ((extract(epoch FROM clock_timestamp() + interval '5 minutes') * 1000000)::bigint
            - 1577836800000000) << 8
$$;

-- The stamps that a run of changes to one row was based on: the last of them counts, so that the
-- latest change comes first. All of it the server's own: a function of ours is called for each row.
CREATE OR REPLACE AGGREGATE fabric.earliest_base(jsonb) (
    SFUNC = pg_catalog.jsonb_concat, STYPE = jsonb, INITCOND = '{}');

-- The same with the earliest change first, for agents of the version before until they are restarted.
CREATE OR REPLACE FUNCTION fabric.concat_under(upper jsonb, lower jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT lower || upper $$;
CREATE OR REPLACE AGGREGATE fabric.first_base(jsonb) (SFUNC = fabric.concat_under, STYPE = jsonb, INITCOND = '{}');

CREATE OR REPLACE FUNCTION fabric.field_stamp(doc hstore, field text) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(fabric.stamp_of((doc -> '_fields')::jsonb -> field), (doc -> '_born')::bigint)
$$;

-- The values that applying `theirs` onto `mine` discards although nobody knowingly replaced them.
-- `based`: the stamps that their writer saw in the fields it changed; null: it wrote all of them.
-- `ruled`: the platform's columns, and those that a declared rule merges.
-- A row also brings what others than its writer wrote there. Whom such a value replaces, its own
-- region's word will tell; except for what was written `here` (our node), which may be out of sight
-- by then.
DROP FUNCTION IF EXISTS fabric.discarded(hstore, hstore, jsonb);
DROP FUNCTION IF EXISTS fabric.discarded(hstore, hstore, jsonb, text[]);
CREATE OR REPLACE FUNCTION fabric.discarded(
    mine hstore, theirs hstore, based jsonb, ruled text[], here smallint)
RETURNS TABLE (field text, loser_stamp bigint, loser text, winner_stamp bigint, winner text)
LANGUAGE sql IMMUTABLE AS $$
    WITH pair AS (
        SELECT key, fabric.field_stamp(mine, key) AS m, fabric.field_stamp(theirs, key) AS t,
               coalesce(fabric.stamp_of(based -> key), 0) AS seen,
               coalesce(fabric.stamp_of((mine -> '_base')::jsonb -> key), 0) AS known
          FROM skeys(theirs - mine - ruled) AS key
         WHERE mine ? key AND (based IS NULL OR based ? key
               OR fabric.field_stamp(mine, key) & 255 = here
                  AND fabric.field_stamp(theirs, key) > fabric.field_stamp(mine, key))
    )
    SELECT key, least(m, t), CASE WHEN t > m THEN mine -> key ELSE theirs -> key END,
           greatest(m, t), CASE WHEN t > m THEN theirs -> key ELSE mine -> key END
      FROM pair
     WHERE t > m AND seen <> m OR t < m AND known <> t
$$;
