"""API requests: facts, endpoints, rollups by cell of response time.

The catalogue describes more: rollups that are counted by fewer columns than the facts, and columns whose extremes are
kept. Release 0.1.0 runs beside this revision during an upgrade, and reads nothing of it. Writers of other facts do not
wait: the tables are new, and the functions are replaced.
"""

from alembic import op

from device_registration_api.schema.revisions.r0003_fact_table_catalogue import (
    PARTITION_FUNCTIONS as PREVIOUS_FUNCTIONS,
)

revision = "0005"
down_revision = "0004"

# As init.sql lists them.
_BOUND_MAX = 3_600_000_000
_BOUNDS = list(range(51))
while (following := max(_BOUNDS[-1] + 1, _BOUNDS[-1] * 101 // 99)) <= _BOUND_MAX:
    _BOUNDS.append(following)

PARTITION_FUNCTIONS = r"""
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
    -- The check lets ATTACH skip its scan, which would run under the strong lock.
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL, CONSTRAINT whole_week '
                   'CHECK (received_at >= %L AND received_at < %L))', partition, parent, starts, ends);
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
    groups       CONSTANT text := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(known.group_columns) AS c);
    -- The text of a float is exact, so the sum of its numeric does not depend on the order of the rows.
    sums         CONSTANT text := concat(
        'count(*) AS event_count',
        (SELECT string_agg(format(', coalesce(sum(%I::text::numeric), 0) AS %I', c, c || '_sum'), '')
           FROM unnest(known.sum_columns) AS c),
        (SELECT string_agg(format(', min(%1$I) AS %2$I, max(%1$I) AS %3$I', c, c || '_min', c || '_max'), '')
           FROM unnest(known.extreme_columns) AS c));
    sum_names    CONSTANT text := concat(
        'event_count',
        (SELECT string_agg(format(', %I', c || '_sum'), '') FROM unnest(known.sum_columns) AS c),
        (SELECT string_agg(format(', %I, %I', c || '_min', c || '_max'), '') FROM unnest(known.extreme_columns) AS c));
    additions    CONSTANT text := concat(
        'event_count = r.event_count + excluded.event_count',
        (SELECT string_agg(format(', %1$I = r.%1$I + excluded.%1$I', c || '_sum'), '')
           FROM unnest(known.sum_columns) AS c),
        (SELECT string_agg(format(', %1$I = least(r.%1$I, excluded.%1$I), %2$I = greatest(r.%2$I, excluded.%2$I)',
                                  c || '_min', c || '_max'), '')
           FROM unnest(known.extreme_columns) AS c));
    retired bigint;
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
    EXECUTE format(
        'WITH week_sum AS (SELECT %1$s, %2$s FROM %3$s GROUP BY %1$s), '
        'added AS (INSERT INTO public.%4$I AS r (%1$s, %5$s) SELECT %1$s, %5$s FROM week_sum '
        '          ON CONFLICT (%1$s) DO UPDATE SET %6$s) '
        'SELECT coalesce(sum(event_count), 0) FROM week_sum',
        groups, sums, partition, known.fact || '_retired', sum_names, additions) INTO retired;
    PERFORM maintenance.lock_with_retry(format(
        'LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE; LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE; '
        'LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent, default_rows, partition));
    EXECUTE format('DROP TABLE %s', partition);
    RETURN retired;
END
$$;
"""


def upgrade() -> None:
    """The catalogue first, then the tables."""
    op.execute(r"""
ALTER TABLE maintenance.fact_table
    ADD COLUMN extreme_columns text[] NOT NULL DEFAULT '{}',
    ADD COLUMN rollup_group_columns jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT fact_table_rollup_group_columns_check CHECK (jsonb_typeof(rollup_group_columns) = 'object'),
    DROP CONSTRAINT fact_table_rollups_check,
    ADD CONSTRAINT fact_table_rollups_check CHECK (
        array_to_string(rollups, ',', '') ~ '^(([a-z]+_)?(total|minute|quarter_hour|day)(,(?=.)|$))*$');
    """)
    op.execute(PARTITION_FUNCTIONS)
    bounds = ", ".join(map(str, _BOUNDS))
    op.execute(f"""
CREATE FUNCTION latency_bounds() RETURNS bigint[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[{bounds}]::bigint[];
    """)
    op.execute(r"""
-- Requests that a client's own API answered. Errors and the cell are computed here and nowhere else, so that
-- `verify-counts` compares what the service counted with what the database itself says of each fact.
CREATE TABLE api_request (
    project_id    int         NOT NULL,
    received_at   timestamptz NOT NULL,
    event_id      uuid        NOT NULL,
    occurred_at   timestamptz NOT NULL,
    endpoint_id   int         NOT NULL CHECK (endpoint_id BETWEEN 0 AND 1000),
    url_path      text        NOT NULL CHECK (char_length(url_path) <= 2048 AND starts_with(url_path, '/')),
    method        text        NOT NULL CHECK (char_length(method) BETWEEN 1 AND 7),
    status_code   smallint    NOT NULL CHECK (status_code BETWEEN 100 AND 599),
    response_us   bigint      NOT NULL CHECK (response_us BETWEEN 0 AND 3600000000),
    user_agent    text        CHECK (char_length(user_agent) BETWEEN 1 AND 512),
    consumer      text        CHECK (char_length(consumer) BETWEEN 1 AND 128),
    client_error  smallint    NOT NULL GENERATED ALWAYS AS ((status_code BETWEEN 400 AND 499)::int) STORED,
    server_error  smallint    NOT NULL GENERATED ALWAYS AS ((status_code BETWEEN 500 AND 599)::int) STORED,
    latency_cell  smallint    NOT NULL GENERATED ALWAYS AS (width_bucket(response_us, latency_bounds())) STORED,
    commit_xid    bigint      NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    PRIMARY KEY (project_id, received_at, event_id)
) PARTITION BY RANGE (received_at);
CREATE INDEX api_request_commit_xid ON api_request USING brin (commit_xid);
CREATE TABLE api_request_default PARTITION OF api_request DEFAULT;

-- The endpoints of a project, numbered from 1 in the order of their first request. A project has at most 1,000; the
-- requests of any other endpoint are counted as endpoint 0. Assigned under an advisory lock of the project.
CREATE TABLE api_endpoint (
    project_id  int  NOT NULL,
    endpoint_id int  NOT NULL CHECK (endpoint_id BETWEEN 1 AND 1000),
    method      text NOT NULL,
    url_path    text NOT NULL,
    PRIMARY KEY (project_id, endpoint_id)
);

-- Each figure of API requests is a sum over such rows: counts, errors, averages, percentiles, the index of
-- satisfaction. A range is whole days (UTC) in its middle, and quarters of an hour or minutes at its ends.
CREATE TABLE api_request_minute (
    project_id       int         NOT NULL,
    bucket_start     timestamptz NOT NULL
        CHECK (bucket_start = date_bin('1 minute', bucket_start, '2000-01-01 00:00:00+00')),
    latency_cell     smallint    NOT NULL,
    slot             smallint    NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count      bigint      NOT NULL CHECK (event_count >= 0),
    client_error_sum bigint      NOT NULL,
    server_error_sum bigint      NOT NULL,
    response_us_sum  numeric     NOT NULL,
    response_us_min  bigint      NOT NULL,
    response_us_max  bigint      NOT NULL,
    PRIMARY KEY (project_id, bucket_start, latency_cell, slot)
) WITH (fillfactor = 70);
CREATE INDEX api_request_minute_bucket_start ON api_request_minute (bucket_start);
CREATE TABLE api_request_quarter_hour (
    project_id       int         NOT NULL,
    bucket_start     timestamptz NOT NULL
        CHECK (bucket_start = date_bin('15 minutes', bucket_start, '2000-01-01 00:00:00+00')),
    latency_cell     smallint    NOT NULL,
    slot             smallint    NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count      bigint      NOT NULL CHECK (event_count >= 0),
    client_error_sum bigint      NOT NULL,
    server_error_sum bigint      NOT NULL,
    response_us_sum  numeric     NOT NULL,
    response_us_min  bigint      NOT NULL,
    response_us_max  bigint      NOT NULL,
    PRIMARY KEY (project_id, bucket_start, latency_cell, slot)
) WITH (fillfactor = 70);
CREATE TABLE api_request_day (
    project_id       int         NOT NULL,
    bucket_start     timestamptz NOT NULL
        CHECK (bucket_start = date_bin('1 day', bucket_start, '2000-01-01 00:00:00+00')),
    latency_cell     smallint    NOT NULL,
    slot             smallint    NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count      bigint      NOT NULL CHECK (event_count >= 0),
    client_error_sum bigint      NOT NULL,
    server_error_sum bigint      NOT NULL,
    response_us_sum  numeric     NOT NULL,
    response_us_min  bigint      NOT NULL,
    response_us_max  bigint      NOT NULL,
    PRIMARY KEY (project_id, bucket_start, latency_cell, slot)
) WITH (fillfactor = 70);
-- The same for each endpoint.
CREATE TABLE api_request_endpoint_quarter_hour (
    project_id       int         NOT NULL,
    bucket_start     timestamptz NOT NULL
        CHECK (bucket_start = date_bin('15 minutes', bucket_start, '2000-01-01 00:00:00+00')),
    endpoint_id      int         NOT NULL,
    latency_cell     smallint    NOT NULL,
    slot             smallint    NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count      bigint      NOT NULL CHECK (event_count >= 0),
    client_error_sum bigint      NOT NULL,
    server_error_sum bigint      NOT NULL,
    response_us_sum  numeric     NOT NULL,
    response_us_min  bigint      NOT NULL,
    response_us_max  bigint      NOT NULL,
    PRIMARY KEY (project_id, bucket_start, endpoint_id, latency_cell, slot)
) WITH (fillfactor = 70);
CREATE TABLE api_request_endpoint_day (
    project_id       int         NOT NULL,
    bucket_start     timestamptz NOT NULL
        CHECK (bucket_start = date_bin('1 day', bucket_start, '2000-01-01 00:00:00+00')),
    endpoint_id      int         NOT NULL,
    latency_cell     smallint    NOT NULL,
    slot             smallint    NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count      bigint      NOT NULL CHECK (event_count >= 0),
    client_error_sum bigint      NOT NULL,
    server_error_sum bigint      NOT NULL,
    response_us_sum  numeric     NOT NULL,
    response_us_min  bigint      NOT NULL,
    response_us_max  bigint      NOT NULL,
    PRIMARY KEY (project_id, bucket_start, endpoint_id, latency_cell, slot)
) WITH (fillfactor = 70);
CREATE TABLE api_request_retired (
    project_id       int      NOT NULL,
    endpoint_id      int      NOT NULL,
    latency_cell     smallint NOT NULL,
    event_count      bigint   NOT NULL CHECK (event_count >= 0),
    client_error_sum bigint   NOT NULL,
    server_error_sum bigint   NOT NULL,
    response_us_sum  numeric  NOT NULL,
    response_us_min  bigint   NOT NULL,
    response_us_max  bigint   NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, latency_cell)
);

CREATE VIEW stats.api_request_minute AS
    SELECT project_id, bucket_start, latency_cell,
           event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max
      FROM api_request_minute;
CREATE VIEW stats.api_request_quarter_hour AS
    SELECT project_id, bucket_start, latency_cell,
           event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max
      FROM api_request_quarter_hour;
CREATE VIEW stats.api_request_day AS
    SELECT project_id, bucket_start, latency_cell,
           event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max
      FROM api_request_day;
CREATE VIEW stats.api_request_endpoint_quarter_hour AS
    SELECT project_id, bucket_start, endpoint_id, latency_cell,
           event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max
      FROM api_request_endpoint_quarter_hour;
CREATE VIEW stats.api_request_endpoint_day AS
    SELECT project_id, bucket_start, endpoint_id, latency_cell,
           event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max
      FROM api_request_endpoint_day;
CREATE VIEW stats.api_endpoint AS
    SELECT project_id, endpoint_id, method, url_path FROM api_endpoint;

INSERT INTO maintenance.fact_table
    (fact, group_columns, sum_columns, rollups, extreme_columns, rollup_group_columns) VALUES
    ('api_request', '{project_id,endpoint_id,latency_cell}', '{client_error,server_error,response_us}',
     '{quarter_hour,day,minute,endpoint_quarter_hour,endpoint_day}', '{response_us}',
     '{"quarter_hour": ["project_id", "latency_cell"],
       "day": ["project_id", "latency_cell"],
       "minute": ["project_id", "latency_cell"]}');

GRANT SELECT ON
    stats.api_request_minute, stats.api_request_quarter_hour, stats.api_request_day,
    stats.api_request_endpoint_quarter_hour, stats.api_request_endpoint_day, stats.api_endpoint
    TO stats_reader, registration_writer;
GRANT SELECT, INSERT ON api_request, api_endpoint TO registration_writer;
REVOKE EXECUTE ON FUNCTION latency_bounds() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION latency_bounds() TO registration_writer;
GRANT SELECT ON api_request_default, api_request_retired TO registration_writer;
GRANT SELECT, INSERT, UPDATE ON
    api_request_quarter_hour, api_request_day, api_request_endpoint_quarter_hour, api_request_endpoint_day
    TO registration_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON api_request_minute TO registration_writer;
    """)


def downgrade() -> None:
    """API requests and all that was counted of them are lost."""
    op.execute(r"""
DROP VIEW stats.api_request_minute, stats.api_request_quarter_hour, stats.api_request_day,
    stats.api_request_endpoint_quarter_hour, stats.api_request_endpoint_day, stats.api_endpoint;
DROP TABLE api_request, api_endpoint, api_request_minute, api_request_quarter_hour, api_request_day,
    api_request_endpoint_quarter_hour, api_request_endpoint_day, api_request_retired;
DROP FUNCTION latency_bounds();
DELETE FROM maintenance.fact_table WHERE fact = 'api_request';
ALTER TABLE maintenance.fact_table
    DROP COLUMN extreme_columns,
    DROP COLUMN rollup_group_columns,
    DROP CONSTRAINT fact_table_rollups_check,
    ADD CONSTRAINT fact_table_rollups_check
        CHECK (rollups <@ ARRAY['total', 'minute', 'quarter_hour', 'day']);
    """)
    op.execute(PREVIOUS_FUNCTIONS)
