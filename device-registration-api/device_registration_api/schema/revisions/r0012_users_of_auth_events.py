"""Distinct users of auth events, counted by a follower; types of events in the catalogue; a true latest measurement.

Releases without a follower run beside this revision during an upgrade: they record as before. Until `maintain` has run
once, the facts that are stored already are counted from the facts alone.
"""

from alembic import op

from device_registration_api.schema.revisions.r0005_api_requests import PARTITION_FUNCTIONS
from device_registration_api.schema.revisions.r0006_figures_and_retention import RETIRING_FUNCTIONS
from device_registration_api.schema.revisions.r0011_erasure import FUNCTIONS as ERASING_FUNCTIONS

revision = "0012"
down_revision = "0011"

NEW_FUNCTIONS = r"""
-- The facts f that a follower has not reached, as a condition, for the snapshot that reads the facts. A snapshot sees
-- no transaction of this cluster from its xmax on: a fact with such an id was restored, and followed afterwards.
CREATE FUNCTION maintenance.not_followed(fact text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN coalesce((
        SELECT CASE WHEN f.system_identifier = (pg_control_system()).system_identifier
                    THEN format('(f.commit_xid >= %s AND f.commit_xid < '
                                '(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint))', f.followed_xid)
                    ELSE 'true' END
          FROM maintenance.follower AS f WHERE f.fact = not_followed.fact), 'false');

-- Finds the latest measurement of devices among the facts that are left; without one, they have none.
CREATE FUNCTION maintenance.renew_latest(project int, devices bigint[]) RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH renewed AS (
        UPDATE public.device_latest AS l
           SET occurred_at = f.occurred_at, event_id = f.event_id, x = f.x, y = f.y, z = f.z
          FROM unnest(devices) AS device(number), LATERAL (
               SELECT m.occurred_at, m.event_id, m.x, m.y, m.z FROM public.measurement AS m
                WHERE m.project_id = project AND m.device_number = device.number
                ORDER BY m.occurred_at DESC, m.event_id DESC LIMIT 1) AS f
         WHERE l.project_id = project AND l.device_number = device.number
     RETURNING l.device_number)
    DELETE FROM public.device_latest AS l
     WHERE l.project_id = project AND l.device_number = ANY (devices)
       AND l.device_number NOT IN (SELECT device_number FROM renewed);
END;

-- How many different users a project had from the first day to the last one, and how many of them were never there
-- before; of one device type, or of all (NULL). Facts that the follower has not reached are added here, by their time:
-- the days are [starts, ends). A function, because the public service may read neither user_key nor a digest.
CREATE FUNCTION stats.auth_event_users(
    project_id int, device_type device_type, first_day date, last_day date, starts timestamptz, ends timestamptz,
    OUT distinct_count bigint, OUT new_count bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Planned with the values: a plan for any values would read all facts.
    EXECUTE format(
        'WITH late AS ('
        '    SELECT substr(sha256(p.presence_key || convert_to(f.user_key, ''UTF8'')), 1, 16) AS digest, '
        '           min(f.occurred_at) AS earliest, '
        '           bool_or(f.occurred_at >= $5 AND f.occurred_at < $6) AS is_present '
        '      FROM public.auth_event AS f JOIN public.project AS p USING (project_id) '
        '     WHERE f.project_id = $1 AND %1$s AND ($7 IS NULL OR f.device_type = $7) '
        '     GROUP BY p.presence_key, f.user_key), '
        'placed AS ('
        '    SELECT is_present, earliest, '
        '           (SELECT min(p.day) FROM public.auth_event_presence AS p '
        '             WHERE p.project_id = $1 AND p.segment = $2 AND p.digest = late.digest) AS earliest_day, '
        '           EXISTS (SELECT FROM public.auth_event_presence AS p '
        '                    WHERE p.project_id = $1 AND p.segment = $2 AND p.digest = late.digest '
        '                      AND p.day BETWEEN $3 AND $4) AS is_counted '
        '      FROM late), '
        'added(distinct_count, new_count) AS ('
        '    SELECT count(*) FILTER (WHERE is_present AND NOT is_counted), '
        '           count(*) FILTER (WHERE (is_present OR is_counted) '
        '                              AND earliest >= $5 AND coalesce(earliest_day >= $3, true)) '
        '           - count(*) FILTER (WHERE earliest_day BETWEEN $3 AND $4) '
        '      FROM placed UNION ALL '
        '    SELECT sum(d.present_count), sum(d.present_count) FILTER (WHERE d.previous_day = ''-infinity'') '
        '      FROM public.auth_event_distinct AS d '
        '     WHERE d.project_id = $1 AND d.segment = $2 AND d.day BETWEEN $3 AND $4 AND d.previous_day < $3) '
        'SELECT coalesce(sum(distinct_count), 0), coalesce(sum(new_count), 0) FROM added',
        maintenance.not_followed('auth_event'))
       INTO distinct_count, new_count
      USING project_id, coalesce(public.auth_event_segment(device_type), 0), first_day, last_day, starts, ends,
            device_type;
END
$$;
"""

