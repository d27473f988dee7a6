"""What becomes of the entries of the inbox, step by step, on two real databases."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg2
import pytest
from uuid_utils import uuid7

from contract.auth_events.columns import AuthEventColumns
from contract.delivery import Batch, Forward, IdempotencyKey
from contract.store_events.columns import StoreEventColumns
from device_registration_api.api_requests.addresses import HashedColumns
from device_registration_api.api_requests.commands import API_REQUESTS
from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.events import idempotency
from device_registration_api.events.table import EventTable
from device_registration_api.inbox.draining import take_step
from device_registration_api.inbox.entries import entries_of, entry_of_batch
from device_registration_api.inbox.recording import Fate
from device_registration_api.inbox.storing import insert_entries
from device_registration_api.store_events.commands import STORE_EVENTS
from local.database import base_environment, migrate
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.errors import OutcomeUnknown
from tests.database import dsn_of
from tests.inbox.rig import inbox_environment, rows_at
from tests.schema.schema_steps import run
from tests.servers import READER, WRITER, Cluster, MigratedDatabase

Result = TypeVar("Result")
TABLES: Mapping[str, EventTable[Any]] = {table.kind: table for table in (AUTH_EVENTS, API_REQUESTS, STORE_EVENTS)}
USER = "0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55"
STORED_USER = f"INSERT INTO project_person (project_id, person_id) VALUES (1, '{USER}')"  # noqa: S608 - a constant


def now() -> datetime:
    return datetime.now(UTC)


def key_of(key: str, says: str) -> IdempotencyKey:
    return IdempotencyKey(key=key, fingerprint=hashlib.sha256(says.encode()).hexdigest())


@dataclass
class World:
    """The first database, and that of the inbox."""

    main: MigratedDatabase
    inbox_url: str
    main_pool: Database
    inbox_pool: Database

    def put(self, table: EventTable[Any], columns: Any, key: str | None = None, **changes: Any) -> Forward[Any]:  # noqa: ANN401
        """Store one event in the inbox."""
        values: dict[str, Any] = {
            "project_ids": [1],
            "event_ids": [str(uuid7())],
            "received_at": [now()],
            "keys": {} if key is None else {0: key_of(key, str(columns))},
        }
        forward = table.forward_model.model_construct(columns=columns, **(values | changes))
        self.insert(list(entries_of(table, forward, [0])))
        return forward

    def insert(self, entries: Sequence[Any]) -> None:
        with closing(psycopg2.connect(self.inbox_url)) as conn, conn:
            insert_entries(conn, entries)

    def step(self, in_main: Callable[[Callable[[Lease], Any]], Any] | None = None) -> Counter[Fate]:
        """Take one step; how many events met which fate."""
        verdicts = take_step(Lease(self.inbox_pool), in_main or self.in_main, TABLES, slot=0)
        return sum((each.fates for each in verdicts), Counter())

    def in_main(self, work: Callable[[Lease], Result]) -> Result:
        return work(Lease(self.main_pool))

    def facts(self, table: EventTable[Any]) -> int:
        return int(rows_at(self.main.admin_url, f"SELECT count(*) FROM {table.fact}")[0][0])  # noqa: S608

    def entries(self) -> list[Any]:
        return rows_at(self.inbox_url, "SELECT kind, is_batch, event_count, refusal FROM inbox_entry ORDER BY entry_id")

    def command(self, *arguments: str) -> tuple[int, str]:
        return run("inbox", inbox_environment(self.inbox_url), *arguments)


@pytest.fixture(scope="module")
def inbox_template(cluster: Cluster, template: str) -> Iterator[str]:
    """The name of an inbox that the real command has made; nobody connects to it."""
    with cluster.new_database(template) as main_name, cluster.new_database() as name:
        env = base_environment() | inbox_environment(cluster.admin_url(name))
        migrate(cluster.admin_url(main_name), WRITER, READER, env)
        yield name


@pytest.fixture
def world(cluster: Cluster, template: str, inbox_template: str) -> Iterator[World]:
    with cluster.new_database(template) as main_name, cluster.new_database(inbox_template) as inbox_name:
        main, inbox_url = MigratedDatabase(cluster.admin_url(main_name)), cluster.admin_url(inbox_name)
        login = inbox_environment(inbox_url)
        # As `migrate` grants it in each database.
        rows_at(inbox_url, f"GRANT CONNECT ON DATABASE {inbox_name} TO {login['INBOX_DB_USER']}")
        inbox_env = WRITER.environment(inbox_url) | {
            "DB_USER": login["INBOX_DB_USER"],
            "DB_PASSWORD": login["INBOX_DB_PASSWORD"],
        }
        prepare = [*idempotency.PREPARED, *(each for table in TABLES.values() for each in table.prepared())]
        main_pool = Database(dsn_of(main.writer_env), connections_max=2, wait_seconds_max=1.0, prepare=prepare)
        inbox_pool = Database(dsn_of(inbox_env), connections_max=2, wait_seconds_max=1.0)
        yield World(main, inbox_url, main_pool, inbox_pool)
        main_pool.close()
        inbox_pool.close()


def auth(who: str = "user") -> AuthEventColumns:
    return AuthEventColumns.model_validate({"user_keys": [who], "device_types": ["iOS"]})


def store_event(user: str = USER) -> StoreEventColumns:
    return StoreEventColumns(types=["visit"], user_ids=[user], data=[{"a": 1}])


def test_an_event_is_recorded_with_its_own_id_and_times(world: World) -> None:
    received_at, occurred_at = now() - timedelta(hours=5), now() - timedelta(days=2)
    sent = world.put(AUTH_EVENTS, auth("someone"), received_at=[received_at], occurred_at={0: occurred_at})
    assert world.step() == {Fate.RECORDED: 1}
    stored = "SELECT event_id::text, received_at, occurred_at, user_key FROM auth_event"
    assert rows_at(world.main.admin_url, stored) == [(sent.event_ids[0], received_at, occurred_at, "someone")]
    assert world.entries() == []
    assert world.step() == {}


def test_an_address_waits_as_a_hash(world: World) -> None:
    columns = HashedColumns.model_validate(
        {
            "url_paths": ["/orders"],
            "methods": ["GET"],
            "status_codes": [200],
            "response_us": [1],
            "user_agents": [None],
            "consumers": ["c"],
            "ip_hashes": {0: "\\x" + "ab" * 16},
        }
    )
    world.put(API_REQUESTS, columns)
    assert world.step() == {Fate.RECORDED: 1}
    assert rows_at(world.main.admin_url, "SELECT encode(ip_hash, 'hex') FROM api_request") == [("ab" * 16,)]


@pytest.mark.parametrize("key", [None, "a key"])
def test_a_drain_that_is_killed_after_the_commit_repeats_nothing(world: World, key: str | None) -> None:
    def killed(work: Callable[[Lease], Result]) -> Result:
        world.in_main(work)
        raise OutcomeUnknown("killed")

    world.put(AUTH_EVENTS, auth(), key)
    batch = AUTH_EVENTS.batch_model(
        columns=auth("of a batch"), project_id=1, batch_id=str(uuid7()), received_at=now(), dropped=3
    )
    world.insert([entry_of_batch(AUTH_EVENTS, batch)])
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            world.step(killed)
    assert world.facts(AUTH_EVENTS) == 1
    assert len(world.entries()) == 2
    world.step()
    world.step()
    assert (world.facts(AUTH_EVENTS), world.entries()) == (2, [])
    dropped = "SELECT sum(dropped_count)::int, (SELECT sum(event_count)::int FROM auth_event_total) FROM dropped_event"
    assert rows_at(world.main.admin_url, dropped) == [(3, 2)]


def test_two_do_not_drain_at_once(world: World) -> None:
    world.put(AUTH_EVENTS, auth())
    with closing(psycopg2.connect(world.inbox_url)) as other, other.cursor() as cursor:
        cursor.execute("SELECT try_to_drain()")
        assert world.step() == {}
        other.rollback()
    assert world.step() == {Fate.RECORDED: 1}


def test_a_repeat_of_what_was_recorded_before_leaves_and_counts_nothing(world: World) -> None:
    for _ in range(2):
        world.put(AUTH_EVENTS, auth(), "the key")
        world.step()
    assert (world.facts(AUTH_EVENTS), world.entries()) == (1, [])


def test_a_conflict_stays_until_an_operator_decides(world: World) -> None:
    world.put(AUTH_EVENTS, auth("first"), "the key")
    world.step()
    world.put(AUTH_EVENTS, auth("second"), "the key")
    assert world.step() == {Fate.REFUSED: 1}
    assert world.step() == {}
    [(kind, _, _, refusal)] = world.entries()
    assert (kind, "another body" in refusal) == ("auth_events", True)
    # It does not hold the key.
    world.put(AUTH_EVENTS, auth("first"), "the key")
    assert world.step() == {Fate.REPLAYED: 1}

    code, printed = world.command()
    assert (code, "0 entries wait; 1 are refused" in printed, "another body" in printed) == (1, True, True)
    assert "1 entries wait again" in world.command("--retry")[1]
    assert world.step() == {Fate.REFUSED: 1}
    assert "0 entries deleted" in world.command("--discard", "--entry", "999999")[1]
    code, printed = world.command("--discard")
    assert (code, "1 entries deleted" in printed, world.entries()) == (0, True, [])
    assert world.facts(AUTH_EVENTS) == 1


def test_events_of_a_deleted_project_are_dropped(world: World) -> None:
    gone = "INSERT INTO project (name, project_key, deleted_at) VALUES ('gone', 'gone', now()) RETURNING project_id"
    [(project_id,)] = rows_at(world.main.admin_url, gone)
    for each in (project_id, 999_999):
        world.put(AUTH_EVENTS, auth(), project_ids=[each])
    assert world.step() == {Fate.DROPPED: 2}
    assert (world.facts(AUTH_EVENTS), world.entries()) == (0, [])


@pytest.mark.parametrize(
    ("state", "fate"),
    [
        ("", Fate.RECORDED),
        (", erased_at = now()", Fate.DROPPED),
        (", suppressed_at = now()", Fate.DROPPED),
    ],
    ids=["there", "erased", "suppressed"],
)
def test_an_event_of_a_person_who_was_erased_or_suppressed_meanwhile_is_dropped(
    world: World, state: str, fate: Fate
) -> None:
    rows_at(world.main.admin_url, STORED_USER)
    rows_at(world.main.admin_url, f"UPDATE project_person SET project_id = project_id{state}")  # noqa: S608
    world.put(STORE_EVENTS, store_event())
    assert world.step() == {fate: 1}
    assert world.entries() == []
    assert world.facts(STORE_EVENTS) == (fate is Fate.RECORDED)


def test_what_was_refused_is_deleted_with_its_person(world: World) -> None:
    rows_at(world.main.admin_url, STORED_USER)
    for key in ("a", "b"):
        world.put(STORE_EVENTS, store_event(), "the key", keys={0: key_of("the key", key)})
        world.step()
    long_ago = "UPDATE inbox_entry SET refused_at = now() - interval '2 hours'"
    rows_at(world.inbox_url, long_ago)
    assert world.step() == {}
    assert len(world.entries()) == 1
    rows_at(world.main.admin_url, "UPDATE project_person SET erased_at = now()")
    assert world.step() == {}  # not before an hour has passed
    rows_at(world.inbox_url, long_ago)
    assert world.step() == {Fate.DROPPED: 1}
    assert world.entries() == []


def test_an_event_of_a_retired_time_stays(world: World) -> None:
    """Whether it was recorded before cannot be known any more."""
    world.put(AUTH_EVENTS, auth(), received_at=[now() - timedelta(days=30)])
    assert world.step() == {Fate.REFUSED: 1}
    rows_at(world.main.admin_url, "UPDATE project SET retention_days = 3")
    world.put(AUTH_EVENTS, auth(), received_at=[now() - timedelta(days=3)])
    assert world.step() == {Fate.REFUSED: 1}
    assert world.facts(AUTH_EVENTS) == 0
    assert ["not kept any more" in refusal for *_, refusal in world.entries()] == [True, True]


def test_what_this_release_cannot_read_stays_and_does_not_hold_up_others(world: World) -> None:
    world.put(AUTH_EVENTS, auth("secret"))
    rows_at(world.inbox_url, "UPDATE inbox_entry SET envelope = replace(envelope, 'iOS', 'secret too')")
    world.put(AUTH_EVENTS, auth())
    assert world.step() == {Fate.REFUSED: 1, Fate.RECORDED: 1}
    [(_, _, _, refusal)] = world.entries()
    assert "cannot read" in refusal
    assert "secret" not in refusal


def test_a_kind_that_this_release_does_not_have_waits(world: World) -> None:
    world.put(AUTH_EVENTS, auth())
    rows_at(world.inbox_url, "UPDATE inbox_entry SET kind = 'future'")
    assert world.step() == {}
    assert world.entries() == [("future", False, 1, None)]


def batch_of(*users: str, keys: Mapping[int, IdempotencyKey], key: IdempotencyKey | None = None) -> Batch[Any]:
    columns = AuthEventColumns.model_validate({"user_keys": list(users), "device_types": ["TV"] * len(users)})
    return AUTH_EVENTS.batch_model(
        columns=columns, project_id=1, batch_id=str(uuid7()), received_at=now(), keys=dict(keys), key=key
    )


def test_a_refused_item_of_a_batch_stays_alone(world: World) -> None:
    world.put(AUTH_EVENTS, auth("owner"), "taken")
    world.step()
    batch = batch_of("one", "two", "three", keys={1: key_of("taken", "something else")}, key=key_of("batch", "b"))
    world.insert([entry_of_batch(AUTH_EVENTS, batch)])
    assert world.step() == {Fate.RECORDED: 2, Fate.REFUSED: 1}
    [(_, is_batch, events, refusal)] = world.entries()
    assert (is_batch, events, "another body" in refusal) == (False, 1, True)
    users = rows_at(world.main.admin_url, "SELECT user_key FROM auth_event ORDER BY user_key")
    assert users == [("one",), ("owner",), ("three",)]
    # Another batch under its key is refused, event by event; a repeat of the batch finds its response.
    other = batch_of("four", "five", keys={}, key=key_of("batch", "another"))
    world.insert([entry_of_batch(AUTH_EVENTS, other)])
    assert world.step() == {Fate.REFUSED: 2}
    assert [entry[1:3] for entry in world.entries()] == [(False, 1)] * 3
    world.insert([entry_of_batch(AUTH_EVENTS, batch.model_copy(update={"batch_id": str(uuid7())}))])
    assert world.step() == {Fate.REPLAYED: 3}


def test_maintain_keeps_the_keys_that_a_waiting_event_may_repeat(world: World) -> None:
    rows_at(
        world.main.admin_url,
        "INSERT INTO idempotency (project_id, key, event_id, received_at, created_at)"
        " SELECT 1, hours::text, gen_random_uuid(), now(), now() - hours * interval '1 hour'"
        "   FROM unnest(ARRAY[49, 51]) AS hours",
    )
    world.put(AUTH_EVENTS, auth(), received_at=[now() - timedelta(hours=2)])
    keys = "SELECT key FROM idempotency ORDER BY key"
    env = world.main.writer_env
    away = inbox_environment(world.inbox_url.replace("test_", "absent_"))
    code, printed = run("maintain", env | away)
    assert (code, "ALARM: no key is deleted" in printed) == (1, True)
    assert rows_at(world.main.admin_url, keys) == [("49",), ("51",)]
    assert run("maintain", env | inbox_environment(world.inbox_url))[0] == 0
    assert rows_at(world.main.admin_url, keys) == [("49",)]
    world.step()
    assert run("maintain", env | inbox_environment(world.inbox_url))[0] == 0
    assert rows_at(world.main.admin_url, keys) == []
