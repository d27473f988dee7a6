"""The kinds of event that every promise is tested with: those that are delivered, and the sample.

A new kind is one entry here. The suite of this folder and the fault rig then test it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Formatter
from typing import Any
from urllib.parse import quote

from contract.api_requests.latency import CELLS_OF_BAND, LATENCY_BOUNDS, latency_cell
from device_registration_api.api_requests.commands import API_REQUESTS as API_REQUEST_TABLE
from device_registration_api.auth_events.commands import AUTH_EVENTS as AUTH_EVENT_TABLE
from device_registration_api.events.table import EventTable
from device_registration_api.measurements.commands import MEASUREMENTS as MEASUREMENT_TABLE
from device_registration_api.store_events.commands import STORE_EVENTS as STORE_EVENT_TABLE
from tests.kinds.keys import KEY_OF_DEFAULT_PROJECT, KEY_OF_OTHER_PROJECT, OTHER_PROJECT, STORED_KEYS
from tests.kinds.names import NumberedNames
from tests.kinds.parcels.commands import PARCELS as PARCEL_TABLE
from tests.servers import Programs

API_REQUEST_FIELDS = (
    "url_path",
    "method",
    "response_status_code",
    "response_time_ms",
    "user_agent",
    "consumer",
    "ip_hash",
)

# The user of every store, and the names of the first types; the identity of an event is in its data.
STORE_USER = "0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55"
STORED_USER = f"""
    INSERT INTO project_person (project_id, person_id) SELECT project_id, '{STORE_USER}' FROM project;
    INSERT INTO event_type (project_id, type_id, type)
    SELECT project_id, number, 'type ' || number FROM project, generate_series(1, 3) AS number;
    ALTER TABLE store_event ADD COLUMN identity text GENERATED ALWAYS AS (data ->> 'identity') STORED;
"""  # noqa: S608 - of constants of this file

# A device has the same number for its clients and in the database.
DEVICES = ("101", "102", "103")
STORED_DEVICES = f"""
    INSERT INTO device (project_id, device_number, device_id)
    SELECT 1, number, number::text FROM unnest('{{{",".join(DEVICES)}}}'::bigint[]) AS number;
