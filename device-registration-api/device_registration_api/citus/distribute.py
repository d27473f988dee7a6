"""Turns a migrated database on a Citus coordinator into a distributed one: facts and identities on the workers, all
else on the coordinator. docs/citus.md says when to do it, docs/decisions/0048-citus.md why it is so.

Each step looks whether it is done, and is a transaction of its own; so a run that was stopped is repeated.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import LiteralString, NamedTuple

from psycopg2 import sql
from psycopg2.extensions import parse_dsn

from device_registration_api.citus.commands import copy_rights, copy_roles, on_all_nodes
from device_registration_api.citus.requirements import check_nodes
from device_registration_api.citus.state import HAS_CITUS, Node, distributed_tables, workers
from device_registration_api.maintenance.catalogue import FactTable, read_fact_tables
from device_registration_api.schema import migrations
from device_registration_api.schema.connect import SESSION_LOCK, CommandError, acquire_lock, connect, database_name
from device_registration_api.schema.roles import OWNER, READER
from device_registration_api.schema.schemas import STATISTICS
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

KEYS = "idempotency"
# A measurement's place is beside its device: the analysis of a period joins its rows to samples of themselves, which
# Citus refuses for rows on several nodes.
STAYING = frozenset({"measurement"})
DATABASE_SETTINGS = {
    # Citus keeps one connection to a worker, and a flush needs one for each shard it meets: it would fork that many
    # processes each time.
    "citus.max_cached_conns_per_worker": "8",
    # Else an INSERT ... SELECT locks each shard until its transaction ends, and flushes wait for each other.
    "citus.enable_deadlock_prevention": "off",
}
# What a commit left in doubt when a worker died keeps its locks until the next recovery; the default is a minute.
RECOVERY = ("citus.recover_2pc_interval", "5s")
# For processes of 0.1.0, which cannot run beside this database any more. A table with triggers is not distributed.
OLD_TRIGGER = "idempotency_copy_batch_key"

GROUP = "SELECT groupid FROM pg_dist_local_group"
COORDINATOR = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid = 0"
SET_COORDINATOR = "SELECT citus_set_coordinator_host(%(host)s, %(port)s)"
ADD_NODE = "SELECT citus_add_node(%(host)s, %(port)s)"
OWNER_CONNECTS = """
    SELECT rolcanlogin AND has_database_privilege(oid, current_database(), 'CONNECT')
      FROM pg_roles WHERE rolname = %(owner)s
"""
HAS_TRIGGER = """
    SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('idempotency') AND tgname = %(trigger)s)
"""
READER_MAY_READ = "SELECT has_table_privilege(%(reader)s, %(table)s, 'SELECT')"
HAS_VIEW = "SELECT to_regclass(format('stats.%%I', %(table)s)) IS NOT NULL"
# Of a table and its partitions on this node; a distributed one has nothing here once it is truncated.
LOCAL_BYTES = """
    SELECT coalesce(sum(pg_relation_size(relid)), 0)::bigint FROM pg_partition_tree(%(table)s) WHERE isleaf
"""
DISTRIBUTE = """
    SELECT create_distributed_table(%(table)s, %(column)s, colocate_with => %(beside)s, shard_count => %(shards)s)
"""
BESIDE = "SELECT create_distributed_table(%(table)s, %(column)s, colocate_with => %(beside)s)"
TRUNCATE_LOCAL = "SELECT truncate_local_data_after_distributing_table(%(table)s)"
DATABASE_SETTING = """
    SELECT coalesce(%(setting)s = ANY (setconfig), false)
      FROM pg_database LEFT JOIN pg_db_role_setting ON setdatabase = pg_database.oid AND setrole = 0
     WHERE datname = current_database()
"""
PLACEMENT = """
    SELECT table_name::text, nodename, nodeport, count(*)
      FROM citus_shards WHERE table_name::text = ANY (%(tables)s)
     GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""

Say = Callable[[str], None]


