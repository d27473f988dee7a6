"""The numbers of the devices that an import is for: none is made up."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from contract.devices import DeviceDraft
from device_registration_api.imports.devices import NO_DEVICE, make_devices
from device_registration_api.imports.target import Target
from device_registration_api.maintenance.settings import DatabaseSettings
from tests.database import rows
from tests.servers import Product, StartProduct

DEFAULT = 1
DRAFTS = [DeviceDraft(device_id="there"), DeviceDraft(device_id="new")]


@pytest.fixture
def product(start_product: StartProduct) -> Product:
    """Both services."""
    return start_product()


@pytest.fixture(params=[True, False], ids=["dry-run", "real"])
def target(request: pytest.FixtureRequest, product: Product) -> Iterator[Target]:
    """The target of an import."""
    env = product.database.writer_env
    settings = DatabaseSettings.model_validate({name: env[name.upper()] for name in DatabaseSettings.model_fields})
    with closing(Target(settings, [], is_dry_run=request.param)) as target:
        yield target


def test_a_device_that_is_not_there_has_the_number_of_none(target: Target, product: Product) -> None:
    # The first device of all, whose number is 1, is another one.
    rows(product.database, "INSERT INTO device (project_id, device_id) VALUES (1, 'other'), (1, 'there')")
    seen, numbers = make_devices(target, DEFAULT, DRAFTS)
    stored = dict(rows(product.database, "SELECT device_id, device_number FROM device"))
    assert seen == {"there"}
    assert numbers == {"there": stored["there"], "new": NO_DEVICE if target.is_dry_run else stored["new"]}
