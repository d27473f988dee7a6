"""What a process counts of each key, and what becomes of it when a report fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.access import KeyUses
from servicekit.errors import NotRecorded, OutcomeUnknown
from statistics_api.access import key_usage
from statistics_api.access.key_usage import KeyUsage

KEYS = [(1, "a" * 12), (1, "b" * 12), (2, "a" * 12)]


class Ledger:
    """Adds up the reports; each fails as the next entry of a plan says."""

    def __init__(self, plan: list[Callable[[], Exception] | None] | None = None) -> None:
        self.total: Counter[tuple[int, str]] = Counter()
        self.reports = 0
        self._plan = list(plan or [])

    async def add(self, body: bytes) -> None:
        self.reports += 1
        failure = self._plan.pop(0) if self._plan else None
        if failure is not None:
            raise failure()
        for use in KeyUses.model_validate_json(body).uses:
            self.total[use.project_id, use.key_id] += use.requests


async def test_a_report_holds_each_key_once_and_an_empty_one_is_not_sent() -> None:
    ledger = Ledger()
    usage = KeyUsage(ledger.add)
    await usage.report()
    for key in [KEYS[0]] * 3 + [KEYS[1]]:
        usage.count(*key)
    await usage.report()
    await usage.report()
    assert (ledger.reports, ledger.total) == (1, {KEYS[0]: 3, KEYS[1]: 1})


@given(st.lists(st.one_of(st.sampled_from(KEYS), st.sampled_from(["added up", "refused"]))))
def test_what_was_not_added_up_is_sent_again(steps: list[tuple[int, str] | str]) -> None:
    reports = [step for step in steps if isinstance(step, str)]
    ledger = Ledger([None if step == "added up" else lambda: NotRecorded("later") for step in reports])

    async def run() -> None:
        usage = KeyUsage(ledger.add)
        for step in steps:
            if isinstance(step, str):
                await usage.report()
            else:
                usage.count(*step)
        for _ in range(len(reports) + 1):  # an empty report is not sent, so some failures may be left
            await usage.report()

    asyncio.run(run())
    assert ledger.total == Counter(step for step in steps if not isinstance(step, str))


async def test_what_may_have_been_added_up_is_never_sent_again() -> None:
    ledger = Ledger([lambda: OutcomeUnknown("?")])
    usage = KeyUsage(ledger.add)
    usage.count(*KEYS[0])
    await usage.report()
    usage.count(*KEYS[1])
    await usage.report()
    assert ledger.total == {KEYS[1]: 1}


async def test_many_keys_are_several_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_usage, "USES_MAX", 2)
    ledger = Ledger([lambda: NotRecorded("later")])
    usage = KeyUsage(ledger.add)
    for key in KEYS:
        usage.count(*key)
    await usage.report()
    assert (ledger.reports, len(ledger.total)) == (2, 1)
    await usage.report()
    assert ledger.total == dict.fromkeys(KEYS, 1)


async def test_a_report_is_made_each_minute_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert key_usage.REPORT_SECONDS == 60
    monkeypatch.setattr(key_usage, "REPORT_SECONDS", 0.01)
    ledger = Ledger([lambda: NotRecorded("later")])
    added_up = asyncio.Event()

    async def add(body: bytes) -> None:
        await ledger.add(body)
        added_up.set()

    usage = KeyUsage(add)
    running = asyncio.create_task(usage.report_forever())
    usage.count(*KEYS[0])
    async with asyncio.timeout(10):
        await added_up.wait()
    running.cancel()
    assert (ledger.reports, ledger.total) == (2, {KEYS[0]: 1})
