"""Only what is not known is sent again, within a budget and a deadline, and no answer forgets an earlier one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servicekit.concurrency.retries import RETRIES_MAX, RetryBudget
from servicekit.errors import DomainError, IdempotencyKeyReused, NotRecorded, OutcomeUnknown
from tests.servicekit.simulation import simulate

LONG = 100.0
NOT_RECORDED, UNKNOWN, CONFLICT = NotRecorded("locked"), OutcomeUnknown("lost"), IdempotencyKeyReused("another body")
Told = str | DomainError


@pytest.fixture(autouse=True)
def simulated_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr("servicekit.concurrency.retries.time", clock)


@dataclass
class Service:
    """Answers the n-th request with the n-th answer: one for each item, or one error for all."""

    answers: Sequence[Sequence[Told] | DomainError]
    takes: float = 0.0
    sent: list[list[int]] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)

    async def send(self, items: Sequence[int]) -> Sequence[Told]:
        number = len(self.sent)
        self.sent.append(list(items))
        self.sent_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        answer = self.answers[min(number, len(self.answers) - 1)]
        if isinstance(answer, DomainError):
            raise answer
        return [answer[item] for item in items]


def send(service: Service, items: int = 1, *, deadline: float = LONG, retries: RetryBudget | None = None) -> list[Told]:
    async def program() -> list[Told]:
        return await (retries or RetryBudget()).send(range(items), service.send, deadline)

    return simulate(program)


def test_what_is_known_at_once_is_sent_once() -> None:
    service = Service([["stored", CONFLICT]])

    assert send(service, 2) == ["stored", CONFLICT]
    assert service.sent == [[0, 1]]


def test_only_what_is_still_open_is_sent_again() -> None:
    service = Service(
        [["stored", NOT_RECORDED, CONFLICT, UNKNOWN], ["", "stored", "", UNKNOWN], ["", "", "", "stored"]]
    )

    assert send(service, 4) == ["stored", "stored", CONFLICT, "stored"]
    assert service.sent == [[0, 1, 2, 3], [1, 3], [3]]


def test_a_request_that_fails_as_a_whole_is_sent_again_as_a_whole() -> None:
    service = Service([UNKNOWN, ["stored", "stored"]])

    assert send(service, 2) == ["stored", "stored"]
    assert service.sent == [[0, 1], [0, 1]]


def test_unknown_then_not_recorded_stays_unknown() -> None:
    assert send(Service([UNKNOWN, NOT_RECORDED])) == [UNKNOWN]
    assert send(Service([[UNKNOWN], [NOT_RECORDED], NOT_RECORDED])) == [UNKNOWN]


def test_not_recorded_then_unknown_is_unknown() -> None:
    assert send(Service([NOT_RECORDED, UNKNOWN])) == [UNKNOWN]


@pytest.mark.parametrize("told", ["stored", CONFLICT])
def test_unknown_then_known_is_known(told: Told) -> None:
    assert send(Service([UNKNOWN, NOT_RECORDED, [told]])) == [told]


def test_a_bug_is_not_taken_for_an_outcome() -> None:
    async def bug(_: Sequence[int]) -> Sequence[Told]:
        raise ZeroDivisionError

    async def program() -> None:
        with pytest.raises(ZeroDivisionError):
            await RetryBudget().send([1], bug, LONG)

    simulate(program)


def test_an_outage_is_answered_with_at_most_a_tenth_more_load() -> None:
    retries, services = RetryBudget(), [Service([NOT_RECORDED]) for _ in range(1_000)]
    for service in services:
        send(service, retries=retries)

    repeats = sum(len(service.sent) - 1 for service in services)
    assert repeats <= 10 + 1_000 * 0.1
    assert all(len(service.sent) == 1 + RETRIES_MAX for service in services[:5]), "a short trouble is bridged"


def test_after_an_outage_the_budget_fills_up_again() -> None:
    retries = RetryBudget()
    for _ in range(50):
        send(Service([NOT_RECORDED]), retries=retries)
    for _ in range(50):
        send(Service([["stored"]]), retries=retries)
    service = Service([NOT_RECORDED])
    send(service, retries=retries)

    assert len(service.sent) == 1 + RETRIES_MAX


def test_pauses_have_full_jitter_that_grows() -> None:
    pauses: list[list[float]] = [[], []]
    for _ in range(200):
        service = Service([NOT_RECORDED])
        send(service)
        first, second, third = service.sent_at
        pauses[0].append(second - first)
        pauses[1].append(third - second)

    for bound, drawn in zip([0.1, 0.2], pauses, strict=True):
        assert 0 <= min(drawn) < bound / 4
        assert bound * 3 / 4 < max(drawn) <= bound


def test_no_repeat_begins_with_less_than_half_a_second_left() -> None:
    assert len(_sent_at_deadline(0.5).sent) == 1
    assert len(_sent_at_deadline(0.45).sent) == 1
    assert len(_sent_at_deadline(10.0).sent) == 3


def _sent_at_deadline(deadline: float) -> Service:
    service = Service([NOT_RECORDED], takes=0.1)
    send(service, deadline=deadline)
    assert all(deadline - moment >= 0.5 for moment in service.sent_at[1:])
    return service


_TOLD: st.SearchStrategy[Told] = st.sampled_from(["stored", CONFLICT, NOT_RECORDED, UNKNOWN])
_ATTEMPTS = st.lists(
    st.lists(_TOLD, min_size=5, max_size=5) | st.sampled_from([NOT_RECORDED, UNKNOWN]),
    min_size=1 + RETRIES_MAX,
    max_size=1 + RETRIES_MAX,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_ATTEMPTS, st.integers(1, 5))
def test_each_item_ends_with_the_most_that_is_known_of_it(answers: list[list[Told] | DomainError], items: int) -> None:
    service = Service(answers)

    outcomes = send(service, items)

    for item, outcome in enumerate(outcomes):
        told = [
            answer if isinstance(answer, DomainError) else answer[item]
            for answer, sent in zip(answers, service.sent, strict=False)
            if item in sent
        ]
        known = [each for each in told if each not in (NOT_RECORDED, UNKNOWN)]
        assert known == told[len(told) - len(known) :], "sent again although it was known"
        assert len(known) == 1 or len(told) == 1 + RETRIES_MAX, "given up too early"
        assert outcome == (known[0] if known else UNKNOWN if UNKNOWN in told else NOT_RECORDED)
