"""A job that dies at any statement is completed by the next one, and eight writers beside it change no figure."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

from local.database import base_environment
from tests.erasure.conftest import NOW, PROJECT, World
from tests.maintenance.rounds import as_administrator
from tests.schema.schema_steps import run

# More than an erasure has.
STATEMENTS_MAX = 84
PEOPLE = """
    WITH new AS (INSERT INTO person (project_id, person_id, key_id, sealed)
                 SELECT 1, gen_random_uuid(), gen_random_uuid(), '\\x01' FROM generate_series(1, %(people)s)
                 RETURNING person_id, key_id)
    SELECT person_id::text, key_id::text FROM new
"""
DIGESTS = "INSERT INTO person_index SELECT 1, 1, sha256(uuid_send(person_id)), 1, person_id FROM person"
FOUND = """
    SELECT count(*)::int, count(finished_at)::int, sum(users)::int, sum(events)::int
      FROM erasure WHERE person_id = ANY(%(people)s::uuid[])
"""


def people_with_events(world: World, count: int) -> list[UUID]:
    """People who cannot be read, because nobody has their keys: they are made at once."""
    made = world.personal.rows(PEOPLE, {"people": count})
    world.personal.rows(f"{DIGESTS} WHERE person_id = ANY(%(ids)s::uuid[])", {"ids": [person for person, _ in made]})
    world.in_keyring(
        "INSERT INTO person_key SELECT k::uuid, 1, p::uuid, 1, '\\x01' FROM unnest(%(people)s, %(keys)s) AS new(p, k)",
        {"people": [person for person, _ in made], "keys": [key for _, key in made]},
    )
    people = [UUID(person) for person, _ in made]
    as_administrator(
        world.database,
        "INSERT INTO project_person SELECT 1, person FROM unnest(%(people)s::uuid[]) AS person",
        people=[str(each) for each in people],
    )
    world.record(*((person, NOW - timedelta(days=days)) for person in people for days in (0, 1, 4)))
    return people


def test_a_job_that_is_killed_at_any_statement_is_completed_by_maintain(world: World) -> None:
    people = people_with_events(world, STATEMENTS_MAX)
    before = world.published()
    finished = subprocess.run(
        [sys.executable, "-m", "tests.erasure.killed_job", *world.dsns],
        input="".join(f"{each}\n" for each in people),
        env=base_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    ends = finished.stdout.split()
    assert set(ends) == {"died", "done"}, finished.stderr
    died = ends.index("done")
    assert ends == ["died"] * died + ["done"] * (STATEMENTS_MAX - died)
    assert died > 50
    world.assert_exact()
    assert world.published() == before

    code, printed = run("maintain", world.environment)
    assert code == 0, printed
    # Those that died before the ledger knew them were not asked for yet.
    known = [UUID(person) for (person,) in as_administrator(world.database, "SELECT person_id::text FROM erasure")]
    unknown = [each for each in people if each not in known]
    assert 0 < len(unknown) < 10
    for each in unknown:
        world.erase(each)

    people_ids = [str(each) for each in people]
    everybody = len(people)
    assert as_administrator(world.database, FOUND, people=people_ids) == [
        (everybody, everybody, everybody, 3 * everybody)
    ]
    assert Counter(tuple(world.left(each)) for each in people) == {(0, 0, 0): everybody}
    world.assert_exact()
    assert world.published() == before
    code, printed = run("verify-erased", world.environment)
    assert (code, "nothing is left of anybody" in printed) == (0, True), printed


def test_what_is_left_is_found_and_erased_again(world: World) -> None:
    gone = world.person_with_events()
    receipt = world.erase(gone).receipt
    world.record((gone, NOW), (gone, NOW - timedelta(days=9)))
    world.in_keyring("INSERT INTO person_key VALUES (gen_random_uuid(), 1, %(id)s, 1, '')", {"id": str(gone)})
    code, printed = run("verify-erased", world.environment)
    assert code == 1
    assert f"{receipt}: 2 rows in api_request, 1 rows in api_request_presence, 1 rows in keyring" in printed
    code, printed = run("verify-erased", world.environment, "--replay")
    assert code == 0, printed
    assert world.left(gone) == [0, 0, 0]
    world.assert_exact()


def test_without_personal_data_the_commands_say_so(world: World) -> None:
    settings = {**world.environment, "PERSONAL_KEKS": ""}
    code, printed = run("verify-erased", settings)
    assert (code, "PERSONAL_KEKS" in printed) == (1, True)
    gone = world.person()
    as_administrator(
        world.database,
        "INSERT INTO erasure VALUES (%(project)s, gen_random_uuid(), %(person)s, now())",
        project=PROJECT,
        person=str(gone),
    )
    code, printed = run("maintain", settings)
    assert (code, "ALARM: 1 cannot be completed" in printed) == (1, True), printed
    assert run("verify-erased", world.environment)[0] == 1  # it is not finished
    assert run("maintain", world.environment)[0] == 0
    assert world.left(gone) == [0, 0, 0]


NEW_PROJECT = "INSERT INTO project (name, project_key, deleted_at) VALUES ('p', %(key)s, %(at)s) RETURNING project_id"
PEOPLE_LEFT = """
    SELECT (SELECT count(*)::int FROM person WHERE project_id = %(id)s),
           (SELECT count(*)::int FROM person_index WHERE project_id = %(id)s)
"""


def test_a_deleted_project_waits_for_its_people_to_be_erased(world: World) -> None:
    deleted = {"key": f"p-{uuid4()}", "at": NOW - timedelta(minutes=2)}
    [(project,)] = as_administrator(world.database, NEW_PROJECT, **deleted)
    as_administrator(
        world.database, "INSERT INTO project_person VALUES (%(project)s, gen_random_uuid())", project=project
    )
    world.personal.rows(
        "INSERT INTO person SELECT %(project)s, gen_random_uuid(), gen_random_uuid(), '' FROM generate_series(1, 3)",
        {"project": project},
    )
    world.personal.rows(
        "INSERT INTO person_index VALUES (%(project)s, 1, sha256(''), 1, gen_random_uuid())", {"project": project}
    )
    key = "INSERT INTO person_key VALUES (gen_random_uuid(), %(project)s, gen_random_uuid(), 1, '')"
    world.in_keyring(key, {"project": project})

    for absent in ({"PERSONAL_KEKS": ""}, {"KEYRING_DATABASE_URL": world.cluster.admin_url("absent")}):
        code, printed = run("maintain", {**world.environment, **absent})
        assert (code, f"project {project}: ALARM: its people" in printed) == (1, True), printed
        assert as_administrator(world.database, "SELECT 1 FROM project WHERE project_id = %(id)s", id=project)

    code, printed = run("maintain", world.environment)
    assert code == 0, printed
    assert as_administrator(world.database, "SELECT 1 FROM project WHERE project_id = %(id)s", id=project) == []
    assert world.personal.rows(PEOPLE_LEFT, {"id": project}) == [(0, 0)]
    keys = "SELECT count(*)::int FROM person_key WHERE project_id = %(id)s"
    assert world.in_keyring(keys, {"id": project}) == [(0,)]