CHANGED_FUNCTIONS = r"""
-- Creates the partition of the week that begins on the given Monday. Returns how many rows of that week were in the
-- default partition and are now in their own, or NULL when the partition exists already.
CREATE OR REPLACE FUNCTION maintenance.create_partition(fact text, week date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET datestyle = 'ISO'
AS $$
DECLARE
    known        CONSTANT maintenance.fact_table := maintenance.known_fact_table(fact);
    parent       CONSTANT text        := format('public.%I', known.fact);
    default_rows CONSTANT text        := format('public.%I', known.fact || '_default');
    partition    CONSTANT text        := format('public.%I', maintenance.partition_name(known.fact, week));
    starts       CONSTANT timestamptz := maintenance.week_start(week);
    ends         CONSTANT timestamptz := maintenance.week_start(week + 7);
    -- Generated columns are computed again.
    stored       CONSTANT text        := (
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = parent::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '');
    move_rows    CONSTANT text        := format(
        'WITH gone AS (DELETE FROM %1$s WHERE received_at >= %2$L AND received_at < %3$L RETURNING *) '
        'INSERT INTO %4$s (%5$s) SELECT %5$s FROM gone', default_rows, starts, ends, partition, stored);
    moved      bigint;
    moved_late bigint;
BEGIN
    IF extract(isodow FROM week) <> 1 THEN
        RAISE EXCEPTION 'a week begins on a Monday, % is none', week USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(parent::regclass::bigint);
    IF EXISTS (SELECT FROM pg_inherits
                WHERE inhparent = parent::regclass AND inhrelid = to_regclass(partition)) THEN
        RETURN NULL;
    END IF;
    -- The check lets ATTACH skip its scan, which would run under the strong lock. A reader that goes on where it
    -- stopped reads what autovacuum has not summarised yet: by default, up to a fifth of the week.
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL, CONSTRAINT whole_week '
                   'CHECK (received_at >= %L AND received_at < %L)) WITH '
                   '(autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000)',
                   partition, parent, starts, ends);
    -- Most rows move while writers go on; what they add meanwhile moves under the lock.
    EXECUTE move_rows;
    GET DIAGNOSTICS moved = ROW_COUNT;
    -- The parent too: a writer that had already chosen the default partition would be refused after the ATTACH.
    PERFORM maintenance.lock_with_retry(format(
        'LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE; LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE',
        parent, default_rows));
    EXECUTE move_rows;
    GET DIAGNOSTICS moved_late = ROW_COUNT;
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', parent, partition, starts, ends);
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT whole_week', partition);
    RETURN moved + moved_late;
END
$$;

-- Drops the partition of the week that begins on the given Monday and adds its sums to <fact>_retired, both or
-- neither. Returns how many rows were retired, or NULL when there is no such partition (any more).
CREATE OR REPLACE FUNCTION maintenance.retire_partition(fact text, week date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known        CONSTANT maintenance.fact_table := maintenance.known_fact_table(fact);
    parent       CONSTANT text := format('public.%I', known.fact);
    default_rows CONSTANT text := format('public.%I', known.fact || '_default');
    partition    CONSTANT text := format('public.%I', maintenance.partition_name(known.fact, week));
    is_ahead boolean;
    retired  bigint;
BEGIN
    -- By the server's own clock: the login cannot drop what is still being counted, whatever time it claims.
    IF maintenance.week_start(week + 7) > now() - interval '1 day' THEN
        RAISE EXCEPTION 'the week of % is too young to be retired', week USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(parent::regclass::bigint);
    IF NOT EXISTS (SELECT FROM pg_inherits
                    WHERE inhparent = parent::regclass AND inhrelid = to_regclass(partition)) THEN
        RETURN NULL;
    END IF;
    -- From here to the drop no row may come or go; reading, and writing to other weeks, goes on.
    PERFORM maintenance.lock_with_retry(format('LOCK TABLE ONLY %s IN SHARE MODE', partition));
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS f WHERE %s)', partition, maintenance.not_followed(known.fact))
       INTO is_ahead;
    IF is_ahead THEN
        RAISE EXCEPTION 'the follower of % has not reached all of the week of %', known.fact, week
            USING ERRCODE = 'lock_not_available';
    END IF;
    retired := maintenance.add_to_retired(known, format('SELECT * FROM %s', partition));
    PERFORM maintenance.lock_with_retry(format(
        'LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE; LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE; '
        'LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent, default_rows, partition));
    EXECUTE format('DROP TABLE %s', partition);
    RETURN retired;
END
$$;

-- Deletes the oldest facts of a project that are older than its retention_days, at most rows_max of them, and adds
-- their sums to <fact>_retired. Returns how many they were, or NULL when the project keeps its facts. Three days are
-- kept at least: a repeat within 48 hours gets the stored row of its first request. A fact that is not followed stays.
CREATE OR REPLACE FUNCTION maintenance.retire_rows(fact text, project_id int, rows_max int) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET datestyle = 'ISO'
AS $$
DECLARE
    known CONSTANT maintenance.fact_table := maintenance.known_fact_table(fact);
    -- By the server's own clock and the project's own setting: the login chooses neither.
    bound CONSTANT timestamptz := (SELECT now() - greatest(p.retention_days, 3) * interval '1 day'
                                     FROM public.project AS p
                                    WHERE p.project_id = retire_rows.project_id AND p.retention_days IS NOT NULL);
BEGIN
    IF bound IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN maintenance.add_to_retired(known, format(
        'DELETE FROM public.%1$I AS f USING ('
        '    SELECT f.received_at, f.event_id FROM public.%1$I AS f '
        '     WHERE f.project_id = %2$L AND f.received_at < %3$L AND NOT %5$s '
        '     ORDER BY f.received_at, f.event_id LIMIT %4$L) AS oldest '
        ' WHERE f.project_id = %2$L AND f.received_at < %3$L '
        '   AND f.received_at = oldest.received_at AND f.event_id = oldest.event_id RETURNING f.*',
        known.fact, project_id, bound, rows_max, maintenance.not_followed(known.fact)));
END
$$;

-- Deletes at most rows_max facts of a project that happened in [starts, ends) and belong to a group: `groups` has the
-- values of some of the group columns, as JSON. Adds their sums to <fact>_retired. A fact that is not followed stays.
-- Returns how many they were, or NULL when there is none.
CREATE OR REPLACE FUNCTION maintenance.retire_group_rows(
    fact text, project_id int, groups jsonb, starts timestamptz, ends timestamptz, rows_max int) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET datestyle = 'ISO'
AS $$
DECLARE
    known     CONSTANT maintenance.fact_table := maintenance.known_fact_table(fact);
    condition text := format('f.project_id = %L AND f.occurred_at >= %L AND f.occurred_at < %L AND NOT %s',
                             project_id, starts, ends, maintenance.not_followed(fact));
    chosen    record;
    is_there  boolean;
    devices   bigint[];  -- those whose latest measurement is among the facts, until the commit
    retired   bigint;
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
    IF known.fact = 'measurement' THEN
        EXECUTE format(
            'SELECT array_agg(device_number) FROM ('
            '    SELECT l.device_number FROM public.device_latest AS l '
            '      JOIN public.measurement AS f USING (project_id, device_number, occurred_at, event_id) '
            '     WHERE %s ORDER BY l.device_number FOR UPDATE OF l) AS latest', condition) INTO devices;
    END IF;
    retired := maintenance.add_to_retired(known, format(
        'DELETE FROM public.%1$I AS f USING ('
        '    SELECT f.received_at, f.event_id FROM public.%1$I AS f WHERE %2$s LIMIT %3$L) AS chosen '
        ' WHERE %2$s AND f.received_at = chosen.received_at AND f.event_id = chosen.event_id RETURNING f.*',
        known.fact, condition, rows_max));
    PERFORM maintenance.renew_latest(project_id, devices);
    RETURN retired;
END
$$;
"""


