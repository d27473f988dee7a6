"""The state of the installation, for its operators alone."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from tests.accounts.conftest import bearer, login, new_email, register
from tests.accounts.forged import claims_of
from tests.database import rows
from tests.personal_databases import PersonalDatabases
from tests.servers import Product

PATH = "/api/v1/installation"
OPERATOR = "UPDATE account SET is_operator = true WHERE account_id = %(id)s RETURNING account_id"
RAN = """
    INSERT INTO maintenance.command_run (command, ended_at, findings)
    VALUES ('maintain', now(), 0), ('verify-counts', now(), 3)
        ON CONFLICT (command) DO UPDATE SET ended_at = excluded.ended_at, findings = excluded.findings
    RETURNING command
"""
ERASURE = """
    INSERT INTO erasure (project_id, person_id, receipt, requested_at)
    VALUES (1, gen_random_uuid(), gen_random_uuid(), now() - interval '1 hour') RETURNING receipt
"""


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    return product_with_accounts


@pytest.fixture(scope="module")
def tokens(public: httpx2.Client, personal_databases: PersonalDatabases) -> dict[str, str]:
    """A token of an operator and of a plain account."""
    found = {}
    for role in ("operator", "account"):
        register(public, email := new_email()).raise_for_status()
        found[role] = str(login(public, email).json()["access_token"])
    assert personal_databases.rows(OPERATOR, {"id": claims_of(found["operator"])["sub"]})
    return found


def test_an_operator_sees_what_the_metrics_show(
    public: httpx2.Client, tokens: dict[str, str], product: Product
) -> None:
    before = public.get(PATH, headers=bearer(tokens["operator"]))
    assert (before.status_code, before.headers["cache-control"]) == (200, "no-store")
    empty = before.json()
    assert (empty["counts_drift"], empty["erasures_open"], empty["oldest_open_erasure_seconds"]) == (None, 0, 0)
    assert empty["rate_limit"] == {"rate": None, "is_degraded": False}
    assert empty["statistics_api_version"] == empty["device_registration_api_version"]
    assert set(empty["default_partition_rows"].values()) == {0}
    assert {"auth_event", "api_request", "measurement", "store_event"} <= {*empty["default_partition_rows"]}
    rows(product.database, RAN)
    rows(product.database, ERASURE)
    found = public.get(PATH, headers=bearer(tokens["operator"])).json()
    for name in ("maintained_at", "counts_verified_at"):
        assert datetime.now(UTC) - datetime.fromisoformat(found[name]) < timedelta(minutes=5)
    assert (found["counts_drift"], found["erasures_open"]) == (3, 1)
    assert 3_600 <= found["oldest_open_erasure_seconds"] < 3_900


def test_nobody_else_sees_it(public: httpx2.Client, tokens: dict[str, str]) -> None:
    assert public.get(PATH, headers=bearer(tokens["account"])).status_code == 403
    assert public.get(PATH).status_code == 401


def test_while_the_private_service_is_away_it_is_a_503(
    public: httpx2.Client, tokens: dict[str, str], product: Product
) -> None:
    assert public.get(PATH, headers=bearer(tokens["operator"])).status_code == 200
    product.private.stop()
    try:
        answer = public.get(PATH, headers=bearer(tokens["operator"]))
        assert (answer.status_code, answer.json()["code"]) == (503, "not-recorded")
    finally:
        product.private.start()
        product.private.wait_ready()
