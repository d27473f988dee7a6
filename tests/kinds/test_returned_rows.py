"""Kinds whose clients get the stored row back: also on a replay, and 410 once the row was erased."""

from operator import itemgetter
from uuid import uuid4

import pytest

from tests.kinds.client import KindClient, is_replayed
from tests.kinds.envelopes import forward_of
from tests.kinds.served_kinds import KINDS, ServedKind

# What `retire_partition` does with a whole week, for the facts of one identity: their sums stay counted.
ERASE = {
    "parcel": """
    WITH gone AS (DELETE FROM parcel WHERE code = %(identity)s RETURNING project_id, way, grams)
    INSERT INTO parcel_retired AS r (project_id, way, event_count, grams_sum)
    SELECT project_id, way, count(*), sum(grams) FROM gone GROUP BY 1, 2
        ON CONFLICT (project_id, way)
        DO UPDATE SET event_count = r.event_count + excluded.event_count, grams_sum = r.grams_sum + excluded.grams_sum
    """,
    "api_request": """
    SELECT maintenance.add_to_retired(
        maintenance.known_fact_table('api_request'),
        format('DELETE FROM public.api_request WHERE consumer = %%L RETURNING *', %(identity)s))
    """,
    "measurement": """
    SELECT maintenance.add_to_retired(
        maintenance.known_fact_table('measurement'),
        format('DELETE FROM public.measurement WHERE x = %%L RETURNING *', %(identity)s))
    """,
    "store_event": """
    WITH gone AS (DELETE FROM store_event WHERE identity = %(identity)s RETURNING project_id, type_id)
    INSERT INTO store_event_retired AS r (project_id, type_id, event_count)
    SELECT project_id, type_id, count(*) FROM gone GROUP BY 1, 2
        ON CONFLICT (project_id, type_id) DO UPDATE SET event_count = r.event_count + excluded.event_count
    """,
}


@pytest.fixture(params=[kind for kind in KINDS if kind.returns], ids=lambda kind: kind.name, scope="module")
def kind(request: pytest.FixtureRequest) -> ServedKind:
    """Each kind that returns rows."""
    found: ServedKind = request.param
    return found


def test_the_stored_row_is_returned_and_returned_again(client: KindClient) -> None:
    assert client.kind.returns is not None
    key = str(uuid4())
    without = client.event("without")
    if client.kind.optional:
        del without[client.kind.optional]
    for identity, body in (("returned", client.event("returned")), ("without", without)):
        answers = [client.send(body, f"{key} {identity}", instance=instance) for instance in (0, 1)]
        assert [(answer.status_code, is_replayed(answer)) for answer in answers] == [(201, False), (201, True)]
        row = answers[0].json()
        assert answers[1].json() == row
        found = client.rows("SELECT {id}::text FROM {fact} WHERE {identity} = %(i)s", i=client.kind.stored(identity))
        assert found == [(str(row["id"]),)]
        expected = client.kind.returns(body)
        assert {name: row[name] for name in expected} == expected


def test_each_event_of_a_forward_gets_its_own_row(client: KindClient) -> None:
    identities = [f"own-row-{number}" for number in range(20)]
    key = str(uuid4())
    envelope = forward_of(client.kind, [*identities, identities[3]], keys={3: key, 20: key})
    answer = client.forward(envelope)
    assert answer["recorded"] == 20
    assert [(each["position"], each["status"]) for each in answer["exceptions"]] == [(20, "replayed")]
    ids = dict(client.rows("SELECT event_id::text, {id}::text FROM {fact}"))
    expected = [*envelope["event_ids"][:20], envelope["event_ids"][3]]
    assert [str(each["id"]) for each in answer["rows"]] == [ids[each] for each in expected]
    stored_of = client.kind.identity_in_row or itemgetter(client.kind.identity_column)
    assert [client.kind.identity(stored_of(each)) for each in answer["rows"]] == [*identities, identities[3]]


def test_a_replay_of_an_erased_row_is_410_and_moves_no_figure(client: KindClient) -> None:
    key = str(uuid4())
    client.send(client.event("erased"), key)
    client.send(client.event("stays"), f"{key} stays")
    published = client.published()
    client.rows(ERASE[client.kind.fact], identity=client.kind.stored("erased"))
    for instance in (0, 1):
        answer = client.send(client.event("erased"), key, instance=instance)
        assert (answer.status_code, answer.json()["code"]) == (410, "gone")
    assert is_replayed(client.send(client.event("stays"), f"{key} stays"))
    assert client.published() == published
    assert client.facts_of("erased") == 0
    # Another body under its key is still a conflict, and an item of a batch is still a duplicate.
    assert client.send(client.event("erased", 1), key).status_code == 409
    assert client.send_batch([client.event("erased", eventId=key)]).json()["duplicate"] == 1
