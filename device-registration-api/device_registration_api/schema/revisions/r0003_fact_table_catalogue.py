"""A catalogue of fact tables, the transaction that stored each fact, and idempotency keys of several kinds.

Release 0.1.0 runs beside this revision during an upgrade. It inserts facts without `commit_xid`, which has a default;
it claims keys with ON CONFLICT (project_id, key), so the primary key stays, and another kind than auth_events is
written in front of the key; it calls make_week and retire_week, which stay as wrappers.

The fingerprint of a batch is computed in another way from now on. So the key of each stored batch is copied to kind
auth_events/batch without a fingerprint: any request under it is a replay. It is a copy, because a process of 0.1.0
looks for the old row; and a trigger does the same for the batches that such a process records from now on.

Writers wait from LOCK to COMMIT, because the new columns need the tables for themselves. Measured on two cores beside
other work, PostgreSQL 18 as `make run` starts it, twice: 1.4 and 1.7 s for the BRIN index of 10,000,000 facts (880 MB),
1.0 and 0.8 s for the checks of 1,000,000 keys, 2.9 and 1.9 s for the copies of 100,000 batches' keys; milliseconds for
the rest. Release 0.1.0 waits for about 2.5 s, five times its lock_timeout, and then answers 503 not-recorded.
"""

from alembic import op

from device_registration_api.schema.revisions.r0001_facts_and_totals import WEEK_FUNCTIONS

revision = "0003"
down_revision = "0002"


# Revision 0005 puts them back when it is taken back.
PARTITION_FUNCTIONS = r"""
-- The two functions below run with their owner's rights (SECURITY DEFINER) and a pinned search_path: the caller may
-- create and retire partitions of the catalogue's fact tables, and nothing else. Per fact table, one call at a time.

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
"""


def upgrade() -> None:
    """The functions first: writers do not wait for them."""
    op.execute(r"""
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
    """)
    op.execute(PARTITION_FUNCTIONS)
    op.execute(r"""
-- What follows is for release 0.1.0 alone, whose processes run beside this schema during an upgrade. The release after
-- this one drops it, and may make (project_id, kind, key) the primary key of idempotency.

-- Its `maintain` and `migrate` know auth_event only.
CREATE OR REPLACE FUNCTION maintenance.make_week(week date) RETURNS bigint
    LANGUAGE sql
    RETURN maintenance.create_partition('auth_event', week);
CREATE OR REPLACE FUNCTION maintenance.retire_week(week date) RETURNS bigint
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

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA maintenance FROM PUBLIC;
GRANT SELECT ON maintenance.fact_table TO registration_writer;
GRANT EXECUTE ON FUNCTION
    maintenance.create_partition(text, date), maintenance.retire_partition(text, date) TO registration_writer;
    """)
    op.execute(r"""
-- In the order in which a writer locks them, and without making it wait while another transaction is in the way.
SELECT maintenance.lock_with_retry('LOCK TABLE public.idempotency, public.auth_event IN ACCESS EXCLUSIVE MODE');

-- A constant default rewrites no row; the rows that are there keep it.
ALTER TABLE auth_event ADD COLUMN commit_xid bigint NOT NULL DEFAULT 0;
ALTER TABLE auth_event ALTER COLUMN commit_xid SET DEFAULT pg_current_xact_id()::text::bigint;
COMMENT ON COLUMN auth_event.commit_xid IS
    'The transaction that stored the row; 0 for rows from before this column. A reader that stops at '
    'pg_snapshot_xmin(pg_current_snapshot()) and goes on from there never skips a row that was committed late.';
CREATE INDEX auth_event_commit_xid ON auth_event USING brin (commit_xid);
-- A week's partition is made with the comments of its parent.
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid::regclass FROM pg_inherits
                      WHERE inhparent = 'auth_event'::regclass AND inhrelid <> 'auth_event_default'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.commit_xid IS %L', partition,
                       col_description('auth_event'::regclass, (
                           SELECT attnum FROM pg_attribute
                            WHERE attrelid = 'auth_event'::regclass AND attname = 'commit_xid')));
    END LOOP;
END
$$;

-- One statement, so that the checks are made in one pass.
ALTER TABLE idempotency
    ADD COLUMN kind text NOT NULL DEFAULT 'auth_events'
        CONSTRAINT idempotency_kind_check CHECK (char_length(kind) BETWEEN 1 AND 64),
    ADD CONSTRAINT idempotency_key_names_kind CHECK (kind = 'auth_events' OR starts_with(key, kind || chr(31))),
    DROP CONSTRAINT idempotency_key_check,
    ADD CONSTRAINT idempotency_key_check CHECK (char_length(key) BETWEEN 1 AND 320),
    ALTER COLUMN body_sha256 DROP NOT NULL;
COMMENT ON COLUMN idempotency.kind IS 'What the key identifies; a batch''s own key is another kind than its events''.';
COMMENT ON COLUMN idempotency.body_sha256 IS 'The fingerprint of the request. NULL: any request is a repeat of it.';
COMMENT ON COLUMN idempotency.answer IS 'What a batch was answered; NULL for a single event.';
CREATE TRIGGER idempotency_copy_batch_key
    AFTER UPDATE OF answer ON idempotency
    FOR EACH ROW WHEN (new.kind = 'auth_events' AND new.answer IS NOT NULL)
    EXECUTE FUNCTION maintenance.copy_batch_key();
INSERT INTO idempotency (project_id, kind, key, event_id, received_at, created_at, answer)
SELECT project_id, 'auth_events/batch', 'auth_events/batch' || chr(31) || key, event_id, received_at, created_at, answer
  FROM idempotency
 WHERE answer IS NOT NULL;

DROP FUNCTION maintenance.lock_patiently(text), maintenance.week_name(date);
    """)


