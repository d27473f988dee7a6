"""What every pod must be. Each rule returns one sentence for each violation."""

import re
from collections.abc import Iterator

from tests.deploy.rendering import Document, Pod, environment, named, of_kind, pods

# The volumes that Pod Security `restricted` admits and we use.
VOLUMES = {"name", "configMap", "emptyDir", "persistentVolumeClaim"}
OURS = {"device-statistics/statistics-api": 10001, "device-statistics/device-registration-api": 10001, "postgres": 999}


def restricted(documents: list[Document]) -> Iterator[str]:
    """Pod Security `restricted`, and beyond it: a read-only root, a numeric user, no token."""
    for pod in pods(documents):
        security = pod.spec.get("securityContext", {})
        if security.get("runAsNonRoot") is not True:
            yield f"{pod.name}: may run as root"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{pod.name}: no seccomp profile"
        if pod.spec.get("automountServiceAccountToken") is not False or "serviceAccountName" not in pod.spec:
            yield f"{pod.name}: holds a token of the cluster"
        yield from (f"{pod.name}: {each}" for each in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(each))
        for volume in pod.spec.get("volumes", []):
            if set(volume) - VOLUMES:
                yield f"{pod.name}: volume {volume['name']} is of a kind that is not admitted"
        for container in pod.containers:
            yield from _restricted_container(pod, container)


def _restricted_container(pod: Pod, container: Document) -> Iterator[str]:
    security = pod.spec.get("securityContext", {})
    own = container.get("securityContext", {})
    where = f"{pod.name}/{container['name']}"
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield f"{where}: privileges"
    if own.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{where}: capabilities"
    if own.get("readOnlyRootFilesystem") is not True:
        yield f"{where}: writes to its root file system"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{where}: a port of the host"
    user = own.get("runAsUser", security.get("runAsUser"))
    expected = OURS.get(container["image"].split(":")[0])
    if not user or (expected and user != expected):
        yield f"{where}: user {user}, expected {expected}"


def namespace_enforces(documents: list[Document]) -> Iterator[str]:
    """The namespace refuses what is not restricted, and waits for the load balancer."""
    labels = named(documents, "Namespace", "device-statistics")["metadata"]["labels"]
    if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "the namespace does not enforce Pod Security restricted"
    if labels.get("elbv2.k8s.aws/pod-readiness-gate-inject") != "enabled":
        yield "a pod counts as ready before the load balancer knows it"


def tags(documents: list[Document]) -> Iterator[str]:
    """A release's tag for ours, at least a minor version for others; never latest."""
    for pod in pods(documents):
        for container in pod.containers:
            name, _, tag = container["image"].partition(":")
            if not re.fullmatch(r"\d+\.\d+(\.\d+)?(@sha256:[0-9a-f]{64})?", tag):
                yield f"{pod.name}/{container['name']}: {name} has the tag {tag!r}"


def resources(documents: list[Document]) -> Iterator[str]:
    """The scheduler knows what each container needs, and no leak takes a node's memory."""
    for pod in pods(documents):
        for container in pod.containers:
            asked = container.get("resources", {})
            if set(asked.get("requests", {})) != {"cpu", "memory", "ephemeral-storage"}:
                yield f"{pod.name}/{container['name']}: requests"
            if set(asked.get("limits", {})) != {"memory", "ephemeral-storage"}:
                yield f"{pod.name}/{container['name']}: limits"


def labels(documents: list[Document]) -> Iterator[str]:
    """`part-of` on everything, the name on each pod; what selects, selects by the name."""
    for each in documents:
        metadata = each["metadata"]
        if metadata.get("labels", {}).get("app.kubernetes.io/part-of") != "device-statistics":
            yield f"{each['kind']} {metadata['name']}: not part of device-statistics"
        if each["kind"] not in {"Namespace", "StorageClass"} and metadata.get("namespace") != "device-statistics":
            yield f"{each['kind']} {metadata['name']}: not in the namespace"
    for pod in pods(documents):
        name = pod.labels.get("app.kubernetes.io/name", "")
        if not name or not pod.name.startswith(name) or "app.kubernetes.io/part-of" not in pod.labels:
            yield f"{pod.name}: labels of its pods"
    known = [pod.labels for pod in pods(documents)]
    for service in of_kind(documents, "Service"):
        selector = service["spec"]["selector"].items()
        if not any(selector <= each.items() for each in known):
            yield f"service {service['metadata']['name']} selects nobody"


def instance_ids(documents: list[Document]) -> Iterator[str]:
    """Two pods of a service never have the same id: it picks the slot of the counters."""
    for pod in pods(documents):
        for container in pod.containers:
            if any(port.get("name") == "http" for port in container.get("ports", [])):
                source = environment(container).get("INSTANCE_ID", {}).get("valueFrom")
                if source != {"fieldRef": {"fieldPath": "metadata.name"}}:
                    yield f"{pod.name}: INSTANCE_ID is not the pod's name"
