"""While the first database is away, deferrable events are stored in the inbox, and counted once when it is back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from local.services import REGISTRATION_API
from tests.faults.event_kinds import SingleEvents
from tests.faults.proxy import Break, Network
from tests.faults.stack import DATABASE
from tests.inbox.rig import RESPOND_ASYNC, StackWithInbox
from tests.kinds import served_kinds as served
from tests.kinds.client import keyed
from tests.kinds.served_kinds import KINDS, ServedKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS_MAX = 20.0


@asynccontextmanager
async def away(installation: StackWithInbox) -> AsyncIterator[None]:
    """The first database is killed; at the end it is back, and the inbox is drained."""
    await installation.stack.kill(DATABASE)
    try:
        yield
    finally:
        await installation.stack.start(DATABASE)
    await installation.drained()


async def send(
    installation: StackWithInbox,
    kind: ServedKind,
    identity: str,
    *,
    deferrable: bool,
    key: str | None = None,
) -> httpx2.Response:
    event = kind.body(identity, kind.groups[0])
    headers = {**kind.headers, **keyed(key), **(RESPOND_ASYNC if deferrable else {})}
    async with httpx2.AsyncClient(base_url=installation.stack.url, timeout=SECONDS_MAX, trust_env=False) as client:
        return await client.post(kind.path_of(event), json=kind.content_of(event), headers=headers)


def assert_accepted(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.json()) == (202, {"code": "accepted-not-counted"}), answer.text
    assert answer.headers["preference-applied"] == "respond-async"


def facts(installation: StackWithInbox, kind: ServedKind, start: str) -> dict[str, int]:
    return dict(SingleEvents(kind).rows(installation.stack.admin_url, start))


async def test_each_kind_is_accepted_with_the_preference_alone_and_counted_when_the_database_is_back(
    installation: StackWithInbox,
) -> None:
    for kind in KINDS:  # so that keys, devices and users are known
        answer = await send(installation, kind, f"{kind.name} before", deferrable=True)
        assert answer.status_code == kind.recorded_status, answer.text
        assert "preference-applied" not in answer.headers
    async with away(installation):
        for kind in KINDS:
            refused = await send(installation, kind, f"{kind.name} refused", deferrable=False)
            assert (refused.status_code, refused.json()["code"]) == (503, "not-recorded")
            assert_accepted(await send(installation, kind, f"{kind.name} accepted", deferrable=True))
    for kind in KINDS:
        assert facts(installation, kind, kind.name) == {f"{kind.name} before": 1, f"{kind.name} accepted": 1}
    assert (await installation.stack.operator_command("verify-counts"))[0]


async def test_batches_and_keys_are_counted_once_across_the_switch(installation: StackWithInbox) -> None:
    """A key that was recorded before, one that is repeated meanwhile and afterwards, and batches with keys."""
    kind = served.AUTH_EVENTS
    first = await send(installation, kind, "across 1", deferrable=True, key="recorded before")
    assert first.status_code == 200
    batch = [kind.body(f"across batch {number}", "TV") for number in range(3)]
    async with httpx2.AsyncClient(base_url=installation.stack.url, timeout=SECONDS_MAX, trust_env=False) as client:
        async with away(installation):
            for _ in range(2):
                assert_accepted(await send(installation, kind, "across 1", deferrable=True, key="recorded before"))
                assert_accepted(await send(installation, kind, "across 2", deferrable=True, key="new"))
                sent = await client.post("/Log/auth/batch", json=batch, headers=keyed("batch") | RESPOND_ASYNC)
                assert_accepted(sent)
            conflict = await send(installation, kind, "across 3", deferrable=True, key="new")
            assert (conflict.status_code, "idempotency key" in conflict.json()["detail"]) == (409, True)
            refused = await client.post("/Log/auth/batch", json=batch, headers=keyed("unwilling"))
            assert refused.status_code == 503
            bad = {"userKey": "across", "deviceType": "Windows"}
            mixed = await client.post(
                "/Log/auth/batch", json=[bad, kind.body("across mixed", "TV")], headers=RESPOND_ASYNC
            )
            assert (mixed.status_code, mixed.json()["code"]) == (202, "accepted-not-counted")
            assert [(each["index"], each["status"]) for each in mixed.json()["results"]] == [(0, "rejected")]
            assert (await client.post("/Log/auth/batch", json=[bad], headers=RESPOND_ASYNC)).status_code == 503
        for key, identity in (("recorded before", "across 1"), ("new", "across 2")):
            again = await send(installation, kind, identity, deferrable=True, key=key)
            assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
        again = await client.post("/Log/auth/batch", json=batch, headers=keyed("batch") | RESPOND_ASYNC)
        assert (again.status_code, again.json()["registered"], again.headers["idempotent-replayed"]) == (200, 3, "true")
    assert facts(installation, kind, "across") == dict.fromkeys(
        ["across 1", "across 2", "across mixed", *(item["userKey"] for item in batch)], 1
    )


async def test_an_event_whose_commit_was_not_confirmed_is_counted_once(installation: StackWithInbox) -> None:
    kind = served.AUTH_EVENTS
    link = installation.stack.database_link
    link.network = Network(breaks=Break.BEFORE_REPLY)
    try:
        answers = [await send(installation, kind, f"unconfirmed {number}", deferrable=True) for number in range(2)]
    finally:
        link.network = Network()
    for answer in answers:
        assert_accepted(answer)
    await installation.drained()
    assert facts(installation, kind, "unconfirmed") == {"unconfirmed 0": 1, "unconfirmed 1": 1}


async def test_a_database_that_does_not_answer_delays_events_for_a_short_time_only(
    installation: StackWithInbox,
) -> None:
    kind = served.AUTH_EVENTS
    link = installation.stack.database_link
    link.network = Network(black_hole=True)
    try:
        begun = time.monotonic()
        first = await asyncio.gather(
            *(send(installation, kind, f"hole {number}", deferrable=True) for number in range(20))
        )
        later = [await send(installation, kind, f"hole {number}", deferrable=True) for number in range(20, 25)]
        assert time.monotonic() - begun < 6.0
    finally:
        link.network = Network()
    for answer in (*first, *later):
        assert_accepted(answer)
    await installation.drained()
    assert facts(installation, kind, "hole ") == {f"hole {number}": 1 for number in range(25)}


async def test_without_the_inbox_an_answer_is_503_and_nothing_is_stored(installation: StackWithInbox) -> None:
    kind = served.AUTH_EVENTS
    await asyncio.to_thread(installation.inbox.kill)
    try:
        recorded = await send(installation, kind, "both, recorded", deferrable=True)
        assert recorded.status_code == 200
        async with installation_without_main(installation):
            refused = await send(installation, kind, "both, refused", deferrable=True)
            assert (refused.status_code, refused.json()["code"]) == (503, "not-recorded")
    finally:
        await asyncio.to_thread(installation.inbox.start)
    await installation.drained()
    assert facts(installation, kind, "both") == {"both, recorded": 1}


@asynccontextmanager
async def installation_without_main(installation: StackWithInbox) -> AsyncIterator[None]:
    await installation.stack.kill(DATABASE)
    try:
        yield
    finally:
        await installation.stack.start(DATABASE)


async def test_a_kill_of_the_private_service_in_the_drain_counts_nothing_twice(installation: StackWithInbox) -> None:
    kind = served.AUTH_EVENTS
    identities = [f"drain {number}" for number in range(1_000)]
    batches = [identities[start : start + 100] for start in range(0, 1_000, 100)]
    await installation.stack.kill(DATABASE)
    async with httpx2.AsyncClient(base_url=installation.stack.url, timeout=SECONDS_MAX, trust_env=False) as client:
        for batch in batches:
            answers = await asyncio.gather(
                *(client.post("/Log/auth", json=kind.body(each, "iOS"), headers=RESPOND_ASYNC) for each in batch)
            )
            assert {answer.status_code for answer in answers} == {202}
    await installation.stack.start(DATABASE)
    for _ in range(2):
        await installation.stack.kill(REGISTRATION_API)
        await installation.stack.start(REGISTRATION_API)
    await installation.drained()
    assert facts(installation, kind, "drain ") == dict.fromkeys(identities, 1)
    assert (await installation.stack.operator_command("verify-counts"))[0]


async def readiness(installation: StackWithInbox) -> dict[str, tuple[int, dict[str, str]]]:
    async with httpx2.AsyncClient(timeout=20, trust_env=False) as client:
        answers = {
            name: await client.get(f"{service.url}/readyz") for name, service in installation.stack.services.items()
        }
    return {name: (answer.status_code, answer.json()["needs"]) for name, answer in answers.items()}


async def test_the_inbox_is_enough_to_be_ready_and_is_not_needed(installation: StackWithInbox) -> None:
    """Without it nobody would send events to services that cannot reach the first database."""
    for status, needs in (await readiness(installation)).values():
        assert status == 200
        assert needs["database"].startswith("ok")

    await asyncio.to_thread(installation.inbox.stop)
    found = await readiness(installation)
    assert [status for status, _ in found.values()] == [200, 200]
    assert found["device-registration-api"][1]["inbox"] != "ok"

    await installation.stack.kill(DATABASE)
    assert [status for status, _ in (await readiness(installation)).values()] == [503, 503]

    await asyncio.to_thread(installation.inbox.start)
    found = await readiness(installation)
    assert [status for status, _ in found.values()] == [200, 200]
    assert "go to the inbox" in found["device-registration-api"][1]["database"]
    assert "Prefer: respond-async" in found["statistics-api"][1]["database"]
    await installation.stack.start(DATABASE)
