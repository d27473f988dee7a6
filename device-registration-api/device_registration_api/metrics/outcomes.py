"""Counts the outcomes of events, once for each flush or batch."""

from collections import Counter as Tally

from contract.delivery import BatchResponse, ForwardedBatchResponse, OutcomeStatus
from contract.metric_names import NAMESPACE
from device_registration_api.events.recording import Recorded
from servicekit.errors import DomainError, OutcomeUnknown
from servicekit.metrics.cells import Cells
from servicekit.metrics.families import counter

EVENTS = counter(f"{NAMESPACE}_events_total", "Events by their outcome.", "kind", "outcome")
REPLAYS = counter(
    f"{NAMESPACE}_idempotent_replays_total",
    "Repeats that were answered from what is stored: events, and batches.",
    "kind",
)


class OutcomeCounts:
    """The outcomes of one kind of event in this process."""

    def __init__(self, cells: Cells, kind: str) -> None:
        self._by_status = {status: cells.counter(EVENTS, kind, status.value) for status in OutcomeStatus}
        self._replays = cells.counter(REPLAYS, kind)

    def add(self, status: OutcomeStatus, number: int = 1) -> None:
        """Count events with this outcome."""
        self._by_status[status].add(number)

    def add_flush(self, rows: int, recorded: Recorded) -> None:
        """Count the events of a transaction; `recorded` has those whose outcome is another one than recorded."""
        self._by_status[OutcomeStatus.RECORDED].add(rows - len(recorded.outcomes))
        for status, number in Tally(outcome.status for outcome in recorded.outcomes.values()).items():
            self._by_status[status].add(number)
            if status is OutcomeStatus.REPLAYED:
                self._replays.add(number)

    def add_batch(self, answer: ForwardedBatchResponse) -> None:
        """Count the events of a client's batch. Those that the public service has rejected count as refused."""
        response: BatchResponse = answer.response
        if answer.replayed:
            self._replays.add()
            self._by_status[OutcomeStatus.REPLAYED].add(response.registered + response.duplicate)
            return
        self._by_status[OutcomeStatus.RECORDED].add(response.registered)
        self._by_status[OutcomeStatus.REPLAYED].add(response.duplicate)
        self._replays.add(response.duplicate)
        self._by_status[OutcomeStatus.REFUSED].add(response.rejected)

    def add_failure(self, rows: int, error: DomainError) -> None:
        """Count the events of a flush or a batch that failed as a whole."""
        is_unknown = isinstance(error, OutcomeUnknown)
        self._by_status[OutcomeStatus.OUTCOME_UNKNOWN if is_unknown else OutcomeStatus.NOT_RECORDED].add(rows)
