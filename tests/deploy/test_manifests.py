"""Every rule holds for every installation, and each rule finds what it is there to find in a broken copy."""

import copy
import functools
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.deploy import connections, network_matrix, pod_rules, service_rules
from tests.deploy.rendering import INSTALLATIONS, Document, environment, named

Rule = Callable[[list[Document]], Iterable[str]]
Break = Callable[[list[Document]], object]

EVERYWHERE: list[Rule] = [
    pod_rules.restricted,
    pod_rules.namespace_enforces,
    pod_rules.tags,
    pod_rules.resources,
    pod_rules.labels,
    pod_rules.instance_ids,
    service_rules.probes,
    service_rules.grace,
    service_rules.addresses,
    service_rules.migration,
    service_rules.database,
    service_rules.quota,
    connections.too_many,
    connections.starved,
]
# `local` has one replica, one node and no load balancer.
ON_EKS: list[Rule] = [service_rules.autoscaling, service_rules.load_balancer]


@pytest.mark.parametrize("rule", EVERYWHERE, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_holds_for(rule: Rule, installation: str, rendered: dict[str, list[Document]]) -> None:
    assert list(rule(rendered[installation])) == []


@pytest.mark.parametrize("rule", ON_EKS, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("installation", [".", "overlays/eks", "overlays/rds", "overlays/citus"])
def test_holds_on_eks(rule: Rule, installation: str, rendered: dict[str, list[Document]]) -> None:
    assert list(rule(rendered[installation])) == []


@pytest.mark.parametrize("rule", [pod_rules.restricted, pod_rules.tags, pod_rules.resources, pod_rules.labels])
@pytest.mark.parametrize("tool", ["check", "restore-drill"])
def test_holds_for_the_tools(rule: Rule, tool: str, rendered: dict[str, list[Document]]) -> None:
    assert list(rule(rendered[tool])) == []


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_the_network_matrix_is_exact(installation: str, rendered: dict[str, list[Document]]) -> None:
    assert network_matrix.deviations(rendered[installation], network_matrix.EXPECTED[installation]) == []


def test_the_rest_of_local_is_small(rendered: dict[str, list[Document]]) -> None:
    documents = rendered["overlays/local"]
    scalers = [named(documents, "HorizontalPodAutoscaler", name)["spec"] for name in service_rules.SERVICES]
    assert [scaler["minReplicas"] for scaler in scalers] == [1, 1]
    assert not [each for each in documents if each["kind"] in {"Ingress", "StorageClass"}]


def pod_of(documents: list[Document], name: str, kind: str = "Deployment") -> dict[str, Any]:
    spec: dict[str, Any] = named(documents, kind, name)["spec"]["template"]["spec"]
    return spec


def container_of(documents: list[Document], name: str, kind: str = "Deployment") -> dict[str, Any]:
    container: dict[str, Any] = pod_of(documents, name, kind)["containers"][0]
    return container


def policy(documents: list[Document], name: str) -> dict[str, Any]:
    spec: dict[str, Any] = named(documents, "NetworkPolicy", name)["spec"]
    return spec


def metadata_of(documents: list[Document], kind: str, name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = named(documents, kind, name)["metadata"]
    return metadata


S, R = "statistics-api", "device-registration-api"
matrix = functools.partial(network_matrix.deviations, wanted=network_matrix.EXPECTED["."])

BROKEN: dict[str, tuple[Rule, Break]] = {
    "root": (pod_rules.restricted, lambda d: pod_of(d, S)["securityContext"].pop("runAsNonRoot")),
    "another user": (pod_rules.restricted, lambda d: pod_of(d, S)["securityContext"].update(runAsUser=1000)),
    "no seccomp": (pod_rules.restricted, lambda d: pod_of(d, S)["securityContext"].pop("seccompProfile")),
    "a token": (pod_rules.restricted, lambda d: pod_of(d, S).update(automountServiceAccountToken=True)),
    "the host's network": (pod_rules.restricted, lambda d: pod_of(d, S).update(hostNetwork=True)),
    "a folder of the host": (
        pod_rules.restricted,
        lambda d: pod_of(d, S)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    ),
    "a capability": (
        pod_rules.restricted,
        lambda d: container_of(d, S)["securityContext"].update(capabilities={"add": ["NET_RAW"]}),
    ),
    "escalation": (
        pod_rules.restricted,
        lambda d: container_of(d, S)["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    "a root that is written to": (
        pod_rules.restricted,
        lambda d: container_of(d, "postgres", "StatefulSet")["securityContext"].pop("readOnlyRootFilesystem"),
    ),
    "a port of the host": (pod_rules.restricted, lambda d: container_of(d, S)["ports"][0].update(hostPort=80)),
    "baseline": (
        pod_rules.namespace_enforces,
        lambda d: metadata_of(d, "Namespace", "device-statistics")["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
    ),
    "no readiness gate": (
        pod_rules.namespace_enforces,
        lambda d: metadata_of(d, "Namespace", "device-statistics")["labels"].pop(
            "elbv2.k8s.aws/pod-readiness-gate-inject"
        ),
    ),
    "latest": (pod_rules.tags, lambda d: container_of(d, S).update(image="device-statistics/statistics-api:latest")),
    "no tag": (pod_rules.tags, lambda d: container_of(d, S).update(image="device-statistics/statistics-api")),
    "a major tag": (pod_rules.tags, lambda d: container_of(d, "postgres", "StatefulSet").update(image="postgres:18")),
    "no requests": (pod_rules.resources, lambda d: container_of(d, S)["resources"].pop("requests")),
    "no limit": (pod_rules.resources, lambda d: container_of(d, S)["resources"]["limits"].pop("memory")),
    "not part of it": (pod_rules.labels, lambda d: metadata_of(d, "Deployment", S).update(labels={})),
    "another namespace": (pod_rules.labels, lambda d: metadata_of(d, "Deployment", S).update(namespace="default")),
    "a service of nobody": (
        pod_rules.labels,
        lambda d: named(d, "Service", S)["spec"].update(selector={"app.kubernetes.io/name": "statistics"}),
    ),
    "one id for all": (
        pod_rules.instance_ids,
        lambda d: container_of(d, R)["env"].append({"name": "INSTANCE_ID", "value": "one"}),
    ),
    "liveness asks the database": (
        service_rules.probes,
        lambda d: container_of(d, S)["livenessProbe"]["httpGet"].update(path="/readyz"),
    ),
    "a path that is not served": (
        service_rules.probes,
        lambda d: container_of(d, S)["startupProbe"]["httpGet"].update(path="/healthz"),
    ),
    "a probe by number": (
        service_rules.probes,
        lambda d: container_of(d, S)["readinessProbe"]["httpGet"].update(port=8000),
    ),
    "half a minute": (service_rules.grace, lambda d: pod_of(d, R).update(terminationGracePeriodSeconds=30)),
    "no pause": (service_rules.grace, lambda d: container_of(d, R).pop("lifecycle")),
    "a long pause": (
        service_rules.grace,
        lambda d: container_of(d, R)["lifecycle"]["preStop"]["sleep"].update(seconds=30),
    ),
    "idle for long": (
        service_rules.load_balancer,
        lambda d: metadata_of(d, "Ingress", S)["annotations"].update(
            {"alb.ingress.kubernetes.io/load-balancer-attributes": "idle_timeout.timeout_seconds=120"}
        ),
    ),
    "targets that stay": (
        service_rules.load_balancer,
        lambda d: metadata_of(d, "Ingress", S)["annotations"].update(
            {"alb.ingress.kubernetes.io/target-group-attributes": "deregistration_delay.timeout_seconds=300"}
        ),
    ),
    "by instance": (
        service_rules.load_balancer,
        lambda d: metadata_of(d, "Ingress", S)["annotations"].update(
            {"alb.ingress.kubernetes.io/target-type": "instance"}
        ),
    ),
    "a certificate that no listener has": (
        service_rules.load_balancer,
        lambda d: metadata_of(d, "Ingress", S)["annotations"].update(
            {"alb.ingress.kubernetes.io/certificate-arn": "arn:aws:acm:us-east-1:1:certificate/1"}
        ),
    ),
    "replicas": (service_rules.autoscaling, lambda d: named(d, "Deployment", S)["spec"].update(replicas=3)),
    "two of three zones": (
        service_rules.autoscaling,
        lambda d: named(d, "HorizontalPodAutoscaler", S)["spec"].update(minReplicas=2),
    ),
    "a gap in an upgrade": (
        service_rules.autoscaling,
        lambda d: named(d, "Deployment", S)["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
    ),
    "all at once": (
        service_rules.autoscaling,
        lambda d: named(d, "PodDisruptionBudget", S)["spec"].update(maxUnavailable=3),
    ),
    "one zone": (service_rules.autoscaling, lambda d: pod_of(d, S)["topologySpreadConstraints"].pop(0)),
    "a node port": (service_rules.addresses, lambda d: named(d, "Service", R)["spec"].update(type="NodePort")),
    "another number": (
        service_rules.addresses,
        lambda d: named(d, "Service", R)["spec"]["ports"][0].update(port=80),
    ),
    "the private service on the internet": (
        service_rules.addresses,
        lambda d: named(d, "Ingress", S)["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(name=R),
    ),
    "the Job of yesterday": (
        service_rules.migration,
        lambda d: metadata_of(d, "Job", "migrate-0.2.0").update(name="migrate-0.0.9"),
    ),
    "a Job that stays": (
        service_rules.migration,
        lambda d: named(d, "Job", "migrate-0.2.0")["spec"].pop("ttlSecondsAfterFinished"),
    ),
    "two releases": (
        service_rules.migration,
        lambda d: container_of(d, S).update(image="device-statistics/statistics-api:0.3.0"),
    ),
    "a database that is moved": (
        service_rules.database,
        lambda d: named(d, "StatefulSet", "postgres")["spec"]["template"]["metadata"].pop("annotations"),
    ),
    "a database that is killed": (
        service_rules.database,
        lambda d: container_of(d, "postgres", "StatefulSet").update(livenessProbe={"exec": {"command": ["x"]}}),
    ),
    "a volume in plain text": (
        service_rules.database,
        lambda d: named(d, "StorageClass", "device-statistics-gp3")["parameters"].update(encrypted="false"),
    ),
    "a volume that goes": (
        service_rules.database,
        lambda d: named(d, "StorageClass", "device-statistics-gp3").update(reclaimPolicy="Delete"),
    ),
    "a volume of another class": (
        service_rules.database,
        lambda d: named(d, "StatefulSet", "postgres")["spec"]["volumeClaimTemplates"][0]["spec"].pop(
            "storageClassName"
        ),
    ),
    "no /tmp": (service_rules.database, lambda d: container_of(d, "postgres", "StatefulSet")["volumeMounts"].pop(1)),
    "no room": (
        service_rules.quota,
        lambda d: named(d, "ResourceQuota", "device-statistics")["spec"]["hard"].update({"limits.memory": "8Gi"}),
    ),
    "more replicas": (
        connections.too_many,
        lambda d: named(d, "HorizontalPodAutoscaler", R)["spec"].update(maxReplicas=12),
    ),
    "a larger pool": (
        connections.too_many,
        lambda d: environment(container_of(d, S))["DB_CONNECTIONS_MAX"].update(value="10"),
    ),
    "a smaller server": (
        connections.too_many,
        lambda d: container_of(d, "postgres", "StatefulSet").update(args=["-c", "max_connections=100"]),
    ),
    "a public service that its login is too small for": (
        connections.starved,
        lambda d: environment(container_of(d, S))["DB_CONNECTIONS_MAX"].update(value="14"),
    ),
    "a public login that takes the private service's connections": (
        connections.starved,
        lambda d: environment(container_of(d, R))["DB_CONNECTIONS_MAX"].update(value="10"),
    ),
    "nothing denied": (matrix, lambda d: policy(d, "default-deny").update(policyTypes=["Ingress"])),
    "everybody at the private endpoint": (
        matrix,
        lambda d: policy(d, "device-registration-api-takes-statistics-api")["ingress"][0]["from"].append(
            {"podSelector": {}}
        ),
    ),
    "the whole internet": (
        matrix,
        lambda d: policy(d, "statistics-api-takes-load-balancer")["ingress"][0].pop("from"),
    ),
    "DNS without TCP": (matrix, lambda d: policy(d, "everyone-to-dns")["egress"][0]["ports"].pop()),
    "a port too many": (
        matrix,
        lambda d: policy(d, "postgres-takes-its-clients")["ingress"][0]["ports"].append(
            {"protocol": "TCP", "port": 22}
        ),
    ),
    "a client that is forgotten": (
        matrix,
        lambda d: policy(d, "clients-call-postgres")["podSelector"]["matchExpressions"][0]["values"].remove("migrate"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_copy_is_found(name: str, rendered: dict[str, list[Document]]) -> None:
    rule, break_it = BROKEN[name]
    documents = copy.deepcopy(rendered["."])
    break_it(documents)

    assert list(rule(documents)), f"{name}: nobody noticed"


def test_every_rule_has_a_broken_copy() -> None:
    proven = {rule for rule, _ in BROKEN.values()}
    assert {*EVERYWHERE, *ON_EKS, matrix} <= proven
