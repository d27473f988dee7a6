"""What a process remembers of tokens, keys and accounts, and for how long. With a clock of the test."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.accounts import AccountState, TokenKey, TokenKeys
from servicekit.errors import NotAuthenticated, NotConfigured, NotFound, NotRecorded
from statistics_api.access.recent import RecentValues
from statistics_api.access.tokens import Tokens, VerificationKeys
from statistics_api.administration.client import Administration
from statistics_api.delivery.device_api import DeviceApiResponse
from tests.accounts.forged import OTHER, OURS, claims, encoded, signed


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def published(*key_ids: str) -> TokenKeys:
    x = encoded(OURS.public_key().public_bytes_raw())
    return TokenKeys(keys=[TokenKey(kid=each, x=x) for each in key_ids])


class Published:
    """The published keys, and how often they were asked for."""

    def __init__(self, *key_ids: str) -> None:
        self.keys: TokenKeys | Exception = published(*key_ids)
        self.asked = 0

    async def __call__(self) -> TokenKeys:
        self.asked += 1
        if isinstance(self.keys, Exception):
            raise self.keys
        return self.keys


async def test_keys_are_asked_for_once_in_five_minutes() -> None:
    clock, source = Clock(), Published("a")
    keys = VerificationKeys(source, clock)
    for _ in range(10):
        assert await keys.get("a") is not None
        clock.now += 29.9
    assert source.asked == 1

    source.keys = published("b")
    clock.now += 2
    assert await keys.get("a") is None
    assert source.asked == 2


async def test_an_unknown_key_makes_it_ask_again_but_not_more_often_than_every_ten_seconds() -> None:
    clock, source = Clock(), Published("a")
    keys = VerificationKeys(source, clock)
    assert await keys.get("a") is not None
    source.keys = published("b", "a")
    for number in range(100):  # an attacker's
        assert await keys.get(f"x{number}") is None
    assert source.asked == 1
    clock.now += 10
    assert await keys.get("b") is not None
    assert source.asked == 2


async def test_without_an_answer_known_keys_last_for_five_minutes() -> None:
    clock, source = Clock(), Published("a")
    keys = VerificationKeys(source, clock)
    await keys.get("a")
    source.keys = NotRecorded("away")
    clock.now += 299
    assert await keys.get("a") is not None
    clock.now += 1
    with pytest.raises(NotRecorded):
        await keys.get("a")
    source.keys = published("a")
    assert await keys.get("a") is not None


async def test_an_installation_without_accounts_is_asked_every_ten_seconds() -> None:
    clock, source = Clock(), Published()
    source.keys = NotConfigured("accounts are not configured")
    keys = VerificationKeys(source, clock)
    for _ in range(5):
        with pytest.raises(NotConfigured):
            await keys.get("a")
    assert source.asked == 1
    source.keys = published("a")
    clock.now += 10
    assert await keys.get("a") is not None


class Private(Administration):
    """The private service's answers."""

    def __init__(self) -> None:
        self.states: dict[UUID, AccountState] = {}
        self.asked: list[str] = []
        self.keys = published("a")

    async def send(self, method: str, target: str, body: bytes | None, request_id: str) -> DeviceApiResponse:
        assert (method, body, bool(request_id)) == ("GET", None, True)
        self.asked.append(target)
        if target == "/token-keys":
            return DeviceApiResponse(200, {}, self.keys.model_dump_json().encode())
        state = self.states.get(UUID(target.split("/")[2]))
        if state is None:
            raise NotFound("there is no such account")
        return DeviceApiResponse(200, {}, state.model_dump_json().encode())


async def test_the_state_of_an_account_is_at_most_30_seconds_old() -> None:
    clock, private, account = Clock(), Private(), uuid4()
    private.states[account] = AccountState(is_active=True, is_operator=False)
    tokens = Tokens(private, clock)
    assert (await tokens.state(account)).is_active
    private.states[account] = AccountState(is_active=False, is_operator=False)
    clock.now += 29.9
    assert (await tokens.state(account)).is_active
    clock.now += 0.2
    assert not (await tokens.state(account)).is_active
    # An account that is gone is an inactive one.
    del private.states[account]
    clock.now += 30
    assert not (await tokens.state(account)).is_active
    assert len(private.asked) == 3


async def test_a_verified_token_is_remembered_for_30_seconds() -> None:
    clock, private = Clock(), Private()
    tokens = Tokens(private, clock)
    token = signed(claims())
    found = await tokens.verify(token)
    private.keys = published("b")
    clock.now += 299
    assert await tokens.verify(token) == found
    clock.now += 31
    with pytest.raises(NotAuthenticated):
        await tokens.verify(token)


async def test_a_refused_token_is_not_remembered_as_a_good_one() -> None:
    tokens = Tokens(Private(), Clock())
    own = claims()
    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            await tokens.verify(signed(own, OTHER))
    assert str((await tokens.verify(signed(own))).sub) == own["sub"]


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 3)), max_size=80))
def test_a_value_is_kept_for_its_time_and_memory_is_bounded(steps: list[tuple[int, float]]) -> None:
    clock = Clock()
    recent: RecentValues[int, float] = RecentValues(5.0, 4, clock)
    for key, seconds in steps:
        clock.now += seconds
        found = recent.get(key)
        assert found is None or clock.now - found < 5.0
        recent.put(key, clock.now, clock.now)
        assert recent.get(key) == clock.now
        assert len(recent._kept) <= 4  # noqa: SLF001 - nothing else shows it
