-- The whole current schema, read from top to bottom: vocabulary, facts, rollups, views, maintenance, grants.
-- `device-registration-api migrate` runs it, as role stats_owner, in an empty database. A database that exists
-- already gets the revisions in device-registration-api/device_registration_api/schema/revisions instead; a test
-- compares both ways. The group roles are cluster-wide, so `migrate` makes them first (schema/roles.py).
--
-- Names. A fact table <fact> stores one row per event. By this rule maintenance and `verify-counts` find its other
-- tables (which of them exist is a row of maintenance.fact_table, section 5):
--     <fact>_YYYYMMDD      the partition of the week that begins on that Monday
--     <fact>_default       the partition of rows whose week has no partition yet
--     <fact>_total, <fact>_minute, <fact>_quarter_hour, <fact>_day      rollups, over time or by time
--     <fact>_retired       the sums of the weeks that are no longer stored
--
-- Two rules keep the schema ready for several machines: every key begins with project_id, and no foreign key crosses
-- tables. One rule keeps the counts true, and `verify-counts` checks it for every fact table and every group:
--     each rollup = <fact> + <fact>_retired.

-- 1. Vocabulary

CREATE TYPE device_type AS ENUM ('Android', 'TV', 'Watch', 'iOS');

CREATE TABLE project (
    project_id int  PRIMARY KEY,
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100)
);
-- Events that are sent without a project's key belong to this one.
INSERT INTO project (project_id, name) VALUES (1, 'default');

-- The revision of this schema; `migrate` reads and writes it.
CREATE TABLE alembic_version (
    version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY
);

-- 2. Facts: append-only, one row per sign-in

-- received_at decides the partition and the retention, occurred_at the bucket. The key holds received_at because
-- a key of a partitioned table must; an internal retry carries the same received_at and so finds the first attempt.
CREATE TABLE auth_event (
    project_id  int         NOT NULL,
    received_at timestamptz NOT NULL,
    event_id    uuid        NOT NULL,
    occurred_at timestamptz NOT NULL,
    device_type device_type NOT NULL,
    user_key    text        NOT NULL CHECK (char_length(user_key) BETWEEN 1 AND 255),
    commit_xid  bigint      NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    PRIMARY KEY (project_id, received_at, event_id)
) PARTITION BY RANGE (received_at);
COMMENT ON COLUMN auth_event.user_key IS
    'Personal data: a pseudonym chosen by the client. Kept so that one person''s events can be found and erased; '
    'never counted by, never in a rollup, a view or a log. Dropped with its week after RETENTION_DAYS.';
COMMENT ON COLUMN auth_event.commit_xid IS
    'The transaction that stored the row; 0 for rows from before this column. A reader that stops at '
    'pg_snapshot_xmin(pg_current_snapshot()) and goes on from there never skips a row that was committed late.';
-- Serves readers that go on where they stopped. Transaction ids grow with the table, so a few kilobytes suffice.
CREATE INDEX auth_event_commit_xid ON auth_event USING brin (commit_xid);

-- `maintain` makes the partitions of the weeks (Monday 00:00 UTC) four weeks ahead. A row in the default partition
-- means that it has not run for a month: nothing is lost, `maintain` raises an alarm and moves the rows to a partition
-- of their own.
CREATE TABLE auth_event_default PARTITION OF auth_event DEFAULT;

-- A repeat is recognised by the client's own key for 48 hours; a table partitioned by time cannot hold such a key.
-- Each kind of request has keys of its own. Release 0.1.0 claims with ON CONFLICT (project_id, key), and runs beside
-- this schema during an upgrade. So the primary key is still that one, and a kind other than auth_events is written in
-- front of the client's key, before U+001F, which no client's key holds. The column names are those of 0.1.0, too.
CREATE TABLE idempotency (
    project_id  int         NOT NULL,
    key         text        NOT NULL CHECK (char_length(key) BETWEEN 1 AND 320),
    body_sha256 bytea       CHECK (octet_length(body_sha256) = 32),
    event_id    uuid        NOT NULL,
    received_at timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    answer      jsonb,
    kind        text        NOT NULL DEFAULT 'auth_events' CHECK (char_length(kind) BETWEEN 1 AND 64),
    PRIMARY KEY (project_id, key),
    CONSTRAINT idempotency_key_names_kind CHECK (kind = 'auth_events' OR starts_with(key, kind || chr(31)))
);
COMMENT ON COLUMN idempotency.kind IS 'What the key identifies; a batch''s own key is another kind than its events''.';
COMMENT ON COLUMN idempotency.body_sha256 IS 'The fingerprint of the request. NULL: any request is a repeat of it.';
COMMENT ON COLUMN idempotency.answer IS 'What a batch was answered; NULL for a single event.';
-- Serves the deletion of rows older than 48 hours, oldest first.
CREATE INDEX idempotency_created_at ON idempotency (created_at);

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