def upgrade() -> None:
    """No fact is touched: the follower begins with the oldest one that is stored."""
    op.execute(r"""
COMMENT ON COLUMN auth_event.user_key IS
    'Personal data: a pseudonym chosen by the client. Kept so that one person''s events can be found and erased; never '
    'in a view or a log. Different ones are counted by a digest. Dropped with its week after RETENTION_DAYS.';

-- As those of API requests, but a few seconds after the facts: a follower (events/following.py) writes them, so that
-- they cost nothing when an event is recorded. The segment of an event, besides 0, is its device type.
CREATE TABLE auth_event_presence (
    project_id   int   NOT NULL,
    segment      int   NOT NULL CHECK (segment >= 0),
    digest       bytea NOT NULL CHECK (octet_length(digest) = 16),
    day          date  NOT NULL,
    previous_day date  NOT NULL CHECK (previous_day < day),
    PRIMARY KEY (project_id, segment, digest, day)
);
COMMENT ON COLUMN auth_event_presence.digest IS
    'Personal data: SHA-256 of the project''s presence_key and the user_key, cut to 16 bytes. Whoever has both tables '
    'and guesses the user_key finds it. In no view, and kept as long as the project: the next day counts from it.';
CREATE TABLE auth_event_distinct (
    project_id    int      NOT NULL,
    segment       int      NOT NULL,
    day           date     NOT NULL,
    previous_day  date     NOT NULL,
    slot          smallint NOT NULL CHECK (slot BETWEEN 0 AND 15),
    present_count bigint   NOT NULL,
    PRIMARY KEY (project_id, segment, day, previous_day, slot)
) WITH (fillfactor = 70);
CREATE FUNCTION auth_event_segment(device_type) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE $1 WHEN 'Android' THEN 1 WHEN 'TV' THEN 2 WHEN 'Watch' THEN 3 WHEN 'iOS' THEN 4 END;

ALTER TABLE maintenance.fact_table
    ADD COLUMN presence_follows boolean NOT NULL DEFAULT false,
    ADD COLUMN type_column text,
    ADD COLUMN type_table text,
    ADD CONSTRAINT fact_table_presence_follows CHECK (NOT presence_follows OR presence_column IS NOT NULL),
    ADD CONSTRAINT fact_table_type_column CHECK (type_column = ANY (group_columns)),
    ADD CONSTRAINT fact_table_type_table CHECK (type_table IS NULL OR type_column IS NOT NULL);
UPDATE maintenance.fact_table
   SET presence_column = 'user_key', presence_follows = true, type_column = 'device_type'
 WHERE fact = 'auth_event';
UPDATE maintenance.fact_table SET type_column = 'type_id', type_table = 'event_type' WHERE fact = 'store_event';

-- How far a follower has come: the facts of transactions before followed_xid are in <fact>_presence. Such ids are those
-- of one cluster. After a restore into another one, as after the upgrade to this schema, they say nothing; `maintain`
-- then follows all facts once. A fact that is followed twice is counted once.
CREATE TABLE maintenance.follower (
    fact              text   PRIMARY KEY,
    system_identifier bigint,
    followed_xid      bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN maintenance.follower.system_identifier IS 'The cluster of followed_xid. NULL: nothing is followed.';
INSERT INTO maintenance.follower (fact) VALUES ('auth_event');
    """)
    op.execute(NEW_FUNCTIONS)
    op.execute(CHANGED_FUNCTIONS)
    op.execute("""
REVOKE EXECUTE ON FUNCTION
    stats.auth_event_users(int, device_type, date, date, timestamptz, timestamptz),
    auth_event_segment(device_type), maintenance.not_followed(text), maintenance.renew_latest(int, bigint[])
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    stats.auth_event_users(int, device_type, date, date, timestamptz, timestamptz) TO stats_reader;
GRANT EXECUTE ON FUNCTION auth_event_segment(device_type), maintenance.not_followed(text) TO registration_writer;
GRANT SELECT, INSERT, UPDATE ON auth_event_presence, auth_event_distinct TO registration_writer;
GRANT SELECT, UPDATE (system_identifier, followed_xid) ON maintenance.follower TO registration_writer;
    """)


def downgrade() -> None:
    """Who was present when is lost; events and their counts stay."""
    for functions in (PARTITION_FUNCTIONS, RETIRING_FUNCTIONS, ERASING_FUNCTIONS):
        op.execute(functions.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.execute("""
DROP FUNCTION
    stats.auth_event_users(int, device_type, date, date, timestamptz, timestamptz),
    maintenance.renew_latest(int, bigint[]), maintenance.not_followed(text), auth_event_segment(device_type);
DROP TABLE auth_event_presence, auth_event_distinct, maintenance.follower;
ALTER TABLE maintenance.fact_table DROP COLUMN presence_follows, DROP COLUMN type_column, DROP COLUMN type_table;
UPDATE maintenance.fact_table SET presence_column = NULL WHERE fact = 'auth_event';
COMMENT ON COLUMN auth_event.user_key IS
    'Personal data: a pseudonym chosen by the client. Kept so that one person''s events can be found and erased; '
    'never counted by, never in a rollup, a view or a log. Dropped with its week after RETENTION_DAYS.';
    """)
