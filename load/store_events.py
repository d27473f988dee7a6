"""The figures of a store with ten million events of fifty thousand users in a year.

The events and what is counted of them are made in the database, as the service stores them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from load import fills
from load.environment import BenchEnvironment
from load.figures import Figure, milliseconds
from load.fills import EVENT_ID, Part
from load.wrk import Load, wrk

ROUNDS = 3
EVENTS = 10_000_000
DAYS = 365
USERS = 50_000
TYPES = 5
# So many of the users have events on a day, each of one type: 1,800,000 presences in the year.
_USERS_OF_DAY = 5_000

_TYPES = f"""
    INSERT INTO event_type (project_id, type_id, type)
    SELECT 1, n, 'type-' || n FROM generate_series(1, {TYPES}) AS n
"""  # noqa: S608 - of constants of this file
_USER_NUMBER = f"mod(abs(hashint8({{day}}::bigint * {_USERS_OF_DAY} + n % {_USERS_OF_DAY})::bigint), {USERS})"
_USER = f"('0198c0de-0000-7000-8000-' || lpad(to_hex({_USER_NUMBER}), 12, '0'))::uuid"
_OF_DAY = """
    WITH sent AS (
        INSERT INTO store_event (project_id, received_at, event_id, occurred_at, type_id, person_id, data)
        SELECT 1, now(), {event_id}, {occurred_at}, 1 + n % {types}, {user}, '{{}}'
          FROM {numbers}
     RETURNING type_id, (occurred_at AT TIME ZONE 'UTC')::date AS day),
    of_type AS (
        INSERT INTO store_event_day (project_id, type_id, bucket_start, slot, event_count)
        SELECT 1, type_id, day, 0, count(*) FROM sent GROUP BY type_id, day)
    INSERT INTO store_event_all_day (project_id, bucket_start, slot, event_count)
    SELECT 1, day, 0, count(*) FROM sent GROUP BY day
"""


def fill(url: str, rows: int) -> None:
    """Store `rows` events of the last 365 days in the first project, which has none."""
    fills.execute(url, _TYPES)
    fills.run(url, [_of_day(part) for part in fills.parts(rows, DAYS)])
    fills.run(url, fills.presences("store_event", "person_id", "0, type_id"))
    fills.execute(url, "VACUUM (ANALYZE)")


def figures(environment: BenchEnvironment, seconds: int) -> Iterator[Figure]:
    """One client that asks for the amounts of each day, and one that asks for the users of the year."""
    with environment.product("store") as product:
        fill(environment.server.url(product.name), EVENTS)
        environment.settle()
        now = datetime.now(UTC)
        year = {"from": (now - timedelta(days=DAYS)).date().isoformat(), "to": now.date().isoformat()}

        def loads(path: str, **parameters: object) -> list[Load]:
            url = f"{product.public.url}/api/event/{path}?{urlencode(parameters)}"
            key = [f"X-API-Key: {product.key}"]
            return [wrk(url, connections=1, seconds=seconds, headers=key) for _ in range(ROUNDS)]

        of = f"{EVENTS:,} events in {DAYS} days"
        amounts = [each.p99 for each in loads("amount/type-1", limit=DAYS + 1)]
        yield milliseconds(f"GET amounts of each day, {of}, one client, p99", amounts, 50)
        users = [each.p50 for each in loads("users", **year)]
        yield milliseconds(f"GET users of {DAYS} days, {USERS:,} of them, {of}, median", users, 10)


def _of_day(part: Part) -> str:
    """Return the statement that stores the events of a day and counts them."""
    return _OF_DAY.format(
        event_id=EVENT_ID,
        occurred_at=part.occurred_at,
        types=TYPES,
        user=_USER.format(day=part.day.toordinal()),
        numbers=part.numbers,
    )
