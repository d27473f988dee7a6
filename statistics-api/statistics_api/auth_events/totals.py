"""The totals of one project, and the answers that are made of them once for all requests that share a query."""

from collections.abc import Mapping

from pydantic_core import to_json

from contract.auth_events.events import DeviceType
from statistics_api.polling.tagged_answers import TaggedAnswer


class Totals:
    """The number of events of each device type, as one query found them."""

    def __init__(self, counts: Mapping[DeviceType, int], project_id: int) -> None:
        self._counts = counts
        self._project_id = project_id
        self._answers: dict[DeviceType | None, TaggedAnswer] = {}

    def answer(self, device_type: DeviceType | None) -> TaggedAnswer:
        """Return the answer for one device type; None stands for all of them and their sum."""
        made = self._answers.get(device_type)
        if made is None:
            made = self._answers[device_type] = TaggedAnswer(self._body(device_type), self._project_id)
        return made

    def _body(self, device_type: DeviceType | None) -> bytes:
        counts = self._counts
        if device_type is not None:
            return to_json({"deviceType": device_type, "count": counts[device_type]})
        each = [{"deviceType": device_type, "count": counts[device_type]} for device_type in sorted(counts)]
        return to_json({"statistics": each, "total": sum(counts.values())})