-- Kept for a while (MINUTES_KEPT in the contract): longer than the 30 days that an event may be late.
CREATE TABLE auth_event_minute (
    project_id   int         NOT NULL,
    device_type  device_type NOT NULL,
    bucket_start timestamptz NOT NULL
        CHECK (bucket_start = date_bin('1 minute', bucket_start, '2000-01-01 00:00:00+00')),
    slot         smallint    NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count  bigint      NOT NULL CHECK (event_count >= 0),
    PRIMARY KEY (project_id, device_type, bucket_start, slot)
) WITH (fillfactor = 70);
-- Serves the deletion of old buckets, oldest first.
CREATE INDEX auth_event_minute_bucket_start ON auth_event_minute (bucket_start);

-- The sums of the weeks that retention dropped: counted, and no longer stored in auth_event.
CREATE TABLE auth_event_retired (
    project_id  int         NOT NULL,
    device_type device_type NOT NULL,
    event_count bigint      NOT NULL CHECK (event_count >= 0),
    PRIMARY KEY (project_id, device_type)
);

-- 4. Views: all that the public service can read

-- Views run with their owner's rights, so a reader needs no right on a base table. They return one row per slot: without
-- an aggregate inside, a reader's predicates become index conditions.
CREATE SCHEMA stats;

CREATE VIEW stats.auth_event_total AS
    SELECT project_id, device_type, event_count FROM auth_event_total;

CREATE VIEW stats.auth_event_quarter_hour AS
    SELECT project_id, device_type, bucket_start, event_count FROM auth_event_quarter_hour;

CREATE VIEW stats.auth_event_minute AS
    SELECT project_id, device_type, bucket_start, event_count FROM auth_event_minute;

CREATE VIEW stats.schema_revision AS
    SELECT version_num AS revision FROM alembic_version;

-- 5. Maintenance: the only changes of structure that the private service's login can make

CREATE SCHEMA maintenance;

-- The catalogue of fact tables: a kind of event is one row here and its tables, in the same revision. Only the owner
-- writes it, so the functions below build their statements from names that no caller chose.
CREATE TABLE maintenance.fact_table (
    fact          text   PRIMARY KEY CHECK (fact ~ '^[a-z][a-z0-9_]{0,39}$'),
    -- What the events are counted by: columns of the facts, of each rollup and of <fact>_retired.
    group_columns text[] NOT NULL CHECK (group_columns[1] IS NOT DISTINCT FROM 'project_id'),
    -- Columns of the facts that are summed, besides counting: x becomes x_sum (numeric) in rollups and <fact>_retired.
    sum_columns   text[] NOT NULL DEFAULT '{}',
    -- Which rollups there are. Each has the group columns, event_count and the sums; all but the total, bucket_start.
    rollups       text[] NOT NULL CHECK (rollups <@ ARRAY['total', 'minute', 'quarter_hour', 'day'])
);
INSERT INTO maintenance.fact_table (fact, group_columns, rollups) VALUES
    ('auth_event', '{project_id,device_type}', '{total,quarter_hour,minute}');

-- The catalogue's row of one fact table; a name that is not in the catalogue is refused.
CREATE FUNCTION maintenance.known_fact_table(fact text) RETURNS maintenance.fact_table
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known maintenance.fact_table;
BEGIN
    SELECT * INTO known FROM maintenance.fact_table AS f WHERE f.fact = known_fact_table.fact;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not a fact table of the catalogue', quote_nullable(fact)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN known;
END
$$;

CREATE FUNCTION maintenance.partition_name(fact text, week date) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN fact || '_' || to_char(week, 'YYYYMMDD');

CREATE FUNCTION maintenance.week_start(week date) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE
    RETURN week::timestamp AT TIME ZONE 'UTC';

-- Locks tables against their writers without making the writers wait long: a writer that arrives while this waits
-- queues behind it, so each attempt is shorter than a writer's own lock_timeout and lets the queue through when it
-- fails. A deadlock is repeated like a timeout. Gives up (lock_not_available) after about 30 seconds.
CREATE FUNCTION maintenance.lock_with_retry(lock_statements text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '150ms'
AS $$
BEGIN
    FOR attempt IN 1..100 LOOP
        BEGIN
            EXECUTE lock_statements;
            RETURN;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.1 + 0.1 * random());
        END;
    END LOOP;
    RAISE EXCEPTION 'a long transaction is in the way of maintenance; try later' USING ERRCODE = 'lock_not_available';
