"""The check Job's program against real services: it passes when endpoints are closed, and fails when one is open."""

import subprocess
import sys

from tests.deploy.rendering import ROOT
from tests.servers import Product, free_port

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
    done = run_check(product.public_url, f"127.0.0.1:{free_port()} postgres.invalid:5432")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "round trip: 0 before, 1 after" in done.stdout
    assert done.stdout.endswith("the deployment holds\n")


def test_an_open_endpoint_of_the_private_service(product: Product) -> None:
    endpoint = product.private_url.removeprefix("http://").rstrip("/")

    done = run_check(product.public_url, endpoint)

    assert done.returncode == 1
    assert "does not enforce its NetworkPolicies" in done.stdout


def test_a_service_that_is_not_there() -> None:
    done = run_check(f"http://127.0.0.1:{free_port()}", "")

    assert done.returncode == 1
    assert "not ready" in done.stdout
