"""The check Job's program against real services: it passes when endpoints are closed, and fails when one is open."""

import subprocess
import sys

import pytest

from local.ports import free_port
from tests.deploy.rendering import ROOT, Document, environment, named, pods
from tests.servers import Product

# The program waits this long for policies; a test does not.
AT_ONCE = "import check; check.POLICY_SECONDS_MAX = 1.0; check.READY_SECONDS_MAX = 2.0; import os, sys; "


def run_check(url: str, endpoints: str) -> subprocess.CompletedProcess[str]:
    code = f"{AT_ONCE} sys.exit(check.main(os.environ))"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "k8s/check",
        env={"STATISTICS_URL": url, "CLOSED_ENDPOINTS": endpoints, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_deployment_that_holds(product: Product) -> None:
    done = run_check(product.public_url, f"127.0.0.1:{free_port()} localhost:{free_port()}")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "round trip: 0 before, 1 after" in done.stdout
    assert done.stdout.endswith("the deployment holds\n")


def test_an_open_endpoint_of_the_private_service(product: Product) -> None:
    endpoint = product.private_url.removeprefix("http://").rstrip("/")

    done = run_check(product.public_url, endpoint)

    assert done.returncode == 1
    assert "does not enforce its NetworkPolicies" in done.stdout


def test_a_name_that_leads_nowhere_is_not_taken_for_a_closed_port(product: Product) -> None:
    done = run_check(product.public_url, "database.invalid:5432")

    assert done.returncode == 1
    assert "the name database.invalid cannot be looked up" in done.stdout


@pytest.mark.parametrize(
    ("installation", "host"),
    [(".", "postgres"), ("overlays/local", "postgres"), ("overlays/rds", "database.example.invalid")],
)
def test_the_tools_use_the_database_of_the_deployment(
    installation: str, host: str, rendered: dict[str, list[Document]]
) -> None:
    documents = rendered[installation]
    address = named(documents, "ConfigMap", "database-address")["data"]
    [private] = [pod for pod in pods(documents) if pod.name == "device-registration-api"]
    [source] = [each["configMapRef"] for each in private.containers[0]["envFrom"] if "configMapRef" in each]
    services = named(documents, "ConfigMap", source["name"])["data"]
    assert (address["DB_HOST"], address["DB_PORT"]) == (services["DB_HOST"], services["DB_PORT"]) == (host, "5432")

    [check] = pods(rendered["check"])
    given = environment(check.containers[0])
    for name in ("DB_HOST", "DB_PORT"):
        assert given[name]["valueFrom"] == {"configMapKeyRef": {"name": "database-address", "key": name}}
    endpoints = given["CLOSED_ENDPOINTS"]["value"].replace("$(DB_HOST)", host).replace("$(DB_PORT)", "5432")
    assert endpoints.split() == ["device-registration-api:8001", f"{host}:5432"]
    # Kubernetes puts in only what is defined before.
    assert list(given)[-1] == "CLOSED_ENDPOINTS"

    [drill] = [pod for pod in pods(rendered["restore-drill"]) if pod.name == "restore-drill"]
    [verification] = drill.spec["containers"]
    assert verification["envFrom"] == [{"configMapRef": {"name": "database-address"}}]
    assert "DB_HOST" not in environment(verification)


def test_a_service_that_is_not_there() -> None:
    done = run_check(f"http://127.0.0.1:{free_port()}", "")

    assert done.returncode == 1
    assert "not ready" in done.stdout