def downgrade() -> None:
    """Which transaction stored a fact is lost. A batch recorded by the newer release is refused when it is repeated
    (its fingerprint is unknown to the older one), and not recorded twice.
    """
    op.execute(r"""
SELECT maintenance.lock_with_retry('LOCK TABLE public.idempotency, public.auth_event IN ACCESS EXCLUSIVE MODE');

DROP TRIGGER idempotency_copy_batch_key ON idempotency;
-- The fingerprint of an empty body, which no request has.
INSERT INTO idempotency (project_id, key, body_sha256, event_id, received_at, created_at, answer)
SELECT project_id, substr(key, char_length(kind) + 2), sha256(''), event_id, received_at, created_at, answer
  FROM idempotency
 WHERE kind = 'auth_events/batch'
    ON CONFLICT (project_id, key) DO NOTHING;
DELETE FROM idempotency WHERE kind <> 'auth_events';
ALTER TABLE idempotency
    DROP CONSTRAINT idempotency_key_names_kind,
    DROP CONSTRAINT idempotency_key_check,
    ADD CONSTRAINT idempotency_key_check CHECK (char_length(key) BETWEEN 1 AND 255),
    DROP COLUMN kind,
    ALTER COLUMN body_sha256 SET NOT NULL;
COMMENT ON COLUMN idempotency.body_sha256 IS NULL;
COMMENT ON COLUMN idempotency.answer IS 'What a batch was answered; NULL for a single event: all get the same.';
ALTER TABLE auth_event DROP COLUMN commit_xid;

DROP FUNCTION maintenance.copy_batch_key(), maintenance.make_week(date), maintenance.retire_week(date),
    maintenance.create_partition(text, date), maintenance.retire_partition(text, date),
    maintenance.lock_with_retry(text), maintenance.partition_name(text, date), maintenance.known_fact_table(text);
DROP TABLE maintenance.fact_table;
    """)
    op.execute(WEEK_FUNCTIONS)
    op.execute("""
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA maintenance FROM PUBLIC;
GRANT EXECUTE ON FUNCTION maintenance.make_week(date), maintenance.retire_week(date) TO registration_writer;
    """)
