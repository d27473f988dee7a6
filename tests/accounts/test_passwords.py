"""The work on passwords is bounded, in number and in length."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from device_registration_api.accounts import passwords
from device_registration_api.accounts.passwords import AT_ONCE_MAX, WAITING_MAX, Passwords
from servicekit.errors import NotRecorded, Overloaded
from tests.accounts.conftest import PHRASE


@pytest.fixture
def at_work() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


class Gate:
    """Counts the hashes that are at work, and holds them until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.all_at_work = threading.Event(), threading.Event()
        self.now, self.most, self.all = 0, 0, 0
        lock, verify = threading.Lock(), PasswordHasher.verify

        def held(hasher: PasswordHasher, stored: str, password: str) -> bool:
            with lock:
                self.now += 1
                self.all += 1
                self.most = max(self.most, self.now)
            if self.most == AT_ONCE_MAX:
                self.all_at_work.set()
            self.open.wait(20)
            with lock:
                self.now -= 1
            return verify(hasher, stored, password)

        monkeypatch.setattr(PasswordHasher, "verify", held)


async def test_at_most_two_are_at_work_and_a_few_wait(at_work: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    monkeypatch.setattr(passwords, "WAIT_SECONDS_MAX", 20.0)
    stored = await at_work.hash(PHRASE)
    tasks = [asyncio.create_task(at_work.verify(PHRASE, stored)) for _ in range(AT_ONCE_MAX + WAITING_MAX)]
    await asyncio.to_thread(gate.all_at_work.wait, 20)
    with pytest.raises(Overloaded) as refused:
        await at_work.verify(PHRASE, stored)
    gate.open.set()

    assert all(each.is_right for each in await asyncio.gather(*tasks))
    assert (gate.most, gate.all) == (AT_ONCE_MAX, AT_ONCE_MAX + WAITING_MAX)
    assert refused.value.headers() == {"Retry-After": "1"}
    assert refused.value.code == NotRecorded.code


async def test_a_turn_that_does_not_come_in_time_is_refused(
    at_work: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    monkeypatch.setattr(passwords, "WAIT_SECONDS_MAX", 0.1)
    tasks = [asyncio.create_task(at_work.verify(PHRASE, None)) for _ in range(AT_ONCE_MAX)]
    await asyncio.to_thread(gate.all_at_work.wait, 20)
    with pytest.raises(Overloaded):
        await at_work.verify(PHRASE, None)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert not (await at_work.verify(PHRASE, None)).is_right


async def test_a_caller_who_goes_away_keeps_the_turn_until_the_work_ends(
    at_work: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    monkeypatch.setattr(passwords, "WAIT_SECONDS_MAX", 20.0)
    tasks = [asyncio.create_task(at_work.verify(PHRASE, None)) for _ in range(AT_ONCE_MAX)]
    await asyncio.to_thread(gate.all_at_work.wait, 20)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    others = [asyncio.create_task(at_work.verify(PHRASE, None)) for _ in range(5)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(*others)
    assert gate.most == AT_ONCE_MAX


@pytest.mark.parametrize("stored", [None, "", "$argon2id$v=19$broken", "plain text"])
async def test_without_a_usable_hash_no_password_is_right(at_work: Passwords, stored: str | None) -> None:
    assert await at_work.verify("no account has this password", stored) == (False, None)


@pytest.mark.parametrize(
    "older",
    [
        PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1),
        # The defaults of pwdlib, which another system's accounts have.
        PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4),
    ],
    ids=["weaker", "imported"],
)
async def test_a_hash_with_other_parameters_is_right_and_is_replaced(at_work: Passwords, older: PasswordHasher) -> None:
    verified = await at_work.verify(PHRASE, older.hash(PHRASE))
    assert verified.is_right
    assert verified.new_hash is not None
    assert await at_work.verify(PHRASE, verified.new_hash) == (True, None)
    assert await at_work.verify(PHRASE + "x", older.hash(PHRASE)) == (False, None)


@pytest.mark.parametrize("length", [71, 72, 73, 1_024])
async def test_a_password_of_any_length_is_estimated(at_work: Passwords, length: int) -> None:
    assert await at_work.weakness("a" * length, []) is not None
    assert await at_work.weakness(("marble-otter-canyon-91 " * 50)[:length], []) is None
