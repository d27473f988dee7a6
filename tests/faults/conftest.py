"""One stack for the faults of a module, and the seed that replays a run."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.stack import Stack, running_stack
from tests.servers import DELIVERED

DEFAULT_SEED = 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=DEFAULT_SEED, help="replays the fault runs of this seed")


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """`pytest tests/faults --seed N`; without it always the same, so that a failure is seen again."""
    chosen: int = request.config.getoption("--seed", default=DEFAULT_SEED)
    return chosen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The product as it is delivered, unless the module names other PROGRAMS."""
    programs = getattr(request.module, "PROGRAMS", DELIVERED)
    async with running_stack(tmp_path_factory.mktemp("stack"), programs=programs) as running:
        yield running
