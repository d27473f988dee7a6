"""Raw rows of API requests newest first, distinct consumers, dropped events, and a retention of each project.

Release 0.1.0 runs beside this revision during an upgrade, and reads nothing of it. Its facts are not touched. The table
of projects has a handful of rows, so its lock is held for milliseconds. No release has written API requests yet.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

RETIRING_FUNCTIONS = r"""
-- Deletes the oldest facts of a project that are older than its retention_days, at most rows_max of them, and adds
-- their sums to <fact>_retired. Returns how many they were, or NULL when the project keeps its facts. Three days are
-- kept at least: a repeat within 48 hours gets the stored row of its first request.
CREATE FUNCTION maintenance.retire_rows(fact text, project_id int, rows_max int) RETURNS bigint
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
        '    SELECT received_at, event_id FROM public.%1$I '
        '     WHERE project_id = %2$L AND received_at < %3$L ORDER BY received_at, event_id LIMIT %4$L) AS oldest '
        ' WHERE f.project_id = %2$L AND f.received_at < %3$L '
        '   AND f.received_at = oldest.received_at AND f.event_id = oldest.event_id RETURNING f.*',
        known.fact, project_id, bound, rows_max));
END
$$;
"""


def upgrade() -> None:
    """The functions first: what retires facts stays whole."""
    op.execute(RETIRING_FUNCTIONS)
    op.execute(r"""
