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

-- Adds the sums of facts that leave to <fact>_retired, and returns how many they are. `leaving` is a statement that
-- returns their rows; it may delete them.
CREATE FUNCTION maintenance.add_to_retired(known maintenance.fact_table, leaving text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    groups    CONSTANT text := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(known.group_columns) AS c);
    cells     CONSTANT text[] := (SELECT array_agg('cell_' || n ORDER BY n) FROM generate_series(0, 31) AS n
                                   WHERE known.cell_column IS NOT NULL);
    -- The text of a float is exact, so the sum of its numeric does not depend on the order of the rows.
    sums      CONSTANT text := concat(
        'count(*) AS event_count',
        (SELECT string_agg(format(', coalesce(sum(%I::text::numeric), 0) AS %I', c, c || '_sum'), '')
           FROM unnest(known.sum_columns) AS c),
        (SELECT string_agg(format(', min(%1$I) AS %2$I, max(%1$I) AS %3$I', c, c || '_min', c || '_max'), '')
           FROM unnest(known.extreme_columns) AS c),
        (SELECT string_agg(format(', nullif(count(*) FILTER (WHERE %I %% 32 = %s), 0) AS %I',
                                  known.cell_column, substr(c, 6), c), '')
           FROM unnest(cells) AS c));
    sum_names CONSTANT text := concat(
        'event_count',
        (SELECT string_agg(format(', %I', c || '_sum'), '') FROM unnest(known.sum_columns) AS c),
        (SELECT string_agg(format(', %I, %I', c || '_min', c || '_max'), '') FROM unnest(known.extreme_columns) AS c),
        (SELECT string_agg(format(', %I', c), '') FROM unnest(cells) AS c));
    additions CONSTANT text := concat(
        'event_count = r.event_count + excluded.event_count',
        (SELECT string_agg(format(', %1$I = r.%1$I + excluded.%1$I', c || '_sum'), '')
           FROM unnest(known.sum_columns) AS c),
        (SELECT string_agg(format(', %1$I = least(r.%1$I, excluded.%1$I), %2$I = greatest(r.%2$I, excluded.%2$I)',
                                  c || '_min', c || '_max'), '')
           FROM unnest(known.extreme_columns) AS c),
        (SELECT string_agg(format(', %1$I = coalesce(r.%1$I + excluded.%1$I, r.%1$I, excluded.%1$I)', c), '')
           FROM unnest(cells) AS c));
    retired bigint;
