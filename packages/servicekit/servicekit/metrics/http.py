"""The durations of HTTP requests, with the names and the buckets of OpenTelemetry's semantic conventions.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics, in the form that Prometheus gives to names.
"""

from servicekit.metrics.cells import Cells, Histogram
from servicekit.metrics.families import Family, gauge, histogram

# Those of the convention, and three below them: most answers take less than its first.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
SERVER_DURATION = histogram(
    "http_server_request_duration_seconds",
    "Duration of the requests that were answered, or whose client has disconnected (no status).",
    "http_request_method",
    "http_route",
    "http_response_status_code",
    bounds=SECONDS,
)
ACTIVE_REQUESTS = gauge("http_server_active_requests", "Requests that were started and are not answered.")
CLIENT_DURATION = histogram(
    "http_client_request_duration_seconds",
    "Duration of the requests to another service (no status: no answer).",
    "http_request_method",
    "url_template",
    "http_response_status_code",
    bounds=SECONDS,
)

# The convention's name for any other, so that a client cannot make series.
_OTHER_METHOD = "_OTHER"
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})


class RequestDurations:
    """The distributions of one process, by method, route and status."""

    def __init__(self, cells: Cells, family: Family) -> None:
        """`family` has these three labels."""
        self._cells = cells
        self._family = family
        self._series: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: list[float]) -> None:
        """Count requests. `route` is "" for a path that is not declared, and `status` 0 if there was no answer."""
        series = self._series.get((method, route, status))
        if series is None:
            series = self._add(method, route, status)
        series.observe_all(seconds)

    def _add(self, method: str, route: str, status: int) -> Histogram:
        known = method if method in _METHODS else _OTHER_METHOD
        series = self._cells.histogram(self._family, known, route, str(status) if status else "")
        if known == method:
            self._series[method, route, status] = series
        return series
