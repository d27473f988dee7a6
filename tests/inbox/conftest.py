"""One stack with an inbox for the tests of a module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.inbox.rig import StackWithInbox, running_stack_with_inbox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StackWithInbox]:
    """Both services and two database servers."""
    async with running_stack_with_inbox(tmp_path_factory.mktemp("inbox")) as running:
        yield running
