"""Erasure of persons: its ledger, which facts name a person, and functions that let their facts and presences leave.

Releases without erasure run beside this revision during an upgrade, and read nothing of it. The catalogue has a row for
each fact table, so its lock is held for milliseconds. No fact is touched.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

FUNCTIONS = r"""
-- The facts of a person, as a condition for the facts f; NULL: the facts of this table name nobody.
CREATE FUNCTION maintenance.of_person(known maintenance.fact_table, project_id int, person_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN known.person_column IS NOT NULL THEN format(
        CASE WHEN known.person_table IS NULL THEN 'f.project_id = %3$L AND f.%1$I = %4$L'
             ELSE 'f.project_id = %3$L AND f.%1$I = ANY (ARRAY('
                  'SELECT o.%1$I FROM public.%2$I AS o WHERE o.project_id = %3$L AND o.person_id = %4$L))'
        END, known.person_column, known.person_table, project_id, person_id) END;

-- Deletes at most rows_max facts of a person, and adds their sums to <fact>_retired. Returns how many they were, or
-- NULL when there is none. Facts that another transaction deletes meanwhile are not counted, so 0 is not the end.
CREATE FUNCTION maintenance.retire_person_rows(fact text, project_id int, person_id uuid, rows_max int) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET datestyle = 'ISO'
AS $$
DECLARE
    known     CONSTANT maintenance.fact_table := maintenance.known_fact_table(fact);
    condition CONSTANT text := maintenance.of_person(known, project_id, person_id);
    is_there  boolean := false;
BEGIN
    IF known.person_column IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I AS f WHERE %s)', known.fact, condition) INTO is_there;
    END IF;
    IF NOT is_there THEN
        RETURN NULL;
    END IF;
    RETURN maintenance.add_to_retired(known, format(
        'DELETE FROM public.%1$I AS f USING ('
        '    SELECT f.received_at, f.event_id FROM public.%1$I AS f WHERE %2$s LIMIT %3$L) AS chosen '
        ' WHERE %2$s AND f.received_at = chosen.received_at AND f.event_id = chosen.event_id RETURNING f.*',
        known.fact, condition, rows_max));
END
$$;

-- Deletes at most rows_max presences of a person, the last days of each segment first, and adds their pairs of days to
-- <fact>_distinct_retired. Returns how many they were; 0: there is none.
CREATE FUNCTION maintenance.retire_person_presences(fact text, project_id int, person_id uuid, rows_max int)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET datestyle = 'ISO'
AS $$
DECLARE
    known  CONSTANT maintenance.fact_table := maintenance.known_fact_table(fact);
    digest CONSTANT bytea := (SELECT substr(sha256(p.presence_key || convert_to(person_id::text, 'UTF8')), 1, 16)
                                FROM public.project AS p WHERE p.project_id = retire_person_presences.project_id);
    retired bigint;
BEGIN
    IF known.presence_column IS NULL OR known.presence_column IS DISTINCT FROM known.person_column THEN
        RETURN 0;
    END IF;
    -- The lock of a writer that stores a presence of this person (events/presences.py), until the commit.
    PERFORM pg_advisory_xact_lock(format('public.%I', known.fact || '_presence')::regclass::oid::int,
                                  hashint8(project_id::bigint * 16 + (get_byte(digest, 0) & 15)));
    -- Segment by segment, because the key of the table begins with it.
    EXECUTE format(
        'WITH RECURSIVE segments(segment) AS ('
        '    (SELECT segment FROM public.%1$I WHERE project_id = %3$L ORDER BY segment LIMIT 1)'
        '    UNION ALL '
        '    SELECT (SELECT p.segment FROM public.%1$I AS p WHERE p.project_id = %3$L AND p.segment > s.segment '
        '             ORDER BY p.segment LIMIT 1) FROM segments AS s WHERE s.segment IS NOT NULL), '
        'chosen AS (SELECT p.segment, p.day FROM segments AS s, LATERAL ('
        '             SELECT p.segment, p.day FROM public.%1$I AS p '
        '              WHERE p.project_id = %3$L AND p.segment = s.segment AND p.digest = %4$L '
        '              ORDER BY p.day DESC) AS p LIMIT %5$L), '
        'leaving AS (DELETE FROM public.%1$I AS p USING chosen '
        '             WHERE p.project_id = %3$L AND p.digest = %4$L '
        '               AND p.segment = chosen.segment AND p.day = chosen.day '
        '         RETURNING p.segment, p.day, p.previous_day), '
        'added AS (INSERT INTO public.%2$I AS r (project_id, segment, day, previous_day, present_count) '
        '          SELECT %3$L, segment, day, previous_day, count(*) FROM leaving GROUP BY 2, 3, 4 ORDER BY 2, 3, 4 '
        '              ON CONFLICT (project_id, segment, day, previous_day) '
        '              DO UPDATE SET present_count = r.present_count + excluded.present_count) '
        'SELECT count(*) FROM leaving',
        known.fact || '_presence', known.fact || '_distinct_retired', project_id, digest, rows_max) INTO retired;
    RETURN retired;
END
$$;

-- Deletes the devices of a person. What was measured last of them goes with them; a fact that is on its way is removed
-- by `maintain`, as that of any deleted device is. Returns how many they were.
CREATE FUNCTION maintenance.delete_person_devices(project_id int, person_id uuid) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH gone AS (
        DELETE FROM public.device AS d
         WHERE d.project_id = delete_person_devices.project_id AND d.person_id = delete_person_devices.person_id
     RETURNING d.project_id, d.device_number),
    latest AS (
        DELETE FROM public.device_latest AS l USING gone
         WHERE l.project_id = gone.project_id AND l.device_number = gone.device_number),
    noted AS (
        INSERT INTO public.device_deletion (project_id, device_number)
        SELECT gone.project_id, gone.device_number FROM gone
            ON CONFLICT DO NOTHING)
    SELECT count(*) FROM gone;