class Step(NamedTuple):
    """One change. What is not `done` is to be done; None: it is done each time."""

    what: str
    done: bool | None
    work: Callable[[], None]


def distribute(
    url: str,
    say: Say,
    *,
    coordinator: Node | None = None,
    new_workers: Sequence[Node] = (),
    shards: int,
    dry_run: bool = False,
) -> None:
    """Print what is to be done, and do it unless this is a dry run.

    `coordinator` is how the workers reach this server, by default as the URL has it.

    Raises:
        CommandError: the database is not migrated, has no Citus, is no coordinator or has no worker, or the nodes
            cannot be one cluster (`check_nodes`); nothing was changed. Or a node has refused a step.
        psycopg2.Error: the server cannot be reached or lacks a right; completed steps stay.
    """
    with closing(connect(url)) as conn:
        conn.autocommit = True
        _check(conn, database_name(url))
        acquire_lock(conn, SESSION_LOCK, STATISTICS.lock)
        known = workers(conn)
        if not known and not new_workers:
            raise CommandError("there is no worker: name each with --worker HOST:PORT")
        facts = [table for table in read_fact_tables(conn) if table.fact not in STAYING]
        missing = [each for each in dict.fromkeys(new_workers) if each not in known]
        check_nodes(conn, [*known, *missing])
        steps = list(_steps(conn, url, coordinator, missing, facts, shards))
        say("the plan:")
        for step in steps:
            say(f"  {'is done' if step.done else 'to do'}: {step.what}")
        if dry_run:
            say("a dry run: nothing was changed")
            return
        for step in steps:
            if not step.done:
                step.work()
                say(f"done: {step.what}")
        _say_placement(conn, [*(table.fact for table in facts), KEYS], say)


def _check(conn: Connection, database: str) -> None:
    newest = migrations.newest_revision(STATISTICS)
    if (revision := migrations.current_revision(conn)) != newest:
        raise CommandError(
            f"database {database!r} is at revision {revision or 'empty'}, not {newest}: run migrate first"
        )
    if fetch_all(conn, HAS_CITUS, {}, bool) != [True]:
        raise CommandError(
            f"database {database!r} has no extension citus: run CREATE EXTENSION citus in a database of this name on "
            "each node"
        )
    if fetch_all(conn, GROUP, {}, int) != [0]:
        raise CommandError("this node is a worker: DATABASE_URL must name the coordinator")


def _steps(
    conn: Connection,
    url: str,
    coordinator: Node | None,
    new_workers: Sequence[Node],
    facts: Sequence[FactTable],
    shards: int,
) -> Iterator[Step]:
    database = database_name(url)
    yield _coordinator(conn, url, coordinator)
    yield Step(
        f"role {OWNER} may log in, without a password: nodes connect to each other as it",
        fetch_all(conn, OWNER_CONNECTS, {"owner": OWNER}, bool) == [True],
        partial(_let_owner_connect, conn, database),
    )
    for each in new_workers:
        yield Step(f"add worker {each}", False, partial(_call, conn, ADD_NODE, each._asdict()))
    yield Step("give the workers the roles of the coordinator", None, partial(copy_roles, conn))
    [has_trigger] = fetch_all(conn, HAS_TRIGGER, {"trigger": OLD_TRIGGER}, bool)
    yield Step(
        f"drop the trigger {OLD_TRIGGER}, which is for release 0.1.0", not has_trigger, partial(_drop_trigger, conn)
    )
    yield from _tables(conn, facts, shards)
    yield from _reader(conn, facts)
    yield Step("take from PUBLIC on the workers what it has not on the coordinator", None, partial(copy_rights, conn))
    yield from _settings(conn, database)


