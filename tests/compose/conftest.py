"""One stack for all these tests, and nothing left of it whatever happens. Run by `make test-compose` alone."""

from collections.abc import Iterator

import pytest

from tests.compose.stack import IMAGES, Stack, docker, new_stack

_REPORT = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Built from this work tree, with an empty database and .env.example as it is."""
    running = new_stack()
    running.remove()  # what a killed run has left
    try:
        running.compose("build")
        running.up()
        yield running
    except BaseException:
        print(running.try_compose("logs", "--tail", "40").stdout.decode(errors="replace"))
        raise
    finally:
        running.remove()
        docker("image", "rm", "--force", *IMAGES, check=False)


@pytest.fixture
def empty_stack(stack: Stack) -> Stack:
    """As after the very first start: nobody has recorded anything."""
    stack.remove()
    stack.up("--no-build")
    return stack


@pytest.fixture
def report(request: pytest.FixtureRequest) -> list[str]:
    """Lines for the end of the run: what was measured, also when all went well."""
    return request.config.stash.setdefault(_REPORT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(_REPORT, None):
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
