"""What the nodes of a cluster must have, and which of it a node lacks. Looked at before anything is changed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from psycopg2 import sql

from device_registration_api.citus.state import Node
from device_registration_api.schema.connect import CommandError
from servicekit.database import Connection
from servicekit.database.sql import fetch_all

OLDEST_CITUS = 14

REPORT = """
    SELECT json_build_object(
        'citus', (SELECT extversion FROM pg_extension WHERE extname = 'citus'),
        'postgres', current_setting('server_version_num')::int / 10000,
        'prepared_max', current_setting('max_prepared_transactions')::int,
        'sessions_max', current_setting('max_connections')::int,
        'server', (SELECT system_identifier::text FROM pg_control_system()) || ' ' || pg_postmaster_start_time())::text
"""
# Also of nodes that are not added yet: `run_command_on_workers` does the same for those that are.
REPORT_THERE = sql.SQL("""
    SELECT node_name, node_port, success, result
      FROM master_run_on_worker(%(hosts)s, %(ports)s, array_fill({report}::text, ARRAY[%(nodes)s]), false)
""").format(report=sql.Literal(REPORT))


class Report(NamedTuple):
    """What one node says of itself. `citus` is None without the extension in this database; `server` is another for
    each running server, by whatever name it is reached.
    """

    citus: str | None
    postgres: int
    prepared_max: int
    sessions_max: int
    server: str


def check_nodes(conn: Connection, nodes: Sequence[Node]) -> None:
    """Raise CommandError when this server and these workers, added or not, cannot be one cluster."""
    [coordinator] = fetch_all(conn, REPORT, {}, _report)
    asked = {"hosts": [each.host for each in nodes], "ports": [each.port for each in nodes], "nodes": len(nodes)}
    reports: dict[Node, Report] = {}
    for host, port, success, result in fetch_all(conn, REPORT_THERE, asked, lambda *row: row):
        if not success:
            message = f"node {host}:{port}: {result.strip()}"
            raise CommandError(message)
        reports[Node(host, port)] = _report(result)
    if (reason := refusal(coordinator, reports)) is not None:
        raise CommandError(reason)


def refusal(coordinator: Report, workers: Mapping[Node, Report]) -> str | None:
    """Return the first reason why these nodes cannot be one cluster; None when they can."""
    return next(_reasons(coordinator, workers), None)


def _reasons(coordinator: Report, workers: Mapping[Node, Report]) -> Iterator[str]:
    if coordinator.citus is not None and int(coordinator.citus.partition(".")[0]) < OLDEST_CITUS:
        yield f"Citus {OLDEST_CITUS} or newer is needed, and this is {coordinator.citus}"
    seen = {coordinator.server: "the coordinator"}
    for node, report in workers.items():
        if report.server in seen:
            yield f"node {node} is the same server as {seen[report.server]}"
        seen[report.server] = f"node {node}"
        if report.citus is None:
            yield f"node {node} has no extension citus: run CREATE EXTENSION citus there, in the database of this name"
        elif report.citus != coordinator.citus:
            yield f"node {node} has Citus {report.citus}, and the coordinator {coordinator.citus}"
        if report.postgres != coordinator.postgres:
            yield f"node {node} has PostgreSQL {report.postgres}, and the coordinator {coordinator.postgres}"
        # A writing transaction of the coordinator is prepared on each worker that it has changed.
        if report.prepared_max < coordinator.sessions_max:
            yield (
                f"node {node} has max_prepared_transactions = {report.prepared_max}; at least "
                f"{coordinator.sessions_max} are needed, the max_connections of the coordinator"
            )


def _report(text: str) -> Report:
    return Report(**json.loads(text))
