"""What the two services, their autoscalers and their way in must be. A sentence for each violation."""

import ast
import json
import re
from collections.abc import Iterator

from tests.deploy.rendering import ROOT, Document, environment, named, of_kind, pods

SERVICES = {"statistics-api": 8000, "device-registration-api": 8001}
# startup: is it there; readiness: can it serve; liveness: is it alive, whatever the database does.
PROBES = {"startupProbe": "/health", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def constant(path: str, name: str) -> float:
    """A number that a module of ours defines at its top."""
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return float(ast.literal_eval(node.value))
    raise KeyError(name)


def _service_pods(documents: list[Document]) -> Iterator[tuple[str, Document, Document]]:
    for pod in pods(documents):
        if pod.name in SERVICES:
            yield pod.name, pod.spec, pod.containers[0]


def probes(documents: list[Document]) -> Iterator[str]:
    """Three paths that exist, by the port's name; a pod that starts has longer than the liveness probe gives."""
    served = (ROOT / "packages/servicekit/servicekit/service/health.py").read_text()
    for name, _, container in _service_pods(documents):
        for probe, path in PROBES.items():
            asked = container.get(probe, {}).get("httpGet", {})
            if asked != {"path": path, "port": "http"} or f'"{path}"' not in served:
                yield f"{name}: {probe} asks {asked}"
        if container["ports"] != [{"name": "http", "containerPort": SERVICES[name]}]:
            yield f"{name}: ports {container['ports']}"


def grace(documents: list[Document]) -> Iterator[str]:
    """preStop + requests under way + the last batch end before the kernel's kill."""
    server = constant("packages/servicekit/servicekit/service/server.py", "GRACEFUL_SECONDS_MAX")
    for name, spec, container in _service_pods(documents):
        flush = constant(f"{name}/{name.replace('-', '_')}/app.py", "FLUSH_SECONDS_MAX")
        pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        drain = float(environment(container)["DRAIN_SECONDS"]["value"])
        needed = pause + drain + server + flush
        if spec.get("terminationGracePeriodSeconds", 30) < needed + 5:
            yield f"{name}: leaves in up to {needed:g} s and is killed before"
        if pause < 10:
            yield f"{name}: balancers have {pause} s to learn that it leaves"


def load_balancer(documents: list[Document]) -> Iterator[str]:
    """What the load balancer keeps open is shorter than what the pods keep open."""
    server = constant("packages/servicekit/servicekit/service/server.py", "GRACEFUL_SECONDS_MAX")
    keep_alive = re.search(r"keep_alive_seconds=(\d+)", (ROOT / "statistics-api/statistics_api/serving.py").read_text())
    for ingress in of_kind(documents, "Ingress"):
        said = {key.rsplit("/")[-1]: value for key, value in ingress["metadata"]["annotations"].items()}
        idle = re.search(r"idle_timeout.timeout_seconds=(\d+)", said.get("load-balancer-attributes", ""))
        if not (idle and keep_alive and int(idle[1]) < int(keep_alive[1])):
            yield "the load balancer reuses connections that the service is closing"
        leaving = re.search(r"deregistration_delay.timeout_seconds=(\d+)", said.get("target-group-attributes", ""))
        if not (leaving and int(leaving[1]) <= 15 + server):
            yield "a target leaves later than its pod does"
        if said.get("healthcheck-path") != "/readyz" or said.get("target-type") != "ip":
            yield "the load balancer does not ask the pods themselves whether they can serve"
        yield from _listeners(said)


def _listeners(said: dict[str, str]) -> Iterator[str]:
    ports = json.loads(said["listen-ports"])
    if "certificate-arn" not in said:
        if ports != [{"HTTP": 80}]:
            yield "the documents' address is http on port 80"
        return
    if ports != [{"HTTP": 80}, {"HTTPS": 443}] or said.get("ssl-redirect") != "443":
        yield "there is a certificate, and clients are not led to it"
    if not said.get("ssl-policy", "").startswith("ELBSecurityPolicy-TLS13-1-2-"):
        yield "TLS older than 1.2 is admitted"


def autoscaling(documents: list[Document]) -> Iterator[str]:
    """The autoscaler alone owns the number; at least three, one for each zone; one may be taken away at a time."""
    for name in SERVICES:
        spec = named(documents, "Deployment", name)["spec"]
        if "replicas" in spec:
            yield f"{name}: every apply would reset the number of replicas"
        if spec["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
            yield f"{name}: an upgrade takes a pod away before there is another"
        scaler = named(documents, "HorizontalPodAutoscaler", name)["spec"]
        if scaler["scaleTargetRef"]["name"] != name or scaler["minReplicas"] < 3:
            yield f"{name}: at least {scaler['minReplicas']} replicas"
        budget = named(documents, "PodDisruptionBudget", name)["spec"]
        if budget["maxUnavailable"] != 1 or budget["selector"]["matchLabels"] != spec["selector"]["matchLabels"]:
            yield f"{name}: disruption budget"
        keys = {each["topologyKey"] for each in spec["template"]["spec"].get("topologySpreadConstraints", [])}
        if keys != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            yield f"{name}: spread over {keys or 'nothing'}"


def addresses(documents: list[Document]) -> Iterator[str]:
    """Nothing but the Ingress leads in; a Service's number is its container's (AWS's policy agent sees the former)."""
    for service in of_kind(documents, "Service"):
        spec, name = service["spec"], service["metadata"]["name"]
        if spec["type"] != "ClusterIP":
            yield f"{name}: {spec['type']}"
        [pod] = [each for each in pods(documents) if spec["selector"].items() <= each.labels.items()]
        numbers = {port["name"]: port["containerPort"] for port in pod.spec["containers"][0]["ports"]}
        for port in spec["ports"]:
            if numbers.get(port["targetPort"]) != port["port"]:
                yield f"{name}: port {port['port']} leads to {port['targetPort']}"
    for ingress in of_kind(documents, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                if path["backend"]["service"] != {"name": "statistics-api", "port": {"name": "http"}}:
                    yield f"the Ingress leads to {path['backend']['service']}"


def migration(documents: list[Document]) -> Iterator[str]:
    """The Job carries the tag of the image it runs, which is the services' own."""
    [job] = [each for each in of_kind(documents, "Job") if each["metadata"]["name"].startswith("migrate")]
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    if job["metadata"]["name"] != "migrate-" + image.partition(":")[2]:
        yield f"the Job {job['metadata']['name']} runs {image}"
    if not job["spec"].get("ttlSecondsAfterFinished"):
        yield "the finished Job stays, and a changed one of the same tag is refused"
    tags = {
        c["image"].partition(":")[2] for p in pods(documents) for c in p.containers if c["image"].startswith("device")
    }
    if len(tags) != 1:
        yield f"several releases at once: {sorted(tags)}"


def database(documents: list[Document]) -> Iterator[str]:
    """A server in the cluster keeps its volume, is not moved, and is not killed while it recovers."""
    for each in of_kind(documents, "StatefulSet"):
        spec = each["spec"]
        template = spec["template"]
        [container] = template["spec"]["containers"]
        if template["metadata"].get("annotations", {}).get("karpenter.sh/do-not-disrupt") != "true":
            yield "Karpenter may move the database"
        if set(spec["persistentVolumeClaimRetentionPolicy"].values()) != {"Retain"}:
            yield "the volume goes with the StatefulSet"
        if "tcpSocket" not in container["livenessProbe"]:
            yield "a server that recovers would be killed for it"
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        if not {"/var/lib/postgresql", "/tmp", "/var/run/postgresql"} <= mounts:  # noqa: S108 - paths in a container
            yield f"the server cannot write where it must: {sorted(mounts)}"
        classes = {claim["spec"].get("storageClassName") for claim in spec["volumeClaimTemplates"]}
        for storage in of_kind(documents, "StorageClass"):
            if storage["parameters"].get("encrypted") != "true" or storage["reclaimPolicy"] != "Retain":
                yield "the volume is not encrypted, or goes with its claim"
            if classes != {storage["metadata"]["name"]}:
                yield f"the database's volume is of class {classes}"


def quota(documents: list[Document]) -> Iterator[str]:
    """Room for every pod there may be, the leaving ones included."""
    hard = named(documents, "ResourceQuota", "device-statistics")["spec"]["hard"]
    needed = {"pods": 0.0, "requests.cpu": 0.0, "requests.memory": 0.0, "limits.memory": 0.0}
    for pod in pods(documents):
        most = 1
        if pod.kind == "Deployment":
            own = named(documents, "Deployment", pod.name)["spec"].get("replicas")
            scaled = own or named(documents, "HorizontalPodAutoscaler", pod.name)["spec"]["maxReplicas"]
            most = 2 * int(scaled) + 1
        needed["pods"] += most
        for container in pod.containers:
            for where, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
                needed[f"{where}.{what}"] += most * amount(container["resources"][where][what])
    for name, value in needed.items():
        if amount(hard[name]) < value:
            yield f"quota of {name}: {hard[name]}, needed {value:g}"


def amount(quantity: str) -> float:
    """A Kubernetes quantity as a number."""
    units = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    found = re.fullmatch(r"([0-9.]+)(m|Ki|Mi|Gi)?", str(quantity))
    if found is None:
        raise ValueError(quantity)
    return float(found[1]) * units.get(found[2], 1)