BEGIN
    EXECUTE format(
        'WITH leaving AS (%3$s), leaving_sum AS (SELECT %1$s, %2$s FROM leaving GROUP BY %1$s), '
        'added AS (INSERT INTO public.%4$I AS r (%1$s, %5$s) SELECT %1$s, %5$s FROM leaving_sum ORDER BY %1$s '
        '          ON CONFLICT (%1$s) DO UPDATE SET %6$s) '
        'SELECT coalesce(sum(event_count), 0) FROM leaving_sum',
        groups, sums, leaving, known.fact || '_retired', sum_names, additions) INTO retired;
    RETURN retired;
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
    retired := maintenance.add_to_retired(known, format('SELECT * FROM %s', partition));
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
    ADD COLUMN cell_column text,
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
    latency_band  smallint    NOT NULL GENERATED ALWAYS AS (width_bucket(response_us, latency_bounds()) / 32) STORED,
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
-- satisfaction. A range is whole days (UTC) in its middle, and quarters of an hour or minutes at its ends. A row has 32
-- neighbouring cells: cell_0 is latency_cell 32 * latency_band. A cell without requests is NULL.
CREATE TABLE api_request_minute (
    project_id       int         NOT NULL,
    bucket_start     timestamptz NOT NULL
        CHECK (bucket_start = date_bin('1 minute', bucket_start, '2000-01-01 00:00:00+00')),
    latency_band     smallint    NOT NULL,
    slot             smallint    NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count      bigint      NOT NULL CHECK (event_count >= 0),
    client_error_sum bigint      NOT NULL,
    server_error_sum bigint      NOT NULL,
    response_us_sum  numeric     NOT NULL,
    response_us_min  bigint      NOT NULL,
    response_us_max  bigint      NOT NULL,
    cell_0 bigint, cell_1 bigint, cell_2 bigint, cell_3 bigint, cell_4 bigint, cell_5 bigint,
    cell_6 bigint, cell_7 bigint, cell_8 bigint, cell_9 bigint, cell_10 bigint, cell_11 bigint,
    cell_12 bigint, cell_13 bigint, cell_14 bigint, cell_15 bigint, cell_16 bigint, cell_17 bigint,
    cell_18 bigint, cell_19 bigint, cell_20 bigint, cell_21 bigint, cell_22 bigint, cell_23 bigint,
    cell_24 bigint, cell_25 bigint, cell_26 bigint, cell_27 bigint, cell_28 bigint, cell_29 bigint,
    cell_30 bigint, cell_31 bigint,
    PRIMARY KEY (project_id, bucket_start, latency_band, slot)
) WITH (fillfactor = 70);
CREATE INDEX api_request_minute_bucket_start ON api_request_minute (bucket_start);
CREATE TABLE api_request_quarter_hour (
    LIKE api_request_minute,
    CHECK (bucket_start = date_bin('15 minutes', bucket_start, '2000-01-01 00:00:00+00')),
    CHECK (slot BETWEEN 0 AND 15),
    CHECK (event_count >= 0),
    PRIMARY KEY (project_id, bucket_start, latency_band, slot)
) WITH (fillfactor = 70);
CREATE TABLE api_request_day (
    LIKE api_request_minute,
    CHECK (bucket_start = date_bin('1 day', bucket_start, '2000-01-01 00:00:00+00')),
    CHECK (slot BETWEEN 0 AND 15),
    CHECK (event_count >= 0),
    PRIMARY KEY (project_id, bucket_start, latency_band, slot)
) WITH (fillfactor = 70);
-- The same for each endpoint.
CREATE TABLE api_request_endpoint_quarter_hour (
    LIKE api_request_minute,
    endpoint_id int NOT NULL,
    CHECK (bucket_start = date_bin('15 minutes', bucket_start, '2000-01-01 00:00:00+00')),
    CHECK (slot BETWEEN 0 AND 15),
    CHECK (event_count >= 0),
    PRIMARY KEY (project_id, bucket_start, endpoint_id, latency_band, slot)
) WITH (fillfactor = 70);
CREATE TABLE api_request_endpoint_day (
    LIKE api_request_minute,
    endpoint_id int NOT NULL,
    CHECK (bucket_start = date_bin('1 day', bucket_start, '2000-01-01 00:00:00+00')),
    CHECK (slot BETWEEN 0 AND 15),
    CHECK (event_count >= 0),
    PRIMARY KEY (project_id, bucket_start, endpoint_id, latency_band, slot)
) WITH (fillfactor = 70);
CREATE TABLE api_request_retired (
    project_id       int      NOT NULL,
    endpoint_id      int      NOT NULL,
    latency_band     smallint NOT NULL,
    event_count      bigint   NOT NULL CHECK (event_count >= 0),
    client_error_sum bigint   NOT NULL,
    server_error_sum bigint   NOT NULL,
    response_us_sum  numeric  NOT NULL,
    response_us_min  bigint   NOT NULL,
    response_us_max  bigint   NOT NULL,
    cell_0 bigint, cell_1 bigint, cell_2 bigint, cell_3 bigint, cell_4 bigint, cell_5 bigint,
    cell_6 bigint, cell_7 bigint, cell_8 bigint, cell_9 bigint, cell_10 bigint, cell_11 bigint,
    cell_12 bigint, cell_13 bigint, cell_14 bigint, cell_15 bigint, cell_16 bigint, cell_17 bigint,
    cell_18 bigint, cell_19 bigint, cell_20 bigint, cell_21 bigint, cell_22 bigint, cell_23 bigint,
    cell_24 bigint, cell_25 bigint, cell_26 bigint, cell_27 bigint, cell_28 bigint, cell_29 bigint,
    cell_30 bigint, cell_31 bigint,
    PRIMARY KEY (project_id, endpoint_id, latency_band)
);

-- A sum that stays a bigint: sum(bigint) is a numeric, which takes half as long again. NULL: there is no value.
CREATE AGGREGATE stats.total(bigint) (SFUNC = int8pl, STYPE = bigint, COMBINEFUNC = int8pl, PARALLEL = SAFE);
CREATE VIEW stats.api_request_minute AS
    SELECT project_id, bucket_start, latency_band,
           event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max,
           cell_0, cell_1, cell_2, cell_3, cell_4, cell_5, cell_6, cell_7, cell_8, cell_9, cell_10, cell_11,
           cell_12, cell_13, cell_14, cell_15, cell_16, cell_17, cell_18, cell_19, cell_20, cell_21, cell_22, cell_23,
           cell_24, cell_25, cell_26, cell_27, cell_28, cell_29, cell_30, cell_31
      FROM api_request_minute;
