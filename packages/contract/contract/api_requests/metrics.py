"""The answers about API requests. Times are in milliseconds, and null where there are no requests."""

from typing import Annotated, TypeAlias
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from contract.api_requests.events import Method, StatusCode
from contract.time_series import Interval

# The path of the row that stands for all requests past the last endpoint that a project may have.
OTHER_PATH = "(other)"
GRANULARITIES: tuple[Interval, ...] = ("minute", "hour", "day")

_Count: TypeAlias = Annotated[int, Field(ge=0)]
_Milliseconds: TypeAlias = Annotated[float, Field(ge=0)] | None


class StoredRequest(BaseModel):
    """One request as it is stored."""

    id: UUID
    url_path: str
    method: Method
    response_status_code: StatusCode
    response_time_ms: float = Field(ge=0)
    user_agent: str | None
    ip_hash: str | None = Field(description="A keyed hash of the address in `ip`; its secret changes daily.")
    consumer: str | None
    timestamp: AwareDatetime


class RequestFigures(BaseModel):
    """Figures of some requests. Errors have a status of 400 or more."""

    request_count: _Count
    error_count: _Count
    client_error_count: _Count
    server_error_count: _Count
    error_rate: float = Field(ge=0, le=100, description="In percent; 0 without requests.")
    avg_response_time_ms: _Milliseconds
    p50_ms: _Milliseconds
    p75_ms: _Milliseconds
    p95_ms: _Milliseconds
    p99_ms: _Milliseconds
    fastest_request_ms: _Milliseconds
    slowest_request_ms: _Milliseconds
    requests_per_minute: float = Field(ge=0, description="Over the part of the range that lies before now.")
    apdex: float | None = Field(ge=0, le=1, description="From 0 to 1, by the threshold of the project.")


class Summary(RequestFigures):
    """All requests of a range."""

    distinct_consumers: int = Field(ge=0, description="On all days that the range touches.")
    dropped: int = Field(ge=0, description="Requests that clients said they had lost.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request_count": 2,
                    "error_count": 1,
                    "client_error_count": 1,
                    "server_error_count": 0,
                    "error_rate": 50.0,
                    "avg_response_time_ms": 21.5,
                    "p50_ms": 12.5,
                    "p75_ms": 30.5,
                    "p95_ms": 30.5,
                    "p99_ms": 30.5,
                    "fastest_request_ms": 12.5,
                    "slowest_request_ms": 30.5,
                    "requests_per_minute": 0.003,
                    "apdex": 1.0,
                    "distinct_consumers": 1,
                    "dropped": 0,
                }
            ]
        }
    )


class EndpointFigures(RequestFigures):
    """The requests of one endpoint. `(other)`, without a method, is all that came past the 1,000th endpoint."""

    method: str | None
    url_path: str


class SeriesPoint(BaseModel):
    """The requests of one bucket, which begins at `timestamp`."""

    timestamp: AwareDatetime
    request_count: _Count
    avg_response_time_ms: _Milliseconds
    error_count: _Count
    p50_ms: _Milliseconds
    p95_ms: _Milliseconds
    p99_ms: _Milliseconds
    client_error_count: _Count
    server_error_count: _Count


class EndpointCounts(BaseModel):
    """How many requests an endpoint had in each bucket, as many as the answer has `timestamps`."""

    method: str | None
    url_path: str
    request_counts: list[_Count]


class EndpointSeries(BaseModel):
    """The requests of each endpoint in each bucket; the buckets begin at `timestamps`."""

    timestamps: list[AwareDatetime]
    endpoints: list[EndpointCounts]


class DistributionCell(BaseModel):
    """The requests whose time was from `from_ms` to `to_ms`, both included."""

    from_ms: float = Field(ge=0)
    to_ms: float = Field(ge=0)
    count: int = Field(ge=1)
