"""Clients that record events, give up, repeat, and read what they wrote."""

import asyncio
import time
from random import Random
from uuid import UUID

import httpx2

from tests.faults.event_kinds import EventKind
from tests.faults.history import Attempt, Ending, History, Read

WRITERS = 8
# Shorter than the 6 s that the service itself takes at the most: outcomes really become unknown.
PATIENCE_SECONDS = 1.0
# Hanging up right after sending: the event is very likely recorded, and its repeat must be recognised.
HANG_UP_SECONDS = 0.004
HANG_UP_SHARE = 0.05
REFUSABLE_SHARE = 0.02
CONFLICT_SHARE = 0.02
READ_SHARE = 0.1
# Of those told not-recorded, so many believe it and never come back: their rows would be phantoms.
BELIEVER_SHARE = 0.3
ATTEMPTS_MAX = 4
PAUSE_SECONDS_MAX = 0.02
BACK_OFF_SECONDS_MAX = 0.3
SETTLE_SECONDS_MAX = 10.0
_TRY_LATER_CODES = {"not-recorded", "outcome-unknown"}


class Writers:
    """`WRITERS` clients of one service address; every choice they make follows from the seed."""

    def __init__(self, url: str, kind: EventKind, history: History, *, run: str, seed: int) -> None:
        """`run` begins each identity and sets this run's rows apart."""
        self._url = url
        self._kind = kind
        self._history = history
        self._run = run
        self._seed = seed

    async def write(self, stop: asyncio.Event) -> None:
        """All of them, until `stop`; each finishes what it has begun."""
        await asyncio.gather(*(_Writer(self, number).write(stop) for number in range(WRITERS)))

    async def settle(self) -> None:
        """The faults are over: repeat each unknown event once."""
        async with self.client(SETTLE_SECONDS_MAX) as client:
            one_at_a_time = asyncio.Semaphore(WRITERS)

            async def repeat(identity: str, group: str) -> None:
                async with one_at_a_time:
                    await self.attempt(client, identity, group, self.key(identity), SETTLE_SECONDS_MAX)

            await asyncio.gather(*(repeat(identity, group) for identity, group in self._history.unknown()))

    def client(self, seconds_max: float) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self._url, timeout=seconds_max, trust_env=False)

    def key(self, identity: str) -> str:
        """The client's own name for an event: the same for every attempt."""
        return str(UUID(int=Random(identity).getrandbits(128), version=4))  # noqa: S311 - not a secret

    async def attempt(
        self,
        client: httpx2.AsyncClient,
        identity: str,
        group: str,
        key: str,
        seconds_max: float,
        *,
        other: bool = False,
    ) -> Ending:
        """One request for one event. `other`: under a key that belongs to another event, so 409 is right."""
        begun = self._history.invoke(identity, None if other else group)
        hangs_up = seconds_max == HANG_UP_SECONDS
        status, replayed, ending = 0, False, Ending.UNKNOWN
        try:
            answer = await self._kind.send(client, identity, group, key, seconds_max)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            ending = Ending.NOT_RECORDED
        except httpx2.TransportError:
            pass
        else:
            status = answer.status_code
            ending = self._judge(answer, self._kind.conflict_status if other else self._kind.recorded_status)
            replayed = ending is Ending.OK and self._kind.replayed(answer)
        on_purpose = (hangs_up and status == 0) or (other and ending is Ending.REFUSED)
        self._history.conclude(
            Attempt(identity, begun, time.monotonic(), ending, status, replayed, refusable=other, on_purpose=on_purpose)
        )
        return ending

    async def refusable(self, client: httpx2.AsyncClient, identity: str) -> None:
        """A bad event: 4xx at any time, and no row."""
        begun = self._history.invoke(identity, None)
        status, ending = 0, Ending.UNKNOWN
        try:
            answer = await self._kind.send_refusable(client, identity, self.key(identity))
        except httpx2.TransportError:
            pass
        else:
            status, ending = answer.status_code, self._judge(answer, self._kind.refused_status)
        refused = ending is Ending.REFUSED
        self._history.conclude(
            Attempt(identity, begun, time.monotonic(), ending, status, refusable=True, on_purpose=refused)
        )

    async def read(self, client: httpx2.AsyncClient, group: str) -> None:
        """Read-your-writes, for all writers together."""
        begun, acknowledged = time.monotonic(), self._history.acknowledged(group)
        try:
            answer = await self._kind.read_count(client, group)
        except httpx2.TransportError:
            self._history.last_trouble = time.monotonic()
            return
        if self._judge(answer, httpx2.codes.OK) is Ending.OK:
            count, invoked = self._kind.count(answer, group), self._history.invoked(group)
            self._history.reads.append(Read(group, begun, time.monotonic(), acknowledged, count, invoked))
        else:
            self._history.last_trouble = time.monotonic()

    def _judge(self, answer: httpx2.Response, expected: int) -> Ending:
        status = answer.status_code
        if status == httpx2.codes.SERVICE_UNAVAILABLE:
            code = answer.json().get("code")
            if code not in _TRY_LATER_CODES or "retry-after" not in answer.headers:
                self._history.improper.append(f"503 with code {code}, Retry-After {answer.headers.get('retry-after')}")
            return Ending.NOT_RECORDED if code == "not-recorded" else Ending.UNKNOWN
        if status != expected:
            self._history.improper.append(f"{status} where {expected} was due: {answer.text[:100]}")
        if answer.is_success:
            return Ending.OK
        return Ending.REFUSED if status < httpx2.codes.INTERNAL_SERVER_ERROR else Ending.UNKNOWN

    def identity(self, writer: int, number: int) -> str:
        return f"{self._run}-{writer}-{number}"

    def random(self, writer: int) -> Random:
        return Random(f"{self._seed}-{writer}")  # noqa: S311 - a seed that replays

    def group(self, random: Random) -> str:
        return random.choice(self._kind.groups)


