"""What each part of the spine takes for its work, as `python -m load.bench "service times"` has measured it."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MEASURED = Path(__file__).with_name("measured.json")

_FLUSHES = (1, 10, 100, 1_000)

Microseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(later < earlier for earlier, later in pairwise(values)):
        raise ValueError("quantiles ascend")
    return values


# Values at equal steps of probability, from the least to the greatest.
Quantiles = Annotated[tuple[Microseconds, ...], Field(min_length=2), AfterValidator(_ascending)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SingleCosts(_Model):
    """Processor time in µs for events that come one a request."""

    # The load generator's, for each request.
    client_request: Microseconds
    # The public process: from the socket to the coalescer, from the outcome to the socket; for each forward.
    public_accept: Microseconds
    public_answer: Microseconds
    public_forward: Microseconds
    # The private process: for each forward, for each transaction, for each event.
    private_forward: Microseconds
    private_flush: Microseconds
    private_event: Microseconds
    # PostgreSQL: for each transaction, for each event.
    database_flush: Microseconds
    database_event: Microseconds


class BatchCosts(_Model):
    """Processor time in µs for each event of a batch of 10,000."""

    client_event: Microseconds
    public_event: Microseconds
    private_event: Microseconds
    database_event: Microseconds


class KindCosts(_Model):
    """Of one kind of event."""

    single: SingleCosts
    batch: BatchCosts
    # PostgreSQL's time for each event whose presence is stored later, by the follower; zero of other kinds.
    database_follow: Microseconds


class CitusCosts(_Model):
    """A transaction on Citus in units of the same transaction on one PostgreSQL; and where that was measured."""

    source: str
    coordinator_flush: float
    coordinator_flush_each_worker: float
    coordinator_event: float
    worker_flush: float
    # Of the share of the events that a worker gets.
    worker_event: float


class Pauses(_Model):
    """The times in which a disk completes no flush: how many a second, and how long they are."""

    per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    lengths: Quantiles = (0.0, 0.0)


class Measured(_Model):
    """One run of the measurements on one machine."""

    measured_at: str
    machine: str
    command: str
    cores: Annotated[int, Field(ge=1)]
    # The share of the machine that others used meanwhile, 0 to 1.
    others_share: Annotated[float, Field(ge=0, le=1)]
    # From a message to a process that sleeps to its first instruction.
    wake: Quantiles
    # One flush of WAL to the disk while the product runs, without those that met a pause.
    commit: Quantiles
    pauses: Pauses
    # How long transactions of the same size take, in units of their median.
    variation: Quantiles
    kinds: dict[str, KindCosts]
    citus: CitusCosts

    def at_speed(self, speed: float) -> "Measured":
        """The same on cores that are `speed` times as fast."""
        return self.model_copy(
            update={
                "wake": tuple(each / speed for each in self.wake),
                "kinds": {
                    name: KindCosts(
                        single=_slower(costs.single, 1 / speed),
                        batch=_slower(costs.batch, 1 / speed),
                        database_follow=costs.database_follow / speed,
                    )
                    for name, costs in self.kinds.items()
                },
            }
        )

    def with_client(self, kind: str, microseconds: float) -> "Measured":
        """The same with another load generator, which takes this time for a request of this kind."""
        costs = self.kinds[kind]
        single = costs.single.model_copy(update={"client_request": microseconds})
        return self.model_copy(update={"kinds": {**self.kinds, kind: costs.model_copy(update={"single": single})}})

    def with_commit(self, milliseconds: float) -> "Measured":
        """The same on a disk that takes this time for each flush, and never pauses."""
        return self.model_copy(update={"commit": (1e3 * milliseconds, 1e3 * milliseconds), "pauses": Pauses()})


Costs = TypeVar("Costs", SingleCosts, BatchCosts)


def _slower(costs: Costs, times: float) -> Costs:
    return costs.model_copy(update={name: times * value for name, value in costs.model_dump().items()})


def processor_times(measured: Measured) -> str:
    """Processor time of an event in each part, as a Markdown table: in flushes of some sizes, and in batches."""
    lines = ["| kind | events of a flush | public, µs | private, µs | PostgreSQL, µs |", "|---|---:|---:|---:|---:|"]
    for name, costs in measured.kinds.items():
        single, batch, follow = costs.single, costs.batch, costs.database_follow
        for events in _FLUSHES:
            public = single.public_accept + single.public_answer + single.public_forward / events
            private = single.private_event + (single.private_forward + single.private_flush) / events
            database = single.database_event + single.database_flush / events + follow
            lines.append(f"| `{name}` | {events} | {public:.1f} | {private:.1f} | {database:.1f} |")
        parts = (batch.public_event, batch.private_event, batch.database_event + follow)
        lines.append(f"| `{name}` | a batch | " + " | ".join(f"{part:.1f}" for part in parts) + " |")
    return "\n".join(lines)


def read_measured(path: Path = MEASURED) -> Measured:
    """Return the service times of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not one that the bench has written.
    """
    return Measured.model_validate_json(path.read_bytes())
