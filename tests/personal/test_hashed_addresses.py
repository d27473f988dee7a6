"""The address of a client: one hash for all its spellings, and the address itself nowhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from uuid_utils import uuid7

from local.services import Service
from tests.database import rows
from tests.kinds.client import answer_of
from tests.schema.schema_steps import PERSONAL_LOGIN
from tests.servers import Cluster, Product, StartProduct

# One address in several spellings, then another one, then none that can be confused with them in a dump.
SPELLINGS = ["203.0.113.77", "::ffff:203.0.113.77", "::FFFF:cb00:714d", "0:0:0:0:0:ffff:203.0.113.77"]
LONG = ["2001:db8:77aa::1", "2001:0DB8:77aa:0:0:0:0:0001"]


@pytest.fixture(scope="module")
def keyring_environment(cluster: Cluster, apart_template: str) -> dict[str, str]:
    return PERSONAL_LOGIN | {
        "PERSONAL_DATABASE_URL": cluster.admin_url(f"{apart_template}_personal"),
        "KEYRING_DATABASE_URL": cluster.admin_url(f"{apart_template}_keyring"),
        "PERSONAL_KEKS": "1:" + base64.b64encode(bytes([1]) * 32).decode(),
    }


@pytest.fixture(scope="module")
def product(start_product: StartProduct, keyring_environment: dict[str, str]) -> Product:
    return start_product(env=keyring_environment)


def log_of(service: Service) -> str:
    assert service.log is not None
    return service.log.read_text()


def forward(private: httpx2.Client, ips: Sequence[str | None], project_id: int = 1) -> list[dict[str, Any]]:
    """The stored rows of requests that came from these addresses."""
    count = len(ips)
    envelope = {
        "project_ids": [project_id] * count,
        "event_ids": [str(uuid7()) for _ in ips],
        "received_at": [datetime.now(UTC).isoformat()] * count,
        "columns": {
            "url_paths": ["/"] * count,
            "methods": ["GET"] * count,
            "status_codes": [200] * count,
            "response_us": [1] * count,
            "user_agents": [None] * count,
            "consumers": [None] * count,
            "ips": {position: ip for position, ip in enumerate(ips) if ip is not None},
        },
    }
    rows: list[dict[str, Any]] = answer_of(private.post("/events/api_requests/forward", json=envelope))["rows"]
    return rows


def test_one_address_in_any_spelling_is_one_hash(private: httpx2.Client) -> None:
    stored = forward(private, [*SPELLINGS, *LONG, None])
    hashes = [row["ip_hash"] for row in stored]
    assert len(set(hashes[: len(SPELLINGS)])) == 1
    assert len(set(hashes[len(SPELLINGS) : -1])) == 1
    assert hashes[0] != hashes[-2]
    assert hashes[-1] is None
    assert len(hashes[0]) == 32
    again = forward(private, [SPELLINGS[0]])[0]["ip_hash"]
    elsewhere = forward(private, [SPELLINGS[0]], project_id=2)[0]["ip_hash"]
    assert again == hashes[0] != elsewhere


def test_a_batch_is_hashed_too_and_counted_by_position(private: httpx2.Client, product: Product) -> None:
    batch = {
        "project_id": 1,
        "batch_id": str(uuid7()),
        "received_at": datetime.now(UTC).isoformat(),
        "columns": {
            "url_paths": ["/batch"] * 3,
            "methods": ["GET"] * 3,
            "status_codes": [200, 201, 202],
            "response_us": [1] * 3,
            "user_agents": [None] * 3,
            "consumers": [None] * 3,
            "ips": {1: SPELLINGS[1]},
        },
    }
    private.post("/events/api_requests/batch", json=batch).raise_for_status()
    [expected] = {row["ip_hash"] for row in forward(private, SPELLINGS)}
    stored = "SELECT status_code, ip_hash FROM stats.api_request WHERE url_path = '/batch' ORDER BY 1"
    assert rows(product.database, stored) == [(200, None), (201, expected), (202, None)]


def test_the_address_is_in_no_table_and_no_log(private: httpx2.Client, product: Product) -> None:
    refused = ["203.0.113.77%eth0", "203.0.113.077"]
    forward(private, [SPELLINGS[0], LONG[0]])
    for wrong in refused:
        with pytest.raises(httpx2.HTTPStatusError, match="422"):
            forward(private, [wrong])
    tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"
    texts = [
        str(rows(product.database, f"SELECT t::text FROM {table} AS t")).lower()  # noqa: S608 - of the catalogue
        for (table,) in rows(product.database, tables)
    ]
    texts += [log_of(service).lower() for service in [*product.privates, *product.publics]]
    for text in texts:
        for trace in ("203.0.113", "cb00:714d", "cb00714d", "db8:77aa", "db877aa"):
            assert trace not in text


def test_without_the_settings_the_event_is_recorded_without_a_hash(start_product: StartProduct) -> None:
    plain = start_product()
    with httpx2.Client(
        base_url=plain.private_url, headers={"Authorization": f"Bearer {plain.service_token}"}, trust_env=False
    ) as private:
        assert forward(private, [SPELLINGS[0]])[0]["ip_hash"] is None


def test_without_the_keyring_the_event_is_recorded_without_a_hash(
    start_product: StartProduct, keyring_environment: dict[str, str]
) -> None:
    away = start_product(env=keyring_environment | {"KEYRING_DATABASE_URL": "postgresql://127.0.0.1:1/keyring"})
    with httpx2.Client(
        base_url=away.private_url, headers={"Authorization": f"Bearer {away.service_token}"}, trust_env=False
    ) as private:
        assert forward(private, [SPELLINGS[0]])[0]["ip_hash"] is None
    assert log_of(away.privates[0]).count("the keyring cannot be used") == 1
