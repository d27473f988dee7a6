"""The pages of families 2 to 4, typed against the stack: API requests, measurements and store events."""

from tests.compose.stack import Stack
from tests.journeys.pages import API_ANALYTICS, DEVICES, OPERATOR, PASSWORD, STORES, check
from tests.journeys.shell import needs_curl

pytestmark = needs_curl


def test_every_block_gives_the_printed_answers(stack: Stack) -> None:
    stack.command("create-operator", OPERATOR, "--password-file", "/dev/stdin", stdin=PASSWORD.encode())
    check(API_ANALYTICS, stack.url)
    project_key = stack.command("create-project", "Devices").strip()
    check(DEVICES, stack.url, {"KEY": stack.new_key(project_key)})
    check(STORES, stack.url)
    assert "no drift" in stack.verify_counts()