REVOKE EXECUTE ON FUNCTION maintenance.retire_rows(text, int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION maintenance.retire_rows(text, int, int) TO registration_writer;

ALTER TABLE maintenance.fact_table ADD COLUMN presence_column text;
UPDATE maintenance.fact_table SET presence_column = 'consumer' WHERE fact = 'api_request';

ALTER TABLE project ADD COLUMN presence_key bytea NOT NULL DEFAULT uuid_send(gen_random_uuid());
COMMENT ON COLUMN project.presence_key IS
    'Part of each digest in <fact>_presence, so the digests of two projects have nothing in common. Never changed.';

ALTER TABLE api_request ADD COLUMN ip_hash bytea CHECK (octet_length(ip_hash) = 16);
COMMENT ON COLUMN api_request.user_agent IS
    'May be personal data. Shown with its row, never counted by. Leaves with the row after RETENTION_DAYS, or the '
    'project''s retention_days.';
COMMENT ON COLUMN api_request.consumer IS
    'A pseudonym chosen by the client, which may be personal data. Shown with its row; distinct consumers are counted '
    'by a digest. Leaves with the row after RETENTION_DAYS, or the project''s retention_days.';
COMMENT ON COLUMN api_request.ip_hash IS
    'HMAC-SHA256, cut to 16 bytes, of the client address under a key of the day (UTC) that is forgotten after 48 '
    'hours. NULL: no address was sent, or there was no key. The address is stored nowhere.';
-- Serves the newest rows of a project. Without event_id: rows of one instant, such as those of a batch without times,
-- share one entry, and a reader sorts them.
CREATE INDEX api_request_occurred_at ON api_request (project_id, occurred_at);

-- Who was present on which day. Exact numbers of different ones follow for any range of days: of those present in
-- [a, b), each one's first day there is the only one whose previous day is before a. So they are
--     sum(present_count) over a <= day < b AND previous_day < a,
-- and those with previous_day = -infinity are new. A day is the one that it was in the project's time zone when the
-- event was stored. Segment 0 has all events; other segments are parts of them that the kind declares.
CREATE TABLE api_request_presence (
    project_id   int   NOT NULL,
    segment      int   NOT NULL CHECK (segment >= 0),
    digest       bytea NOT NULL CHECK (octet_length(digest) = 16),
    day          date  NOT NULL,
    previous_day date  NOT NULL CHECK (previous_day < day),
    PRIMARY KEY (project_id, segment, digest, day)
);
COMMENT ON COLUMN api_request_presence.digest IS
    'Personal data: SHA-256 of the project''s presence_key and the consumer, cut to 16 bytes. Whoever has both tables '
    'and guesses the consumer finds it. In no view, and kept as long as the project: the next day counts from it.';
-- A slot may have less than nothing, when another slot had counted what it moves; the sum of the slots is exact.
CREATE TABLE api_request_distinct (
    project_id    int      NOT NULL,
    segment       int      NOT NULL,
    day           date     NOT NULL,
    previous_day  date     NOT NULL,
    slot          smallint NOT NULL CHECK (slot BETWEEN 0 AND 15),
    present_count bigint   NOT NULL,
    PRIMARY KEY (project_id, segment, day, previous_day, slot)
) WITH (fillfactor = 70);

-- What clients dropped before it reached us, by the quarter of an hour of the batch that told of it.
CREATE TABLE dropped_event (
    project_id    int         NOT NULL,
    kind          text        NOT NULL CHECK (char_length(kind) BETWEEN 1 AND 64),
    bucket_start  timestamptz NOT NULL
        CHECK (bucket_start = date_bin('15 minutes', bucket_start, '2000-01-01 00:00:00+00')),
    dropped_count bigint      NOT NULL CHECK (dropped_count >= 0),
    PRIMARY KEY (project_id, kind, bucket_start)
);

-- What `maintain` did last with the raw rows of a project, and what is left of them.
CREATE TABLE project_retention (
    project_id         int         NOT NULL,
    fact               text        NOT NULL,
    retention_days     int,
    ran_at             timestamptz NOT NULL,
    deleted_rows       bigint      NOT NULL CHECK (deleted_rows >= 0),
    kept_rows          bigint      NOT NULL,
    oldest_received_at timestamptz,
    PRIMARY KEY (project_id, fact)
);
COMMENT ON COLUMN project_retention.deleted_rows IS 'By the retention of the project itself, all runs together.';
COMMENT ON COLUMN project_retention.retention_days IS
    'The shorter one of the project''s and RETENTION_DAYS; NULL: for ever.';
COMMENT ON COLUMN project_retention.oldest_received_at IS 'NULL: there is no row.';

-- A range of occurred_at opens the partitions of all weeks unless received_at has bounds, too: an event is received
-- from 5 minutes before to 30 days after it happened.
CREATE VIEW stats.api_request AS
    SELECT project_id, received_at, event_id, occurred_at, endpoint_id, url_path, method, status_code, response_us,
           user_agent, consumer, encode(ip_hash, 'hex') AS ip_hash
      FROM api_request;
CREATE VIEW stats.api_request_distinct AS
    SELECT project_id, segment, day, previous_day, present_count FROM api_request_distinct;
CREATE VIEW stats.dropped_event AS
    SELECT project_id, kind, bucket_start, dropped_count FROM dropped_event;
CREATE VIEW stats.project_retention AS
    SELECT project_id, fact, retention_days, ran_at, deleted_rows, kept_rows, oldest_received_at FROM project_retention;

GRANT SELECT ON
    stats.api_request, stats.api_request_distinct, stats.dropped_event, stats.project_retention
    TO stats_reader, registration_writer;
GRANT SELECT, INSERT, UPDATE ON
    api_request_presence, api_request_distinct, dropped_event, project_retention TO registration_writer;
    """)


def downgrade() -> None:
    """Who was present when, what clients dropped and hashes of addresses are lost; events and their counts stay."""
    op.execute(r"""
DROP VIEW stats.api_request, stats.api_request_distinct, stats.dropped_event, stats.project_retention;
DROP TABLE api_request_presence, api_request_distinct, dropped_event, project_retention;
DROP INDEX api_request_occurred_at;
ALTER TABLE api_request DROP COLUMN ip_hash;
COMMENT ON COLUMN api_request.user_agent IS NULL;
COMMENT ON COLUMN api_request.consumer IS NULL;
ALTER TABLE project DROP COLUMN presence_key;
ALTER TABLE maintenance.fact_table DROP COLUMN presence_column;
    """)
    op.execute("DROP FUNCTION maintenance.retire_rows(text, int, int)")
