"""A real Prometheus that scrapes two services, and its promtool, where they are installed."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from local.database import base_environment
from local.ports import free_port
from local.services import Child
from tests.monitoring.boards import ALERTS
from tests.servers import Product

SCRAPED_SECONDS_MAX = 60.0

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="NOT CHECKED: WHAT PROMETHEUS SAYS TO METRICS AND ALERTS, BECAUSE IT IS NOT INSTALLED (.ci/run installs it)",
)


class PrometheusServer(Child):
    """Prometheus with the product's rules, scraping both services of a product twice a second."""

    def __init__(self, folder: Path, product: Product) -> None:
        self.port = free_port()
        jobs = {"statistics-api": product.public, "device-registration-api": product.private}
        config: dict[str, Any] = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{service.env['METRICS_PORT']}"]}]}
                for job, service in jobs.items()
            ],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        command = [
            "prometheus",
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        super().__init__("prometheus", command, base_environment(), cwd=folder, log=folder / "prometheus.log")

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - as its API has it
        """The `data` of an answer of its API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        response = httpx2.get(url, params=parameters, trust_env=False, timeout=10)
        if response.status_code == httpx2.codes.SERVICE_UNAVAILABLE:  # it has begun to listen, and is not ready
            response.raise_for_status()
        answer = response.json()
        assert answer["status"] == "success", json.dumps(answer)
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        """The series of an instant query."""
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Return when something is true; an API that does not answer yet means no."""
        deadline = time.monotonic() + SCRAPED_SECONDS_MAX
        while True:
            try:
                if true():
                    return
            except httpx2.HTTPError:
                assert self.pid is not None, self.log and self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
