"""Who may talk to whom: every pair that the NetworkPolicies admit, and the pairs that there should be."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from tests.deploy.rendering import Document, named, of_kind, pods

NAME = "app.kubernetes.io/name"
LOAD_BALANCER = ["10.0.48.0/24", "10.0.49.0/24", "10.0.50.0/24"]
CITUS_NODES = ["postgres", "citus-worker"]
BACKUPS = ["backup", "backup-keyring"]
CLIENTS = ["statistics-api", "device-registration-api", "migrate", "maintain", "webhooks", *BACKUPS, "restore-drill"]


class Pair(NamedTuple):
    """One line of the matrix: `pod` takes from, or calls, `peer`."""

    pod: str
    direction: str
    peer: str
    port: str


def _selected(selector: Document) -> list[str]:
    if not selector:
        return ["*"]
    names = selector.get("matchLabels", {}).get(NAME)
    if names:
        return [names]
    [expression] = selector["matchExpressions"]
    if expression["key"] != NAME or expression["operator"] != "In":
        raise ValueError(expression)
    return list(expression["values"])


def _peers(peer: Document) -> list[str]:
    if "ipBlock" in peer:
        excluded = " less private ranges" if peer["ipBlock"].get("except") else ""
        return [peer["ipBlock"]["cidr"] + excluded]
    if "namespaceSelector" in peer:
        labels = {**peer["namespaceSelector"]["matchLabels"], **peer["podSelector"]["matchLabels"]}
        return ["/".join(labels.values())]
    return _selected(peer["podSelector"])


def pairs(documents: list[Document]) -> Iterator[Pair]:
    """Every pair that some policy admits."""
    for policy in of_kind(documents, "NetworkPolicy"):
        spec = policy["spec"]
        for direction, rules, side in (("takes", "ingress", "from"), ("calls", "egress", "to")):
            for rule in spec.get(rules, []):
                ports = [f"{each['protocol']} {each['port']}" for each in rule.get("ports", [])] or ["every port"]
                for pod in _selected(spec["podSelector"]):
                    for peer in rule.get(side, [{"podSelector": {}}]):
                        for name in _peers(peer):
                            for port in ports:
                                yield Pair(pod, direction, name, port)


def expected(*, load_balancer: bool, database_cidr: str | None, to_s3: bool, citus: bool = False) -> set[Pair]:
    """The whole matrix of an installation."""
    whole = {
        Pair("*", "calls", peer, f"{protocol} 53")
        for peer in ("kube-system/kube-dns", "169.254.20.10/32")
        for protocol in ("UDP", "TCP")
    }
    whole |= {
        Pair("device-registration-api", "takes", "statistics-api", "TCP http"),
        Pair("statistics-api", "calls", "device-registration-api", "TCP http"),
    }
    whole |= {Pair("webhooks", "calls", "0.0.0.0/0 less private ranges", f"TCP {port}") for port in (80, 443)}
    if database_cidr is None:
        whole |= {Pair("postgres", "takes", client, "TCP postgres") for client in CLIENTS}
        whole |= {Pair(client, "calls", "postgres", "TCP postgres") for client in CLIENTS}
    else:
        whole |= {Pair(client, "calls", database_cidr, "TCP 5432") for client in CLIENTS}
    if citus:
        for node, peer in itertools.product(CITUS_NODES, CITUS_NODES):
            whole |= {Pair(node, direction, peer, "TCP postgres") for direction in ("takes", "calls")}
        whole |= {Pair("postgres", "takes", "distribute", "TCP postgres")}
        whole |= {Pair("distribute", "calls", "postgres", "TCP postgres")}
    if load_balancer:
        whole |= {Pair("statistics-api", "takes", cidr, "TCP http") for cidr in LOAD_BALANCER}
    if to_s3:
        whole |= {Pair(backup, "calls", "0.0.0.0/0 less private ranges", "TCP 443") for backup in BACKUPS}
        whole |= {Pair(backup, "calls", "169.254.170.23/32", "TCP 80") for backup in BACKUPS}
    return whole


EXPECTED = {
    ".": expected(load_balancer=True, database_cidr=None, to_s3=True),
    "overlays/eks": expected(load_balancer=True, database_cidr=None, to_s3=True),
    "overlays/rds": expected(load_balancer=True, database_cidr="192.0.2.0/24", to_s3=True),
    "overlays/citus": expected(load_balancer=True, database_cidr=None, to_s3=True, citus=True),
    "overlays/local": expected(load_balancer=False, database_cidr=None, to_s3=False),
}


def deviations(documents: list[Document], wanted: set[Pair]) -> list[str]:
    """Pairs too many and pairs too few; and whether everything else is refused at all."""
    found = set(pairs(documents))
    said = [f"too much: {' '.join(pair)}" for pair in sorted(found - wanted)]
    said += [f"missing: {' '.join(pair)}" for pair in sorted(wanted - found)]
    deny = named(documents, "NetworkPolicy", "default-deny")["spec"]
    if deny != {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}:
        said.append("nothing is refused by default")
    known = {pod.labels[NAME] for pod in pods(documents)} | {"restore-drill"}
    said += [f"nobody is called {pair.pod}" for pair in sorted(found) if pair.pod not in known | {"*"}]
    return said


def table(documents: list[Document]) -> str:
    """The matrix, for a terminal."""
    lines = [f"{each.pod:<26}{each.direction:<8}{each.peer:<34}{each.port}" for each in sorted(set(pairs(documents)))]
    return "\n".join(lines)
