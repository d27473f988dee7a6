-- Parcels: facts, rollups, view, catalogue, grants. A kind that is delivered has this in init.sql and in a revision.
CREATE TABLE parcel (
    project_id int NOT NULL, received_at timestamptz NOT NULL, event_id uuid NOT NULL, occurred_at timestamptz NOT NULL,
    code       text  NOT NULL,
    way        text  NOT NULL,
    grams      int   NOT NULL,
    contents   jsonb,
    commit_xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    PRIMARY KEY (project_id, received_at, event_id)
) PARTITION BY RANGE (received_at);
CREATE INDEX parcel_commit_xid ON parcel USING brin (commit_xid);
CREATE TABLE parcel_default PARTITION OF parcel DEFAULT;
CREATE TABLE parcel_total (
    project_id int NOT NULL, way text NOT NULL, slot smallint NOT NULL,
    event_count bigint NOT NULL, grams_sum numeric NOT NULL,
    PRIMARY KEY (project_id, way, slot)
) WITH (fillfactor = 25);
CREATE TABLE parcel_day (
    LIKE parcel_total, bucket_start timestamptz NOT NULL,
    PRIMARY KEY (project_id, way, bucket_start, slot)
) WITH (fillfactor = 70);
CREATE TABLE parcel_retired (
    project_id int NOT NULL, way text NOT NULL, event_count bigint NOT NULL, grams_sum numeric NOT NULL,
    PRIMARY KEY (project_id, way)
);
CREATE VIEW stats.parcel_total AS SELECT project_id, way, event_count, grams_sum FROM parcel_total;
INSERT INTO maintenance.fact_table (fact, group_columns, sum_columns, rollups)
VALUES ('parcel', '{project_id,way}', '{grams}', '{total,day}');
GRANT SELECT ON stats.parcel_total TO stats_reader;
GRANT SELECT, INSERT ON parcel TO registration_writer;
GRANT SELECT ON parcel_default, parcel_retired TO registration_writer;
GRANT SELECT, INSERT, UPDATE ON parcel_total, parcel_day TO registration_writer;
