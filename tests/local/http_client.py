"""One event in, one count out: what a user does first."""

import json
import urllib.request
from typing import Any


def log_event(url: str, user_key: str = "user-123") -> None:
    body = json.dumps({"userKey": user_key, "deviceType": "iOS"}).encode()
    request = urllib.request.Request(f"{url}/Log/auth", body, {"Content-Type": "application/json"})  # noqa: S310 - http
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - http
        assert response.status == 200


def count(url: str, seconds_max: float = 10) -> int:
    statistics = f"{url}/Log/auth/statistics?deviceType=iOS"
    with urllib.request.urlopen(statistics, timeout=seconds_max) as response:  # noqa: S310 - http
        answer: dict[str, Any] = json.load(response)
    return int(answer["count"])
