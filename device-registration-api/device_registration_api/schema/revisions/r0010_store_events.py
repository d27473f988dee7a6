"""Store events, their types and amounts by day, and who was present.

Release 0.1.0 runs beside this revision during an upgrade, and reads nothing of it. No table that exists is touched.
"""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """New tables alone, and their row in the catalogue."""
    op.execute(r"""
-- Events of a store's users. A type has a number, and an event a number of its own that clients know it by: of one
-- sequence, and small enough for a double. A repeat of the private service takes one without using it.
CREATE SEQUENCE store_event_number MAXVALUE 9007199254740991;
CREATE TABLE store_event (
    project_id   int         NOT NULL,
    received_at  timestamptz NOT NULL,
    event_id     uuid        NOT NULL,
    occurred_at  timestamptz NOT NULL,
    type_id      int         NOT NULL CHECK (type_id > 0),
    person_id    uuid        NOT NULL,
    data         jsonb       NOT NULL CHECK (jsonb_typeof(data) = 'object'),
    event_number bigint      NOT NULL DEFAULT nextval('store_event_number')
        CHECK (event_number BETWEEN 1 AND 9007199254740991),
    commit_xid   bigint      NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    PRIMARY KEY (project_id, received_at, event_id)
) PARTITION BY RANGE (received_at);
COMMENT ON COLUMN store_event.person_id IS
    'A person of the project. Personal data as long as the person is stored elsewhere; distinct persons are counted by '
    'a digest.';
COMMENT ON COLUMN store_event.data IS
    'What the client sent, which may be personal data. Never counted by, in no view, and it leaves with the row.';
CREATE INDEX store_event_commit_xid ON store_event USING brin (commit_xid);
-- Serves the events of one person: to show them to that person, and to delete them.
CREATE INDEX store_event_person_id ON store_event (project_id, person_id);
CREATE TABLE store_event_default PARTITION OF store_event DEFAULT;

-- The types of a project's store events, numbered from 1 in the order of their first event. Assigned under an advisory
-- lock of the project, and never changed.
CREATE TABLE event_type (
    project_id int  NOT NULL,
    type_id    int  NOT NULL CHECK (type_id > 0),
    type       text NOT NULL CHECK (char_length(type) BETWEEN 1 AND 100),
    PRIMARY KEY (project_id, type_id),
    UNIQUE (project_id, type)
);

-- Store events by day. A day is the one that it was in the project's time zone when the event was stored, as that of a
-- presence is: so both are divided by each other.
CREATE TABLE store_event_day (
    project_id   int      NOT NULL,
    type_id      int      NOT NULL,
    bucket_start date     NOT NULL,
    slot         smallint NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count  bigint   NOT NULL CHECK (event_count >= 0),
    PRIMARY KEY (project_id, type_id, bucket_start, slot)
) WITH (fillfactor = 70);
-- Those of all types.
CREATE TABLE store_event_all_day (
    project_id   int      NOT NULL,
    bucket_start date     NOT NULL,
    slot         smallint NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count  bigint   NOT NULL CHECK (event_count >= 0),
    PRIMARY KEY (project_id, bucket_start, slot)
) WITH (fillfactor = 70);
CREATE TABLE store_event_retired (
    project_id  int    NOT NULL,
    type_id     int    NOT NULL,
    event_count bigint NOT NULL CHECK (event_count >= 0),
    PRIMARY KEY (project_id, type_id)
);
-- As those of API requests. The segment of an event, besides 0, is its type.
CREATE TABLE store_event_presence (
    project_id   int   NOT NULL,
    segment      int   NOT NULL CHECK (segment >= 0),
    digest       bytea NOT NULL CHECK (octet_length(digest) = 16),
    day          date  NOT NULL,
    previous_day date  NOT NULL CHECK (previous_day < day),
    PRIMARY KEY (project_id, segment, digest, day)
);
COMMENT ON COLUMN store_event_presence.digest IS
    'Personal data as long as the person is stored: SHA-256 of the project''s presence_key and the id of the person, '
    'cut to 16 bytes. In no view, and kept as long as the project: the next day counts from it.';
CREATE TABLE store_event_distinct (
    project_id    int      NOT NULL,
    segment       int      NOT NULL,
    day           date     NOT NULL,
    previous_day  date     NOT NULL,
    slot          smallint NOT NULL CHECK (slot BETWEEN 0 AND 15),
    present_count bigint   NOT NULL,
    PRIMARY KEY (project_id, segment, day, previous_day, slot)
) WITH (fillfactor = 70);

CREATE VIEW stats.event_type AS
    SELECT project_id, type_id, type FROM event_type;
CREATE VIEW stats.store_event_day AS
    SELECT project_id, type_id, bucket_start AS day, event_count FROM store_event_day;
CREATE VIEW stats.store_event_all_day AS
    SELECT project_id, bucket_start AS day, event_count FROM store_event_all_day;
CREATE VIEW stats.store_event_distinct AS
    SELECT project_id, segment, day, previous_day, present_count FROM store_event_distinct;

INSERT INTO maintenance.fact_table (fact, group_columns, rollups, presence_column, rollup_group_columns) VALUES
    ('store_event', '{project_id,type_id}', '{day,all_day}', 'person_id', '{"all_day": ["project_id"]}');

GRANT SELECT ON
    stats.event_type, stats.store_event_day, stats.store_event_all_day, stats.store_event_distinct
    TO stats_reader, registration_writer;
GRANT SELECT, INSERT ON store_event, event_type TO registration_writer;
GRANT USAGE ON SEQUENCE store_event_number TO registration_writer;
GRANT SELECT ON store_event_default, store_event_retired TO registration_writer;
GRANT SELECT, INSERT, UPDATE ON
    store_event_day, store_event_all_day, store_event_presence, store_event_distinct TO registration_writer;
    """)


def downgrade() -> None:
    """Store events are lost, and with them all that was counted of them."""
    op.execute("""
DELETE FROM maintenance.fact_table WHERE fact = 'store_event';
DROP VIEW stats.event_type, stats.store_event_day, stats.store_event_all_day, stats.store_event_distinct;
DROP TABLE store_event, event_type, store_event_day, store_event_all_day, store_event_retired,
    store_event_presence, store_event_distinct;
DROP SEQUENCE store_event_number;
    """)
