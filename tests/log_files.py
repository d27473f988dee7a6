"""What a service has logged, read from its file."""

import json
import time
from typing import Any
from uuid import uuid4

import httpx2

from local.services import Service

WRITTEN_SECONDS_MAX = 5.0


def lines_of(service: Service) -> list[dict[str, Any]]:
    """Every whole line so far; each must be a JSON object."""
    assert service.log is not None
    whole, _, _ = service.log.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def all_written(*services: Service) -> None:
    """Wait until every request that was answered is in the file: lines are written in groups, a little later."""
    for service in services:
        last = f"last-{uuid4()}"
        httpx2.get(f"{service.url}/livez", headers={"X-Request-ID": last}, trust_env=False)
        deadline = time.monotonic() + WRITTEN_SECONDS_MAX
        while not any(line.get("request_id") == last for line in lines_of(service)):
            assert time.monotonic() < deadline, f"{service.name} has not logged a request"
            time.sleep(0.02)