class _Writer:
    def __init__(self, all_writers: Writers, number: int) -> None:
        self._all = all_writers
        self._number = number
        self._random = all_writers.random(number)
        # The last event, and where it counts.
        self._recorded: tuple[str, str] | None = None

    async def write(self, stop: asyncio.Event) -> None:
        events = 0
        async with self._all.client(PATIENCE_SECONDS) as client:
            while not stop.is_set():
                events += 1
                await self._write_one(client, self._all.identity(self._number, events))
                await asyncio.sleep(self._random.uniform(0, PAUSE_SECONDS_MAX))

    async def _write_one(self, client: httpx2.AsyncClient, identity: str) -> None:
        choice, group = self._random.random(), self._all.group(self._random)
        if choice < REFUSABLE_SHARE:
            await self._all.refusable(client, identity)
        elif choice < REFUSABLE_SHARE + CONFLICT_SHARE and self._recorded is not None:
            # In the group of the other, because a key means another event in another project.
            recorded, group = self._recorded
            key = self._all.key(recorded)
            await self._all.attempt(client, identity, group, key, PATIENCE_SECONDS, other=True)
        else:
            await self._record(client, identity, group)

    async def _record(self, client: httpx2.AsyncClient, identity: str, group: str) -> None:
        hangs_up = self._random.random() < HANG_UP_SHARE
        believes = self._random.random() < BELIEVER_SHARE
        uncertain = False
        for attempt in range(ATTEMPTS_MAX):
            patience = HANG_UP_SECONDS if hangs_up and attempt == 0 else PATIENCE_SECONDS
            ending = await self._all.attempt(client, identity, group, self._all.key(identity), patience)
            if ending is Ending.OK:
                self._recorded = identity, group
                if self._random.random() < READ_SHARE:
                    await self._all.read(client, group)
                return
            uncertain = uncertain or ending is Ending.UNKNOWN
            if ending is Ending.REFUSED or (believes and not uncertain):
                return
            await asyncio.sleep(self._random.uniform(0, BACK_OFF_SECONDS_MAX))