"""  # noqa: S608 - of constants of this file

# What `make test` starts in place of the delivered services to have the sample, too.
WITH_SAMPLE = Programs(
    public="tests.kinds.public_service",
    private="tests.kinds.private_service",
    schema=(Path(__file__).parent / "parcels" / "schema.sql").read_text() + STORED_KEYS + STORED_USER + STORED_DEVICES,
)


@dataclass(frozen=True)
class ServedKind:
    """A kind as its clients and its database know it.

    An identity is a test's own name for an event: unique, and found again in the row that the event leaves.
    """

    table: EventTable[Any]
    # Where one event is posted; a batch is posted to the same path and `/batch`. A field of the event that the path
    # names in braces is in the path, and not in the body.
    path: str
    # One event of a group, as a client sends it; several of one group, in the columns that travel.
    body: Callable[[str, str], dict[str, Any]]
    columns: Callable[[Sequence[str], str], dict[str, Any]]
    groups: Sequence[str]
    # The fact table, and its columns that hold the identity and the group.
    fact: str
    identity_column: str
    group_column: str
    # Fields that turn a good event into one that is refused, with which status.
    refusable: Mapping[str, object]
    refused_status: int
    recorded_status: int
    # Where all counts are read, and how many events of each group such a response tells. With `{group}` in the path,
    # it tells only those of that group, as those of "".
    counts_path: str
    counts: Callable[[Any], dict[str, int]]
    # What a client gets back of the event that it sent as this body, apart from what the server adds.
    returns: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    # A field that a client may leave out, of a kind that returns rows.
    optional: str = ""
    # The column that clients get as the `id` of a row, and where the row has the identity.
    id_column: str = "event_id"
    identity_in_row: Callable[[dict[str, Any]], Any] | None = None
    # What the column of the identity holds for an identity, and the identity for which it holds this.
    stored: Callable[[str], object] = str
    identity: Callable[[Any], str] = str
    # What a client calls the time when the event happened.
    occurred_at: str = "occurredAt"
    # What every request of a client has to have.
    headers: Mapping[str, str] = field(default_factory=dict)
    # The rollup that is locked or forbidden to find a writer half way.
    rollup: str = "total"
    # Where its events are recorded to.
    project_key: str = "default"

    @property
    def name(self) -> str:
        return self.table.kind

    def path_of(self, event: object) -> str:
        """Where an event is posted; one that does not say where, to the path of the first group."""
        said = event if isinstance(event, dict) else {}
        return self.path.format_map(self.body("", self.groups[0]) | said)

    def content_of(self, event: Any) -> Any:  # noqa: ANN401 - also what is no event
        """What is posted: an event without the fields that its path has."""
        if not isinstance(event, dict):
            return event
        in_path = {name for _, name, _, _ in Formatter().parse(self.path)}
        return {name: value for name, value in event.items() if name not in in_path}

    @property
    def batch_groups(self) -> Sequence[str]:
        """The groups whose events can be in one batch: those that have the path of the first."""
        path = self.path_of(None)
        return [group for group in self.groups if self.path_of(self.body("", group)) == path]

    def counts_path_of(self, group: str) -> str:
        """Where the count of a group is read."""
        return self.counts_path.replace("{group}", quote(group))

    def count(self, answer: Any, group: str) -> int:  # noqa: ANN401 - as the kind answers
        """What such an answer says."""
        counts = self.counts(answer)
        return counts.get("" if "{group}" in self.counts_path else group, 0)


AUTH_EVENTS = ServedKind(
    AUTH_EVENT_TABLE,
    "/Log/auth",
    body=lambda identity, group: {"userKey": identity, "deviceType": group},
    columns=lambda identities, group: {"user_keys": list(identities), "device_types": [group] * len(identities)},
    groups=("Android", "TV", "Watch", "iOS"),
    fact="auth_event",
    identity_column="user_key",
    group_column="device_type",
    refusable={"deviceType": "Windows"},
    refused_status=400,
    recorded_status=200,
    counts_path="/Log/auth/statistics",
    counts=lambda answer: {each["deviceType"]: each["count"] for each in answer["statistics"]},
)

PARCELS = ServedKind(
    PARCEL_TABLE,
    "/api/parcels",
    body=lambda identity, group: {"code": identity, "way": group, "grams": len(identity), "contents": {"of": [group]}},
    columns=lambda identities, group: {
        "codes": list(identities),
        "ways": [group] * len(identities),
        "grams": [len(identity) for identity in identities],
        "contents": {position: {"of": [group]} for position in range(len(identities))},
    },
    groups=("air", "road", "sea"),
    fact="parcel",
    identity_column="code",
    group_column="way",
    refusable={"grams": -1},
    refused_status=422,
    recorded_status=201,
    counts_path="/api/parcels/totals",
    counts=lambda answer: {way: each["count"] for way, each in answer.items()},
    returns=lambda body: {name: body.get(name) for name in ("code", "way", "grams", "contents")},
    optional="contents",
)


def first_us(band: str) -> int:
    """Return the first time of the fourth cell of a band, in microseconds."""
    return LATENCY_BOUNDS[CELLS_OF_BAND * int(band) + 3 - 1]


API_REQUESTS = ServedKind(
    API_REQUEST_TABLE,
    "/api/v1/track",
    body=lambda identity, group: {
        "url_path": "/orders/{id}",
        "method": "GET",
        "response_status_code": 200,
        "response_time_ms": first_us(group) / 1000,
        "user_agent": "curl",
        "consumer": identity,
    },
    columns=lambda identities, group: {
        "url_paths": ["/orders/{id}"] * len(identities),
        "methods": ["GET"] * len(identities),
        "status_codes": [200] * len(identities),
        "response_us": [first_us(group)] * len(identities),
        "user_agents": ["curl"] * len(identities),
        "consumers": list(identities),
    },
    groups=("0", "1", "7"),
    fact="api_request",
    identity_column="consumer",
    group_column="latency_band",
    refusable={"response_time_ms": -1},
    refused_status=422,
    recorded_status=201,
    counts_path="/api/v1/projects/default/metrics/distribution?start_date=1970-01-01T00:00:00Z&end_date=2199-12-31T00:00:00Z",
    counts=lambda answer: {
        str(latency_cell(round(1000 * each["from_ms"])) // CELLS_OF_BAND): each["count"] for each in answer
    },
    returns=lambda body: {name: body.get(name) for name in API_REQUEST_FIELDS},
    optional="user_agent",
    occurred_at="timestamp",
    headers={"X-API-Key": KEY_OF_DEFAULT_PROJECT},
    rollup="endpoint_day",
)

# The same with the key of another project.
API_REQUESTS_OF_OTHER_PROJECT = replace(
    API_REQUESTS,
    counts_path=API_REQUESTS.counts_path.replace("/default/", f"/{OTHER_PROJECT}/"),
    headers={"X-API-Key": KEY_OF_OTHER_PROJECT},
    project_key=OTHER_PROJECT,
)

STORE_EVENTS = ServedKind(
    STORE_EVENT_TABLE,
    "/api/event",
    body=lambda identity, group: {"type": f"type {group}", "user_id": STORE_USER, "data": {"identity": identity}},
    columns=lambda identities, group: {
        "types": [f"type {group}"] * len(identities),
        "user_ids": [STORE_USER] * len(identities),
        "data": [{"identity": identity} for identity in identities],
    },
    groups=("1", "2", "3"),
    fact="store_event",
    identity_column="identity",
    group_column="type_id",
    refusable={"data": []},
    refused_status=422,
    recorded_status=201,
    counts_path="/api/event/amount/type%20{group}?limit=1000",
    counts=lambda answer: {"": sum(day["event_amount"] for day in answer)},
    returns=lambda body: {name: body[name] for name in ("type", "user_id", "data")},
    occurred_at="occurred_at",
    headers={"X-API-Key": KEY_OF_DEFAULT_PROJECT},
    rollup="day",
    id_column="event_number",
    identity_in_row=lambda row: row["data"]["identity"],
)

NAMES = NumberedNames()
MEASUREMENTS = ServedKind(
    MEASUREMENT_TABLE,
    "/api/v1/stats/devices/{device_id}",
    body=lambda identity, group: {"device_id": group, "x": NAMES.number(identity), "y": 0.1, "z": -1e-3},
    columns=lambda identities, group: {
        "device_numbers": [int(group)] * len(identities),
        "xs": [NAMES.number(identity) for identity in identities],
        "ys": [0.1] * len(identities),
        "zs": [-1e-3] * len(identities),
    },
    groups=DEVICES,
    fact="measurement",
    identity_column="x",
    group_column="device_number",
    refusable={"x": None},
    refused_status=422,
    recorded_status=201,
    counts_path="/api/v1/stats/devices/{group}/series?interval=month&from=2020-01-01T00:00:00Z&to=2040-01-01T00:00:00Z",
    counts=lambda answer: {"": sum(point["x"]["count"] for point in answer["points"])},
    returns=lambda body: {name: body[name] for name in ("device_id", "x", "y", "z")},
    stored=NAMES.number,
    identity=NAMES.name,
    occurred_at="timestamp",
    headers={"X-API-Key": KEY_OF_DEFAULT_PROJECT},
    rollup="quarter_hour",
)

KINDS = (AUTH_EVENTS, API_REQUESTS, STORE_EVENTS, MEASUREMENTS, PARCELS)
