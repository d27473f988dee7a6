"""Who opens how many connections to PostgreSQL at most, and whether the server has as many."""

import re
from typing import NamedTuple

from device_registration_api.exports.connect import CONNECTIONS_MAX as OF_EXPORTS
from device_registration_api.personal.connect import CONNECTIONS_MAX
from device_registration_api.schema.roles import READER_CONNECTION_SHARE_MAX
from tests.deploy.rendering import Document, environment, named, of_kind, pods

SUPERUSER_RESERVED = 3
# And a handful for operators with psql.
RESERVED = SUPERUSER_RESERVED + 10
# Beside its pool, a process of the private service has those of `personal` and `keyring`, a connection for the peppers,
# and the pool of exports; one of the public service listens for changes of keys.
BESIDE_THE_POOL = {"device-registration-api": 2 * CONNECTIONS_MAX + 1 + OF_EXPORTS, "statistics-api": 1}


class Share(NamedTuple):
    """One line of the table."""

    who: str
    processes: str
    each: int
    connections: int


def shares(documents: list[Document]) -> list[Share]:
    """Every user of the database at its largest: in a roll-out as many pods leave as there are."""
    table: list[Share] = []
    for pod in pods(documents):
        own = environment(pod.spec["containers"][0])
        spec = named(documents, "Deployment", pod.name)["spec"] if pod.kind == "Deployment" else {}
        if "replicas" in spec:
            # A process that works by itself, on one connection.
            most, surge = int(spec["replicas"]), int(spec["strategy"]["rollingUpdate"]["maxSurge"])
            table.append(Share(pod.name, f"{most} + {surge} surge + {most} leaving", 1, 2 * most + surge))
        elif pod.kind == "Deployment":
            most = int(named(documents, "HorizontalPodAutoscaler", pod.name)["spec"]["maxReplicas"])
            surge = int(spec["strategy"]["rollingUpdate"]["maxSurge"])
            workers = int(own.get("WORKERS", {"value": 1})["value"])
            pool = int(own["DB_CONNECTIONS_MAX"]["value"]) + BESIDE_THE_POOL.get(pod.name, 0)
            pieces = f"({most} + {surge} surge + {most} leaving) x {workers} worker"
            table.append(Share(pod.name, pieces, pool, (2 * most + surge) * workers * pool))
        elif pod.kind in {"Job", "CronJob"}:
            # pg_dump, maintain and verify-counts hold one; migrate one for roles and one for the schema.
            table.append(Share(pod.name, "1", 2, 2))
    by_hand = Share("restore-drill, by hand", "2", 2, 4)
    return [*table, by_hand, Share("operators, superuser", "reserve", RESERVED, RESERVED)]


def limit(documents: list[Document]) -> int:
    """What the server admits."""
    for server in of_kind(documents, "StatefulSet"):
        said = " ".join(server["spec"]["template"]["spec"]["containers"][0]["args"])
        found = re.search(r"max_connections=(\d+)", said)
        return int(found[1]) if found else 100
    [said_elsewhere] = {each["data"].get("DB_MAX_CONNECTIONS", "") for each in of_kind(documents, "ConfigMap")} - {""}
    return int(said_elsewhere)


def table(documents: list[Document]) -> str:
    """The arithmetic, for a terminal."""
    rows = shares(documents)
    lines = [f"{each.who:<26}{each.processes:>44}{each.each:>6}{each.connections:>6}" for each in rows]
    total = sum(each.connections for each in rows)
    head = f"{'who':<26}{'processes':>44}{'each':>6}{'all':>6}"
    return "\n".join([head, *lines, f"{'together':<76}{total:>6}", f"{'max_connections':<76}{limit(documents):>6}"])


def too_many(documents: list[Document]) -> list[str]:
    """One sentence if the server can be asked for more than it has."""
    total = sum(each.connections for each in shares(documents))
    return [f"{total} connections, {limit(documents)} admitted"] if total > limit(documents) else []


def starved(documents: list[Document]) -> list[str]:
    """The limit of the public login is enough for its service, and leaves the private one its full number of pods."""
    reader = int(limit(documents) * READER_CONNECTION_SHARE_MAX)
    said = [
        f"{each.who} may need {each.connections} connections, and its login gets {reader}"
        for each in shares(documents)
        if each.who == "statistics-api" and each.connections > reader
    ]
    [writer] = [each.each for each in shares(documents) if each.who == "device-registration-api"]
    most = int(named(documents, "HorizontalPodAutoscaler", "device-registration-api")["spec"]["maxReplicas"])
    left = limit(documents) - SUPERUSER_RESERVED - reader
    # `maintain` and `webhooks` have the same login.
    needed = most * writer + 2 + int(named(documents, "Deployment", "webhooks")["spec"]["replicas"])
    if needed > left:
        said.append(f"the private service needs {needed} connections, and the other login leaves {left}")
    return said
