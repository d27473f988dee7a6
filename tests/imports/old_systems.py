"""Databases as the four systems make them: their tables, written for these tests from their published schemas."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extras import execute_values

from tests.servers import Cluster

# The rows of these tests are older than events are kept by default.
FOR_EVER = {"RETENTION_DAYS": "0"}

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


@contextmanager
def old_database(cluster: Cluster, *tables: str) -> Iterator[str]:
    """The URL of a new database with these tables."""
    with cluster.new_database() as name:
        url = cluster.admin_url(name)
        execute(url, *tables)
        yield url


def execute(url: str, *statements: str) -> None:
    """Run statements in the database of a system."""
    with closing(psycopg2.connect(url)) as conn, conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def insert(url: str, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows: `statement` has one %s after VALUES."""
    with closing(psycopg2.connect(url)) as conn, conn, conn.cursor() as cursor:
        execute_values(cursor, statement, rows)