END;

-- Deletes at most rows_max facts of a project that happened in [starts, ends) and belong to a group: `groups` has the
-- values of some of the group columns, as JSON. Adds their sums to <fact>_retired. Returns how many they were, or NULL
-- when there is none.
CREATE FUNCTION maintenance.retire_group_rows(
    fact text, project_id int, groups jsonb, starts timestamptz, ends timestamptz, rows_max int) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET datestyle = 'ISO'
AS $$
DECLARE
    known     CONSTANT maintenance.fact_table := maintenance.known_fact_table(fact);
    condition text := format('f.project_id = %L AND f.occurred_at >= %L AND f.occurred_at < %L',
                             project_id, starts, ends);
    chosen    record;
    is_there  boolean;
BEGIN
    FOR chosen IN SELECT key, value FROM jsonb_each_text(groups) LOOP
        IF chosen.key <> ALL (known.group_columns) THEN
            RAISE EXCEPTION '% is not counted by %', known.fact, chosen.key USING ERRCODE = 'invalid_parameter_value';
        END IF;
        condition := condition || format(' AND f.%I = %L', chosen.key, chosen.value);
    END LOOP;
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%I AS f WHERE %s)', known.fact, condition) INTO is_there;
    IF NOT is_there THEN
        RETURN NULL;
    END IF;
    RETURN maintenance.add_to_retired(known, format(
        'DELETE FROM public.%1$I AS f USING ('
        '    SELECT f.received_at, f.event_id FROM public.%1$I AS f WHERE %2$s LIMIT %3$L) AS chosen '
        ' WHERE %2$s AND f.received_at = chosen.received_at AND f.event_id = chosen.event_id RETURNING f.*',
        known.fact, condition, rows_max));
END
$$;
"""


def upgrade() -> None:
    """Nobody has asked for an erasure yet."""
    op.execute(r"""
-- Whose erasure was asked for, and how far it is. It outlives the person: opaque ids alone.
CREATE TABLE erasure (
    project_id   int         NOT NULL,
    receipt      uuid        NOT NULL,
    person_id    uuid        NOT NULL,
    requested_at timestamptz NOT NULL,
    step         smallint    NOT NULL DEFAULT 0 CHECK (step BETWEEN 0 AND 3),
    users        int         NOT NULL DEFAULT 0,
    events       bigint      NOT NULL DEFAULT 0,
    finished_at  timestamptz,
    PRIMARY KEY (project_id, receipt),
    UNIQUE (project_id, person_id)
);
COMMENT ON COLUMN erasure.step IS
    'What is done: 1 the facts have left, 2 the presences, 3 the person and the key. A step may be done again.';
-- Serves maintain, which goes on with these, and looks again at those that were finished a short time ago.
CREATE INDEX erasure_finished_at ON erasure (finished_at);

-- What left store_event_distinct's presences with erased persons.
CREATE TABLE store_event_distinct_retired (
    project_id    int    NOT NULL,
    segment       int    NOT NULL,
    day           date   NOT NULL,
    previous_day  date   NOT NULL,
    present_count bigint NOT NULL,
    PRIMARY KEY (project_id, segment, day, previous_day)
);

CREATE VIEW stats.erasure AS
    SELECT project_id, receipt, requested_at, users, events, finished_at FROM erasure;

ALTER TABLE maintenance.fact_table
    ADD COLUMN person_column text,
    ADD COLUMN person_table  text,
    ADD CONSTRAINT fact_table_person_table CHECK (person_table IS NULL OR person_column IS NOT NULL);
UPDATE maintenance.fact_table SET person_column = 'person_id' WHERE fact = 'store_event';
UPDATE maintenance.fact_table SET person_column = 'device_number', person_table = 'device' WHERE fact = 'measurement';
    """)
    op.execute(FUNCTIONS)
    op.execute(r"""
REVOKE EXECUTE ON FUNCTION
    maintenance.of_person(maintenance.fact_table, int, uuid),
    maintenance.retire_person_rows(text, int, uuid, int),
    maintenance.retire_person_presences(text, int, uuid, int),
    maintenance.delete_person_devices(int, uuid),
    maintenance.retire_group_rows(text, int, jsonb, timestamptz, timestamptz, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    maintenance.retire_person_rows(text, int, uuid, int),
    maintenance.retire_person_presences(text, int, uuid, int),
    maintenance.delete_person_devices(int, uuid),
    maintenance.retire_group_rows(text, int, jsonb, timestamptz, timestamptz, int) TO registration_writer;
GRANT SELECT ON store_event_distinct_retired TO registration_writer;
GRANT SELECT, INSERT, UPDATE (step, users, events, finished_at) ON erasure TO registration_writer;
GRANT SELECT ON stats.erasure TO stats_reader, registration_writer;
    """)


def downgrade() -> None:
    """The receipts are lost, and an erasure that is not finished is forgotten: finish them before."""
    op.execute("""
DROP VIEW stats.erasure;
DROP TABLE erasure, store_event_distinct_retired;
DROP FUNCTION
    maintenance.retire_group_rows(text, int, jsonb, timestamptz, timestamptz, int),
    maintenance.delete_person_devices(int, uuid),
    maintenance.retire_person_presences(text, int, uuid, int),
    maintenance.retire_person_rows(text, int, uuid, int),
    maintenance.of_person(maintenance.fact_table, int, uuid);
ALTER TABLE maintenance.fact_table DROP COLUMN person_column, DROP COLUMN person_table;
    """)