def _coordinator(conn: Connection, url: str, coordinator: Node | None) -> Step:
    known = fetch_all(conn, COORDINATOR, {}, Node)
    if coordinator is None and not known:
        target = parse_dsn(url)
        coordinator = Node(target.get("host", "localhost"), int(target.get("port", "5432")))
        if coordinator.host.startswith("/"):
            raise CommandError("DATABASE_URL names a socket: say with --coordinator HOST:PORT how workers reach it")
    chosen = coordinator or known[0]
    work = partial(_call, conn, SET_COORDINATOR, chosen._asdict())
    return Step(f"the coordinator is {chosen}", known == [chosen], work)


def _tables(conn: Connection, facts: Sequence[FactTable], shards: int) -> Iterator[Step]:
    there = distributed_tables(conn)
    first = next((table.fact for table in facts if table.fact in there), None)
    for table, column in [*((table.fact, "event_id") for table in facts), (KEYS, "key")]:
        # Facts have the same number of shards, at the same places; keys are apart from them.
        beside = "none" if table == KEYS or first is None else first
        if table != KEYS and first is None:
            first = table
        asked = {"table": table, "column": column, "beside": beside, "shards": shards}
        statement = DISTRIBUTE if beside == "none" else BESIDE
        [size] = fetch_all(conn, LOCAL_BYTES, {"table": table}, int)
        yield Step(
            f"distribute {table} by {column}; its writers wait while {size >> 20} MiB are copied",
            table in there,
            partial(_call, conn, statement, asked),
        )
        yield Step(
            f"remove what was {table} on the coordinator",
            table in there and size == 0,
            partial(_call, conn, TRUNCATE_LOCAL, {"table": table}),
        )


def _reader(conn: Connection, facts: Sequence[FactTable]) -> Iterator[Step]:
    """A view has its owner's rights on its own node alone: the workers ask for those of the reader."""
    for table in facts:
        named = {"reader": READER, "table": table.fact}
        if fetch_all(conn, HAS_VIEW, named, bool) == [True]:
            grant = sql.SQL("GRANT SELECT ON {} TO {}").format(table.table(), sql.Identifier(READER))
            yield Step(
                f"let {READER} read {table.fact}, all of which is in its view",
                fetch_all(conn, READER_MAY_READ, named, bool) == [True],
                partial(_run, conn, grant),
            )


def _settings(conn: Connection, database: str) -> Iterator[Step]:
    for name, value in DATABASE_SETTINGS.items():
        yield Step(
            f"{name} = {value} for this database; sessions have it from their next connection",
            fetch_all(conn, DATABASE_SETTING, {"setting": f"{name}={value}"}, bool) == [True],
            partial(
                _run,
                conn,
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(database), sql.Identifier(*name.split(".")), sql.Literal(value)
                ),
            ),
        )
    name, value = RECOVERY
    yield Step(f"{name} = {value} on each node", None, partial(_set_on_all_nodes, conn, name, value))


def _let_owner_connect(conn: Connection, database: str) -> None:
    owner = sql.Identifier(OWNER)
    _run(conn, sql.SQL("ALTER ROLE {} LOGIN").format(owner))
    _run(conn, sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), owner))


def _drop_trigger(conn: Connection) -> None:
    _run(conn, sql.SQL("DROP TRIGGER {} ON public.idempotency").format(sql.Identifier(OLD_TRIGGER)))


def _set_on_all_nodes(conn: Connection, name: str, value: str) -> None:
    on_all_nodes(conn, f"ALTER SYSTEM SET {name} = '{value}'")
    on_all_nodes(conn, "SELECT pg_reload_conf()")


def _say_placement(conn: Connection, tables: Sequence[str], say: Say) -> None:
    say("shards:")
    for table, host, port, shards in fetch_all(conn, PLACEMENT, {"tables": list(tables)}, lambda *row: row):
        say(f"  {table}: {shards} at {host}:{port}")
    say("a new worker gets shards by `SELECT citus_rebalance_start()` on the coordinator")


def _run(conn: Connection, statement: sql.Composed) -> None:
    execute(conn, statement, {})


def _call(conn: Connection, statement: LiteralString, parameters: dict[str, object]) -> None:
    fetch_all(conn, statement, parameters, lambda *_: None)
