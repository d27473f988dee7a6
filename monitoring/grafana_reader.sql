-- The login of Grafana's board of counts. It reads counts, and names of projects; no key, no digest, no person, no
-- device, no event. Run it as an administrator, and again after an upgrade that says so; it may be run at any time:
--   psql -v password='a password of your own' -d device_statistics -f monitoring/grafana_reader.sql
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana_reader') THEN
        CREATE ROLE grafana_reader;
    END IF;
END $$;
ALTER ROLE grafana_reader LOGIN PASSWORD :'password' CONNECTION LIMIT 5;
ALTER ROLE grafana_reader SET default_transaction_read_only = on;
ALTER ROLE grafana_reader SET statement_timeout = '10s';

GRANT CONNECT ON DATABASE :"DBNAME" TO grafana_reader;
GRANT USAGE ON SCHEMA stats TO grafana_reader;
REVOKE ALL ON ALL TABLES IN SCHEMA stats FROM grafana_reader;
GRANT SELECT ON
    stats.auth_event_total, stats.auth_event_quarter_hour,
    stats.api_request_quarter_hour,
    stats.store_event_all_day
    TO grafana_reader;
GRANT SELECT (project_id, name) ON stats.project TO grafana_reader;
