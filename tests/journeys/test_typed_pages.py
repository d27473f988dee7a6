"""The pages of families 2 to 4, typed block by block into a shell, give the answers that they print."""

from pathlib import Path

import pytest

from tests.access.conftest import make_key, make_project
from tests.journeys.pages import API_ANALYTICS, DEVICES, OPERATOR, PASSWORD, STORES, check
from tests.journeys.shell import needs_curl
from tests.personal_databases import PersonalDatabases
from tests.servers import Product, finished_command

pytestmark = needs_curl


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured: two of the pages begin with one."""
    return product_with_accounts


def test_api_analytics_from_an_account_to_a_figure(product: Product) -> None:
    check(API_ANALYTICS, product.public_url)


def test_devices_from_a_device_to_a_median(product: Product) -> None:
    key = make_key(product, make_project(product), "ingest", "read", "manage")
    check(DEVICES, product.public_url, {"KEY": key})


def test_stores_from_an_operator_to_a_figure(
    product: Product, personal_databases: PersonalDatabases, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    environment = product.database.writer_env | personal_databases.environment
    created = finished_command(environment, "create-operator", OPERATOR, "--password-file", str(file))
    assert created.returncode == 0, created.stderr
    check(STORES, product.public_url)
