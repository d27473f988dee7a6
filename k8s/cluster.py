"""Reads single objects of the running deployment with kubectl. Standard library only."""

import base64
import json
import subprocess
from typing import Any

NAMESPACE = "device-statistics"
KUBECTL_SECONDS_MAX = 20


class CommandError(Exception):
    """The command changed nothing; the message is one sentence for the operator."""


def get(kind: str, name: str) -> Any:  # noqa: ANN401 - whatever JSON the cluster has
    """Return one object as the cluster has it, None when it has none. Raises CommandError when kubectl fails."""
    command = ["kubectl", "get", kind, name, f"--namespace={NAMESPACE}", "--ignore-not-found", "--output=json"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed words and the names above
            [*command, "--request-timeout=10s"],
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"kubectl does not answer ({type(error).__name__})") from error
    if done.returncode != 0:
        raise CommandError((done.stderr.strip().splitlines() or ["kubectl failed"])[-1])
    return json.loads(done.stdout) if done.stdout.strip() else None


def secret(name: str) -> dict[str, str] | None:
    """Return the decoded values of a Secret, None when there is none."""
    found = get("secret", name)
    if found is None:
        return None
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def secret_in_use(deployment: str) -> str | None:
    """Return the name of the Secret that a Deployment refers to: it is named after its content."""
    found = get("deployment", deployment)
    if found is None:
        return None
    sources = found["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    return next((str(each["secretRef"]["name"]) for each in sources if "secretRef" in each), None)


def bucket_in_use() -> dict[str, str] | None:
    """Return the values of the ConfigMap that the backup's upload reads, None when dumps are not uploaded."""
    found = get("cronjob", "backup")
    if found is None:
        return None
    containers = found["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    sources = [source for each in containers if each["name"] == "upload" for source in each.get("envFrom", [])]
    for source in sources:
        settings = get("configmap", source["configMapRef"]["name"])
        if settings is not None:
            return {key: str(value) for key, value in settings["data"].items()}
    return None


def has_database_nodes() -> bool:
    """Whether PostgreSQL runs on nodes of a pool of its own."""
    found = get("statefulset", "postgres")
    return found is not None and "karpenter.sh/nodepool" in found["spec"]["template"]["spec"].get("nodeSelector", {})
