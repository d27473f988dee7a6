"""The properties of API requests that `statistics_api.delivery` needs."""

from operator import attrgetter

from contract.api_requests.columns import ApiRequestColumns
from contract.api_requests.events import ApiRequest
from statistics_api.delivery.kinds import EventKind, row_response

API_REQUESTS = EventKind(
    name="api_requests",
    event=ApiRequest,
    columns=ApiRequestColumns,
    values=attrgetter("url_path", "method", "response_status_code", "response_us", "user_agent", "consumer", "ip"),
    respond=row_response,
)