END
$$;

-- The two functions below run with their owner's rights (SECURITY DEFINER) and a pinned search_path: the caller may
-- create and retire partitions of the catalogue's fact tables, and nothing else. Per fact table, one call at a time.

-- Creates the partition of the week that begins on the given Monday. Returns how many rows of that week were in the
-- default partition and are now in their own, or NULL when the partition exists already.
CREATE FUNCTION maintenance.create_partition(fact text, week date) RETURNS bigint
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
    move_rows    CONSTANT text        := format(
        'WITH gone AS (DELETE FROM %s WHERE received_at >= %L AND received_at < %L RETURNING *) '
        'INSERT INTO %s SELECT * FROM gone', default_rows, starts, ends, partition);
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
CREATE FUNCTION maintenance.retire_partition(fact text, week date) RETURNS bigint
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
    sums         CONSTANT text := (
        SELECT concat('count(*) AS event_count',
                      string_agg(format(', coalesce(sum(%I::text::numeric), 0) AS %I', c, c || '_sum'), ''))
          FROM unnest(known.sum_columns) AS c);
    sum_names    CONSTANT text := (
        SELECT concat('event_count', string_agg(format(', %I', c || '_sum'), '')) FROM unnest(known.sum_columns) AS c);
    additions    CONSTANT text := (
        SELECT concat('event_count = r.event_count + excluded.event_count',
                      string_agg(format(', %1$I = r.%1$I + excluded.%1$I', c || '_sum'), ''))
          FROM unnest(known.sum_columns) AS c);
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

-- What follows is for release 0.1.0 alone, whose processes run beside this schema during an upgrade. The release after
-- this one drops it, and may make (project_id, kind, key) the primary key of idempotency.

-- Its `maintain` and `migrate` know auth_event only.
CREATE FUNCTION maintenance.make_week(week date) RETURNS bigint
    LANGUAGE sql
    RETURN maintenance.create_partition('auth_event', week);
CREATE FUNCTION maintenance.retire_week(week date) RETURNS bigint
    LANGUAGE sql
    RETURN maintenance.retire_partition('auth_event', week);

-- It stores the answer of a batch under the client's key alone. A copy of the row under kind auth_events/batch lets
-- the processes of this release find it. When one of them has recorded a batch under that key already, 0.1.0 takes the
-- error for contention: it rolls back, and answers 503 not-recorded until the client's repeat meets this release.
CREATE FUNCTION maintenance.copy_batch_key() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.idempotency (project_id, kind, key, event_id, received_at, created_at, answer)
    VALUES (new.project_id, 'auth_events/batch', 'auth_events/batch' || chr(31) || new.key,
            new.event_id, new.received_at, new.created_at, new.answer)
        ON CONFLICT (project_id, key) DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this batch is recorded already' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER idempotency_copy_batch_key
    AFTER UPDATE OF answer ON idempotency
    FOR EACH ROW WHEN (new.kind = 'auth_events' AND new.answer IS NOT NULL)
    EXECUTE FUNCTION maintenance.copy_batch_key();

-- 6. Grants: "only the private service writes" is a right, not a promise

-- The public service: the views, and nothing else.
GRANT USAGE ON SCHEMA stats TO stats_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA stats TO stats_reader;

-- The private service: facts are inserted, never changed; a week is dropped by retire_partition alone.
GRANT USAGE ON SCHEMA stats, maintenance TO registration_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA stats TO registration_writer;
GRANT SELECT, INSERT ON auth_event TO registration_writer;
GRANT SELECT ON auth_event_default, auth_event_retired TO registration_writer;
GRANT SELECT, INSERT, UPDATE ON auth_event_total, auth_event_quarter_hour TO registration_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth_event_minute TO registration_writer;
GRANT SELECT, INSERT, UPDATE (answer), DELETE ON idempotency TO registration_writer;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA maintenance FROM PUBLIC;
GRANT SELECT ON maintenance.fact_table TO registration_writer;
GRANT EXECUTE ON FUNCTION
    maintenance.create_partition(text, date), maintenance.retire_partition(text, date),
    maintenance.make_week(date), maintenance.retire_week(date) TO registration_writer;
