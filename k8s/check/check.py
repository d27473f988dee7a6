"""Proves a deployment from inside the cluster: an event makes the round trip, and closed endpoints are closed.

Standard library only: it runs in the public service's image, from a ConfigMap. Exits with 0 or 1.
"""

import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

READY_SECONDS_MAX = 90.0
# A new pod's policies arrive some seconds after it does; until then every endpoint is open.
POLICY_SECONDS_MAX = 45.0
# In a row: one refusal alone may have been a packet that was lost.
REFUSALS_NEEDED = 3
CONNECT_SECONDS_MAX = 2.0
REQUEST_SECONDS_MAX = 10.0
PAUSE_SECONDS = 1.0


class Failed(Exception):
    """What does not hold; the message is one sentence for the operator."""


def main(environment: Mapping[str, str]) -> int:
    """Run every check, say what was seen, and return the exit code."""
    base = environment["STATISTICS_URL"].rstrip("/")
    try:
        wait_until_ready(base)
        round_trip(base)
        for endpoint in environment["CLOSED_ENDPOINTS"].split():
            host, _, port = endpoint.rpartition(":")
            must_be_closed(host, int(port), seconds_max=POLICY_SECONDS_MAX)
    except Failed as failure:
        print(f"FAILED: {failure}")
        return 1
    print("the deployment holds")
    return 0


def wait_until_ready(base: str) -> None:
    """Wait for both services and the database: what is found closed later is closed although somebody listens."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        status, answer = call(f"{base}/readyz")
        if status == HTTPStatus.OK:
            print(f"ready: {answer['needs']}")
            return
        if time.monotonic() > deadline:
            raise Failed(f"not ready after {READY_SECONDS_MAX:g} s: {status} {answer.get('reason', answer)}")
        time.sleep(PAUSE_SECONDS)


def round_trip(base: str) -> None:
    """One event of the type Watch is recorded and counted at once; repeated with its key, it is not counted again."""
    url = f"{base}/Log/auth/statistics?deviceType=Watch"
    event, key = {"userKey": "k8s-check", "deviceType": "Watch"}, str(uuid.uuid4())
    before = count(url)
    for _ in range(2):
        status, answer = call(f"{base}/Log/auth", event, {"Idempotency-Key": key})
        if status != HTTPStatus.OK:
            raise Failed(f"POST /Log/auth answered {status}: {answer}")
    after = count(url)
    # Others may count at the same time, so more is possible; less is a lost event.
    if after < before + 1:
        raise Failed(f"an acknowledged event is not counted: {before} before, {after} after")
    print(f"round trip: {before} before, {after} after")


def must_be_closed(host: str, port: int, *, seconds_max: float) -> None:
    """Wait until connections to this endpoint are refused; policies get `seconds_max` to arrive."""
    endpoint = f"{host}:{port}"
    begun, refused = time.monotonic(), 0
    while refused < REFUSALS_NEEDED:
        is_open = probe_port(host, port)
        refused = 0 if is_open else refused + 1
        if is_open:
            if time.monotonic() - begun > seconds_max:
                raise Failed(f"{endpoint} is open to a stranger: this cluster does not enforce its NetworkPolicies")
            time.sleep(PAUSE_SECONDS)
    print(f"closed: {endpoint} (found closed after {time.monotonic() - begun:.0f} s)")


def probe_port(host: str, port: int) -> bool:
    """Whether a connection is accepted. Raises Failed when the name leads nowhere: that says nothing about the port."""
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise Failed(f"the name {host} cannot be looked up, so nothing is known about port {port}: {error}") from error
    try:
        socket.create_connection((host, port), CONNECT_SECONDS_MAX).close()
    except OSError:
        return False
    return True


def count(url: str) -> int:
    """The count that the service answers. Raises Failed when it answers none."""
    status, answer = call(url)
    if status != HTTPStatus.OK:
        raise Failed(f"GET {url} answered {status}: {answer}")
    return int(answer["count"])


def call(url: str, body: object = None, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer, whatever the status; 0 when there was none."""
    request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310 - the URL is the operator's
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS_MAX) as answer:  # noqa: S310 - as above
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            return error.code, json.loads(text)
        except ValueError:
            return error.code, {"reason": text[:200]}
    except (OSError, ValueError) as error:
        return 0, {"reason": str(error)}


if __name__ == "__main__":
    sys.exit(main(os.environ))
