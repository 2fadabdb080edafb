-- A tenant's own part of `fabric.task`, in each cell database: the application has these functions, and
-- no access to the table. Run as the database's owner; safe to repeat.

-- A new task; or, from within the task itself (`mine`: its claim), the same one to be tried again.
-- Whatever else has an id that is there already is the same task.
CREATE OR REPLACE FUNCTION tenancy.keep_task(
    task text, task_name text, of_queue text, told text, due timestamptz, patience interval, mine integer)
RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    WITH kept AS (
        INSERT INTO fabric.task AS t (tenant_id, id, name, queue, message, region, epoch, ring_at)
        SELECT tenancy.current_tenant(), task, task_name, of_queue, told, m.region, g.epoch,
               greatest(due, clock_timestamp()) + patience
          FROM fabric.member m, fabric.gate g WHERE tenancy.current_tenant() IS NOT NULL
        ON CONFLICT (tenant_id, id) DO UPDATE
           SET name = EXCLUDED.name, queue = EXCLUDED.queue, message = EXCLUDED.message,
               ring_at = EXCLUDED.ring_at, claimed_at = NULL, worker = NULL, lost = 0
         WHERE t.claims = mine AND t.claimed_at IS NOT NULL
        RETURNING 1
    ) SELECT EXISTS (SELECT FROM kept)
$body$;

-- What a worker has to know before it begins; no row: there is no such task to be done.
CREATE OR REPLACE FUNCTION tenancy.look_at_task(
    task text, OUT claims integer, OUT lost integer, OUT claimed_for double precision,
    OUT letter text, OUT region text, OUT epoch bigint, OUT here text, OUT here_epoch bigint, OUT leased boolean)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT t.claims, t.lost, extract(epoch FROM clock_timestamp() - t.claimed_at)::double precision,
           t.letter, t.region, t.epoch, m.region, g.epoch, g.valid_until <> 'infinity'
      FROM fabric.task t, fabric.member m, fabric.gate g
     WHERE t.tenant_id = tenancy.current_tenant() AND t.id = task
$body$;

-- It is this worker's, if nobody has begun it since it was looked at. The new token, or null.
CREATE OR REPLACE FUNCTION tenancy.claim_task(
    task text, seen integer, by text, of_letter text, patience interval)
RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    UPDATE fabric.task t
       SET claims = t.claims + 1, claimed_at = clock_timestamp(), worker = by,
           letter = of_letter,
           lost = t.lost + (t.claimed_at IS NOT NULL)::integer, region = m.region, epoch = g.epoch,
           ring_at = clock_timestamp() + patience
      FROM fabric.member m, fabric.gate g
     WHERE t.tenant_id = tenancy.current_tenant() AND t.id = task AND t.claims = seen
    RETURNING t.claims
$body$;

-- It has ended, and is remembered as such. False: it is somebody else's by now.
CREATE OR REPLACE FUNCTION tenancy.end_task(task text, mine integer) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    WITH ended AS (
        DELETE FROM fabric.task t USING fabric.member m, fabric.gate g
         WHERE t.tenant_id = tenancy.current_tenant() AND t.id = task AND t.claims = mine
           AND t.claimed_at IS NOT NULL AND t.region = m.region AND t.epoch = g.epoch
        RETURNING 1
    ) SELECT EXISTS (SELECT FROM ended)
$body$;

-- The worker gives it back: whoever is told of it next may begin.
CREATE OR REPLACE FUNCTION tenancy.give_task_back(task text, mine integer) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    WITH given AS (
        UPDATE fabric.task t SET claimed_at = NULL, worker = NULL
         WHERE t.tenant_id = tenancy.current_tenant() AND t.id = task AND t.claims = mine
           AND t.claimed_at IS NOT NULL
        RETURNING 1
    ) SELECT EXISTS (SELECT FROM given)
$body$;

-- Nobody is to be told of it any more until an operator says so.
CREATE OR REPLACE FUNCTION tenancy.park_task(task text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    UPDATE fabric.task t SET ring_at = 'infinity', claimed_at = NULL, worker = NULL
     WHERE t.tenant_id = tenancy.current_tenant() AND t.id = task AND t.ring_at <> 'infinity'
$body$;

-- It is not to be done: it was revoked, or has expired.
CREATE OR REPLACE FUNCTION tenancy.drop_task(task text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    DELETE FROM fabric.task t WHERE t.tenant_id = tenancy.current_tenant() AND t.id = task
$body$;

DO $body$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'tenancy'::regnamespace
                AND p.proname IN ('keep_task', 'look_at_task', 'claim_task', 'end_task',
                                  'give_task_back', 'park_task', 'drop_task') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO meridian_app', one);
    END LOOP;
END $body$;
