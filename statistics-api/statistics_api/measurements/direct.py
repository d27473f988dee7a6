"""The direct route that records a measurement of a device that this process remembers."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from typing_extensions import override

from contract.measurements.events import Measurement
from servicekit.errors import DomainError, Gone, NotFound
from servicekit.protocol.direct_routes import DirectResponse, Pending
from statistics_api.delivery.direct import DirectRecording, ValidEvent
from statistics_api.delivery.kinds import EventKind, Recorded
from statistics_api.devices.known_devices import KnownDevices
from statistics_api.measurements.kind import MEASUREMENTS, of_device

# Of an event whose device is not there any more.
REFUSALS = (NotFound, Gone)


class DirectMeasurements(DirectRecording[Measurement]):
    """Answers `POST /api/v1/stats/devices/{device_id}`."""

    def __init__(self) -> None:
        super().__init__(MEASUREMENTS, b"/api/v1/stats/devices/*", needs_key=True)

    @override
    def kind_at(self, project_id: int, segment: str, state: Mapping[str, Any]) -> EventKind[Measurement] | None:
        devices: KnownDevices = state["devices"]
        number = devices.remembered(project_id, segment)
        return None if number is None else of_device(number)

    @override
    def answer(self, ordinary: ValidEvent, request_id: str, state: Mapping[str, Any]) -> Pending:
        pending = super().answer(ordinary, request_id, state)
        return Pending(pending.outcome, partial(self._respond_of_device, ordinary, state["devices"]))

    def _respond_of_device(
        self, ordinary: ValidEvent, devices: KnownDevices, outcome: "asyncio.Future[Recorded]"
    ) -> DirectResponse | Pending:
        try:
            return self.respond(outcome)
        except REFUSALS as error:
            number, *_ = ordinary.read.values
            refusal = devices.refusal(ordinary.credential.project_id, ordinary.segment, number, error)
            return Pending(asyncio.ensure_future(refusal), _raise)


def _raise(refusal: "asyncio.Future[DomainError]") -> DirectResponse:
    raise refusal.result()
