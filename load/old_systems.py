"""Databases as the four systems that an import reads make them: their tables, written from their published schemas."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

DEVICE_STATISTICS_API = """
    CREATE TABLE device_registrations (
        id serial PRIMARY KEY,
        user_key varchar(255) NOT NULL,
        device_type varchar(50) NOT NULL,
        created_at timestamp DEFAULT CURRENT_TIMESTAMP);
    CREATE INDEX ON device_registrations (device_type);
"""

API_ANALYTICS = """
    CREATE TYPE http_method_enum AS ENUM
        ('CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE');
    CREATE TABLE users (
        id serial PRIMARY KEY, email varchar NOT NULL UNIQUE, hashed_password varchar NOT NULL, full_name varchar,
        is_active boolean NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz);
    CREATE TABLE projects (
        id serial PRIMARY KEY, name varchar(100) NOT NULL, project_key varchar(104) NOT NULL UNIQUE,
        description varchar(1000), user_id int NOT NULL REFERENCES users, is_active boolean NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz, UNIQUE (user_id, name));
    CREATE TABLE api_keys (
        id serial PRIMARY KEY, key_hash varchar(64) NOT NULL UNIQUE, key_prefix varchar(20) NOT NULL,
        name varchar(255) NOT NULL, project_id int NOT NULL REFERENCES projects, expires_at timestamptz NOT NULL,
        last_used_at timestamptz, is_active boolean NOT NULL, total_requests int NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz);
    CREATE TABLE metrics (
        id serial PRIMARY KEY, project_id int NOT NULL REFERENCES projects, url_path varchar NOT NULL,
        method http_method_enum NOT NULL, response_status_code int NOT NULL, response_time_ms float8 NOT NULL,
        timestamp timestamptz NOT NULL DEFAULT now(), user_agent varchar, ip_hash varchar);
"""

STATICTICS_SERVICE = """
    CREATE TABLE users (id serial PRIMARY KEY, username varchar NOT NULL UNIQUE, email varchar NOT NULL UNIQUE);
    CREATE TABLE devices (
        id serial PRIMARY KEY, device_id varchar NOT NULL UNIQUE, name varchar, user_id int REFERENCES users);
    CREATE TABLE stats (
        id serial PRIMARY KEY, device_id int NOT NULL REFERENCES devices, timestamp timestamp NOT NULL,
        x float8 NOT NULL, y float8 NOT NULL, z float8 NOT NULL);
"""
# Three services, each with a database; they may share one.
STORES_GATEWAY = """
    CREATE TABLE consumers (id serial PRIMARY KEY, name varchar, is_active boolean, is_admin boolean);
    CREATE TABLE api_keys (key varchar PRIMARY KEY, owner_id int REFERENCES consumers);
"""
STORES_USERS = """
    CREATE TABLE "user" (
        id uuid PRIMARY KEY, username varchar(100), email varchar(100), first_name varchar(300),
        last_name varchar(300), phone int, store_id int);
"""
STORES_EVENTS = """
    CREATE TABLE events (
        id serial PRIMARY KEY, type varchar, store_id int, user_id varchar, created_at timestamp, data json);
"""


@dataclass(frozen=True)
class OldSystem:
    """One system. `fact` is our table of its events, which are in the last table that its importer reads."""

    tables: str
    fact: str
    fill: str

    def statements(self, events: int) -> tuple[str, str]:
        """What makes its tables, and fills them with events of 90 days and with what they belong to."""
        return self.tables, self.fill.replace("ROWS", str(events))


OLD_SYSTEMS: Mapping[str, OldSystem] = MappingProxyType(
    {
        "device-statistics-api": OldSystem(
            DEVICE_STATISTICS_API,
            "auth_event",
            """
            INSERT INTO device_registrations (user_key, device_type, created_at)
            SELECT 'user-' || n % 50000, (ARRAY['iOS', 'Android', 'TV', 'Watch'])[1 + n % 4],
                   timestamp '2024-01-01' + n * interval '90 days' / ROWS
              FROM generate_series(1, ROWS) AS n
            """,
        ),
        "statictics-service": OldSystem(
            STATICTICS_SERVICE,
            "measurement",
            """
            INSERT INTO users (username, email) SELECT 'user-' || n, 'user-' || n || '@devices.example.com'
              FROM generate_series(1, 500) AS n;
            INSERT INTO devices (device_id, name, user_id) SELECT 'device-' || n, 'Device', 1 + n % 500
              FROM generate_series(1, 1000) AS n;
            INSERT INTO stats (device_id, timestamp, x, y, z)
            SELECT 1 + n % 1000, timestamp '2024-01-01' + n * interval '90 days' / ROWS, n * 0.1, -n, 1e-9
              FROM generate_series(1, ROWS) AS n
            """,
        ),
        "api-analytics": OldSystem(
            API_ANALYTICS,
            "api_request",
            """
            INSERT INTO users (email, hashed_password, is_active)
            SELECT 'user-' || n || '@requests.example.com',
                   '$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$' || repeat('a', 43), true
              FROM generate_series(1, 10) AS n;
            INSERT INTO projects (name, project_key, user_id, is_active) SELECT 'Project', 'project-' || n, n, true
              FROM generate_series(1, 10) AS n;
            INSERT INTO api_keys (key_hash, key_prefix, name, project_id, expires_at, is_active, total_requests)
            SELECT encode(sha256(n::text::bytea), 'hex'), 'sk_live_', 'key', n, '2999-01-01', true, 0
              FROM generate_series(1, 10) AS n;
            INSERT INTO metrics (project_id, url_path, method, response_status_code, response_time_ms, timestamp,
                                 user_agent)
            SELECT 1 + n % 10, '/orders/' || n % 50, (ARRAY['GET', 'POST'])[1 + n % 2]::http_method_enum,
                   (ARRAY[200, 201, 404, 500])[1 + n % 4], n % 1000 + 0.5,
                   timestamptz '2024-01-01Z' + n * interval '90 days' / ROWS, 'client/1.0'
              FROM generate_series(1, ROWS) AS n
            """,
        ),
        "store-user-statistics": OldSystem(
            STORES_GATEWAY + STORES_USERS + STORES_EVENTS,
            "store_event",
            """
            INSERT INTO consumers (name, is_active, is_admin) SELECT 'Store', true, false
              FROM generate_series(1, 10) AS n;
            INSERT INTO api_keys SELECT 'key-of-store-' || n, n FROM generate_series(1, 10) AS n;
            INSERT INTO "user" (id, username, email, store_id)
            SELECT md5(n::text)::uuid, 'user-' || n, 'user-' || n || '@stores.example.com', 1 + n % 10
              FROM generate_series(1, 1000) AS n;
            -- Each store has a hundred users, and as many whom it knows by a text alone.
            INSERT INTO events (type, store_id, user_id, created_at, data)
            SELECT (ARRAY['view', 'purchase'])[1 + n % 2], 1 + n % 10,
                   CASE WHEN n % 20 < 18 THEN md5((1 + n % 1000)::text) ELSE 'customer ' || n % 1000 END,
                   timestamp '2024-01-01' + n * interval '90 days' / ROWS,
                   json_build_object('amount', n % 100, 'of', 'basket')
              FROM generate_series(1, ROWS) AS n
            """,
        ),
    }
)
