"""Facts in weekly partitions, lifetime totals, quarter hours; views, maintenance and rights."""

from alembic import op

revision = "0001"
down_revision = None


# Revision 0003 puts them back when it is taken back, but for week_start, which stays.
WEEK_START = r"""
CREATE FUNCTION maintenance.week_start(week date) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE
    RETURN week::timestamp AT TIME ZONE 'UTC';
"""
WEEK_FUNCTIONS = r"""
CREATE FUNCTION maintenance.week_name(week date) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN 'auth_event_' || to_char(week, 'YYYYMMDD');

-- Waits for a strong lock without making writers wait: whoever comes while we queue, queues behind us, so each
-- attempt is short and lets them all through when it fails. Gives up (lock_not_available) after about 30 seconds.
CREATE FUNCTION maintenance.lock_patiently(lock_statements text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '150ms'
AS $$
BEGIN
    FOR attempt IN 1..100 LOOP
        BEGIN
            EXECUTE lock_statements;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.1 + 0.1 * random());
        END;
    END LOOP;
    RAISE EXCEPTION 'a long transaction is in the way of maintenance; try later' USING ERRCODE = 'lock_not_available';
END
$$;

-- Makes the partition of the week that begins on the given Monday. Returns how many rows of that week were
-- waiting in the default partition and are now in their own, or NULL when the week exists already.
CREATE FUNCTION maintenance.make_week(week date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET datestyle = 'ISO'
AS $$
DECLARE
    week_name CONSTANT text        := maintenance.week_name(week);
    starts    CONSTANT timestamptz := maintenance.week_start(week);
    ends      CONSTANT timestamptz := maintenance.week_start(week + 7);
    move_rows CONSTANT text        := format(
        'WITH gone AS (DELETE FROM public.auth_event_default WHERE received_at >= %L AND received_at < %L RETURNING *) '
        'INSERT INTO public.%I SELECT * FROM gone', starts, ends, week_name);
    moved bigint;
    moved_late bigint;
BEGIN
    IF extract(isodow FROM week) <> 1 THEN
        RAISE EXCEPTION 'a week begins on a Monday, % is none', week USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock('public.auth_event'::regclass::bigint);
    IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'public.auth_event'::regclass
                                         AND inhrelid = to_regclass(format('public.%I', week_name))) THEN
        RETURN NULL;
    END IF;
    -- The check lets ATTACH skip its scan while everybody waits.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.auth_event INCLUDING ALL, CONSTRAINT whole_week '
                   'CHECK (received_at >= %L AND received_at < %L))', week_name, starts, ends);
    -- The bulk moves while writers go on; what they added meanwhile moves under the lock.
    EXECUTE move_rows;
    GET DIAGNOSTICS moved = ROW_COUNT;
    -- The parent too: a writer that had already chosen the default partition would be refused after the ATTACH.
    PERFORM maintenance.lock_patiently('LOCK TABLE ONLY public.auth_event IN SHARE ROW EXCLUSIVE MODE; '
                                       'LOCK TABLE ONLY public.auth_event_default IN ACCESS EXCLUSIVE MODE');
    EXECUTE move_rows;
    GET DIAGNOSTICS moved_late = ROW_COUNT;
    EXECUTE format('ALTER TABLE public.auth_event ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                   week_name, starts, ends);
    EXECUTE format('ALTER TABLE public.%I DROP CONSTRAINT whole_week', week_name);
    RETURN moved + moved_late;
END
$$;

-- Drops the week that begins on the given Monday and adds its sums to auth_event_retired, both or neither.
-- Returns how many rows were retired, or NULL when there is no such week (any more).
CREATE FUNCTION maintenance.retire_week(week date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    week_table CONSTANT text := format('public.%I', maintenance.week_name(week));
    retired bigint;
BEGIN
    -- The server's own clock: whoever holds the login cannot drop what is still being counted.
    IF maintenance.week_start(week + 7) > now() - interval '1 day' THEN
        RAISE EXCEPTION 'the week of % is too young to be retired', week USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock('public.auth_event'::regclass::bigint);
    IF NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'public.auth_event'::regclass
                                             AND inhrelid = to_regclass(week_table)) THEN
        RETURN NULL;
    END IF;
    -- From here to the drop no row may come or go; reading, and writing to other weeks, goes on.
    PERFORM maintenance.lock_patiently(format('LOCK TABLE ONLY %s IN SHARE MODE', week_table));
    EXECUTE format(
        'WITH week_sum AS (SELECT project_id, device_type, count(*) AS event_count FROM %s GROUP BY 1, 2), '
        'added AS (INSERT INTO public.auth_event_retired AS r (project_id, device_type, event_count) '
        '          SELECT project_id, device_type, event_count FROM week_sum '
        '          ON CONFLICT (project_id, device_type) '
        '          DO UPDATE SET event_count = r.event_count + excluded.event_count) '
        'SELECT coalesce(sum(event_count), 0) FROM week_sum', week_table) INTO retired;
    PERFORM maintenance.lock_patiently(format(
        'LOCK TABLE ONLY public.auth_event IN ACCESS EXCLUSIVE MODE; '
        'LOCK TABLE ONLY public.auth_event_default IN ACCESS EXCLUSIVE MODE; '
        'LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', week_table));
    EXECUTE format('DROP TABLE %s', week_table);
    RETURN retired;
END
$$;
"""