CREATE VIEW stats.api_request_quarter_hour AS
    SELECT project_id, bucket_start, latency_band,
           event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max,
           cell_0, cell_1, cell_2, cell_3, cell_4, cell_5, cell_6, cell_7, cell_8, cell_9, cell_10, cell_11,
           cell_12, cell_13, cell_14, cell_15, cell_16, cell_17, cell_18, cell_19, cell_20, cell_21, cell_22, cell_23,
           cell_24, cell_25, cell_26, cell_27, cell_28, cell_29, cell_30, cell_31
      FROM api_request_quarter_hour;
CREATE VIEW stats.api_request_day AS
    SELECT project_id, bucket_start, latency_band,
           event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max,
           cell_0, cell_1, cell_2, cell_3, cell_4, cell_5, cell_6, cell_7, cell_8, cell_9, cell_10, cell_11,
           cell_12, cell_13, cell_14, cell_15, cell_16, cell_17, cell_18, cell_19, cell_20, cell_21, cell_22, cell_23,
           cell_24, cell_25, cell_26, cell_27, cell_28, cell_29, cell_30, cell_31
      FROM api_request_day;
CREATE VIEW stats.api_request_endpoint_quarter_hour AS
    SELECT project_id, bucket_start, endpoint_id, latency_band,
           event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max,
           cell_0, cell_1, cell_2, cell_3, cell_4, cell_5, cell_6, cell_7, cell_8, cell_9, cell_10, cell_11,
           cell_12, cell_13, cell_14, cell_15, cell_16, cell_17, cell_18, cell_19, cell_20, cell_21, cell_22, cell_23,
           cell_24, cell_25, cell_26, cell_27, cell_28, cell_29, cell_30, cell_31
      FROM api_request_endpoint_quarter_hour;
CREATE VIEW stats.api_request_endpoint_day AS
    SELECT project_id, bucket_start, endpoint_id, latency_band,
           event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max,
           cell_0, cell_1, cell_2, cell_3, cell_4, cell_5, cell_6, cell_7, cell_8, cell_9, cell_10, cell_11,
           cell_12, cell_13, cell_14, cell_15, cell_16, cell_17, cell_18, cell_19, cell_20, cell_21, cell_22, cell_23,
           cell_24, cell_25, cell_26, cell_27, cell_28, cell_29, cell_30, cell_31
      FROM api_request_endpoint_day;
CREATE VIEW stats.api_endpoint AS
    SELECT project_id, endpoint_id, method, url_path FROM api_endpoint;

INSERT INTO maintenance.fact_table
    (fact, group_columns, sum_columns, rollups, extreme_columns, cell_column, rollup_group_columns) VALUES
    ('api_request', '{project_id,endpoint_id,latency_band}', '{client_error,server_error,response_us}',
     '{quarter_hour,day,minute,endpoint_quarter_hour,endpoint_day}', '{response_us}', 'latency_cell',
     '{"quarter_hour": ["project_id", "latency_band"],
       "day": ["project_id", "latency_band"],
       "minute": ["project_id", "latency_band"]}');

GRANT SELECT ON
    stats.api_request_minute, stats.api_request_quarter_hour, stats.api_request_day,
    stats.api_request_endpoint_quarter_hour, stats.api_request_endpoint_day, stats.api_endpoint
    TO stats_reader, registration_writer;
GRANT SELECT, INSERT ON api_request, api_endpoint TO registration_writer;
REVOKE EXECUTE ON FUNCTION
    latency_bounds(), stats.total(bigint), maintenance.add_to_retired(maintenance.fact_table, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION stats.total(bigint) TO stats_reader;
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
DROP AGGREGATE stats.total(bigint);
DROP FUNCTION latency_bounds();
DELETE FROM maintenance.fact_table WHERE fact = 'api_request';
ALTER TABLE maintenance.fact_table
    DROP COLUMN extreme_columns,
    DROP COLUMN rollup_group_columns,
    DROP COLUMN cell_column,
    DROP CONSTRAINT fact_table_rollups_check,
    ADD CONSTRAINT fact_table_rollups_check
        CHECK (rollups <@ ARRAY['total', 'minute', 'quarter_hour', 'day']);
    """)
    op.execute(PREVIOUS_FUNCTIONS)
    op.execute("DROP FUNCTION maintenance.add_to_retired(maintenance.fact_table, text)")