def upgrade() -> None:
    """All that the first release has."""
    op.execute(r"""
-- 1. Vocabulary

CREATE TYPE device_type AS ENUM ('Android', 'TV', 'Watch', 'iOS');

CREATE TABLE project (
    project_id int  PRIMARY KEY,
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100)
);
-- Events that arrive without a key belong here.
INSERT INTO project (project_id, name) VALUES (1, 'default');

-- 2. Facts: append-only, one row per sign-in

-- received_at decides the partition and the retention, occurred_at the bucket. The key holds received_at because
-- a key of a partitioned table must; a retry carries the same one and so collides with the first attempt.
CREATE TABLE auth_event (
    project_id  int         NOT NULL,
    received_at timestamptz NOT NULL,
    event_id    uuid        NOT NULL,
    occurred_at timestamptz NOT NULL,
    device_type device_type NOT NULL,
    user_key    text        NOT NULL CHECK (char_length(user_key) BETWEEN 1 AND 255),
    PRIMARY KEY (project_id, received_at, event_id)
) PARTITION BY RANGE (received_at);
COMMENT ON COLUMN auth_event.user_key IS
    'Personal data: a pseudonym chosen by the client. Kept so that one person''s events can be found and erased; '
    'never counted by, never in a rollup, a view or a log. Dropped with its week after RETENTION_DAYS.';

-- Weeks (Monday 00:00 UTC) are made four ahead by `maintain`. A row in the default partition means that it has not
-- run for a month: nothing is lost, `maintain` raises an alarm and moves the rows to a week of their own.
CREATE TABLE auth_event_default PARTITION OF auth_event DEFAULT;

-- 3. Rollups: counted in the transaction that stores the fact

-- Sixteen slots, so that processes do not wait for each other's commit on one hot row; a reader sums them.
-- An update stays on its page (HOT: no index is touched) as long as the page has room: hence the fill factors.
CREATE TABLE auth_event_total (
    project_id  int         NOT NULL,
    device_type device_type NOT NULL,
    slot        smallint    NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count bigint      NOT NULL CHECK (event_count >= 0),
    PRIMARY KEY (project_id, device_type, slot)
) WITH (fillfactor = 25);

-- Kept for ever: the hours, days and months of every time zone can be built from quarters of an hour.
CREATE TABLE auth_event_quarter_hour (
    project_id   int         NOT NULL,
    device_type  device_type NOT NULL,
    bucket_start timestamptz NOT NULL
        CHECK (bucket_start = date_bin('15 minutes', bucket_start, '2000-01-01 00:00:00+00')),
    slot         smallint    NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count  bigint      NOT NULL CHECK (event_count >= 0),
    PRIMARY KEY (project_id, device_type, bucket_start, slot)
) WITH (fillfactor = 70);

-- What was counted and is no longer in auth_event: the sums of the weeks that retention dropped.
CREATE TABLE auth_event_retired (
    project_id  int         NOT NULL,
    device_type device_type NOT NULL,
    event_count bigint      NOT NULL CHECK (event_count >= 0),
    PRIMARY KEY (project_id, device_type)
);

-- 4. Views: all that the public service can read

-- They run with their owner's rights, so a reader needs no right on a base table. One row per slot: without an
-- aggregate inside, a reader's predicates become index conditions.
CREATE SCHEMA stats;

CREATE VIEW stats.auth_event_total AS
    SELECT project_id, device_type, event_count FROM auth_event_total;

CREATE VIEW stats.auth_event_quarter_hour AS
    SELECT project_id, device_type, bucket_start, event_count FROM auth_event_quarter_hour;

CREATE VIEW stats.schema_revision AS
    SELECT version_num AS revision FROM alembic_version;

-- 5. Maintenance: the only changes of structure that the private service's login can make

-- SECURITY DEFINER with a pinned search_path: the caller may make and retire weeks, and nothing else.
CREATE SCHEMA maintenance;
""")
    op.execute(WEEK_START + WEEK_FUNCTIONS)
    op.execute(r"""
-- 6. Grants: "only the private service writes" is a right, not a promise

-- The public service: the views, and nothing else.
GRANT USAGE ON SCHEMA stats TO stats_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA stats TO stats_reader;

-- The private service: facts are inserted, never changed; a week is dropped by retire_week alone.
GRANT USAGE ON SCHEMA stats, maintenance TO registration_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA stats TO registration_writer;
GRANT SELECT, INSERT ON auth_event TO registration_writer;
GRANT SELECT ON auth_event_default, auth_event_retired TO registration_writer;
GRANT SELECT, INSERT, UPDATE ON auth_event_total, auth_event_quarter_hour TO registration_writer;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA maintenance FROM PUBLIC;
GRANT EXECUTE ON FUNCTION maintenance.make_week(date), maintenance.retire_week(date) TO registration_writer;
""")
