"""The drill: a backup of a running stack brings everything back on a machine that has nothing."""

import httpx2

from tests.compose.stack import DATABASE, Stack

DATABASES = (DATABASE, f"{DATABASE}_personal", f"{DATABASE}_keyring")
PERSON = """
    INSERT INTO person (project_id, person_id, key_id, sealed)
    VALUES (1, gen_random_uuid(), gen_random_uuid(), 'sealed')
"""
KEY = """
    INSERT INTO person_key (key_id, project_id, person_id, kek, wrapped)
    VALUES (gen_random_uuid(), 1, gen_random_uuid(), 1, 'wrapped')
"""


def statistics(stack: Stack) -> dict[str, object]:
    answer: dict[str, object] = (
        httpx2.get(f"{stack.url}/Log/auth/statistics", trust_env=False).raise_for_status().json()
    )
    return answer


def record(stack: Stack, key: str) -> httpx2.Response:
    body = {"userKey": "before-the-backup", "deviceType": "TV"}
    answer = httpx2.post(f"{stack.url}/Log/auth", json=body, headers={"Idempotency-Key": key}, trust_env=False)
    return answer.raise_for_status()


def test_a_backup_is_restored_on_an_empty_volume(stack: Stack) -> None:
    postgres = ("exec", "-T", "postgres")
    record(stack, "sent before the backup")
    before = statistics(stack)
    facts = stack.sql("SELECT count(*) FROM auth_event")
    stack.sql(PERSON, f"{DATABASE}_personal")
    stack.sql(KEY, f"{DATABASE}_keyring")

    dump = ("pg_dump", "--username=postgres", "--format=custom")
    # The keyring last: a person's key is stored before the person.
    backups = {name: stack.compose(*postgres, *dump, name) for name in DATABASES}

    stack.remove()
    stack.up("--no-build", "postgres")
    # The roles, which belong to the server and are in no backup, and databases, which make room for the backup's.
    stack.compose("run", "--rm", "migrate")
    for name, backup in backups.items():
        stack.compose(*postgres, "dropdb", "--username=postgres", name)
        stack.compose(*postgres, "createdb", "--username=postgres", "--template=template0", name)
        restore = ("pg_restore", "--username=postgres", "--exit-on-error", f"--dbname={name}")
        stack.compose(*postgres, *restore, stdin=backup)
    stack.up("--no-build")  # runs `migrate` first: it closes the new databases to everybody else

    assert statistics(stack) == before
    assert stack.sql("SELECT count(*) FROM auth_event") == facts
    assert "no drift" in stack.verify_counts()
    for name in DATABASES:
        assert stack.sql(f"SELECT has_database_privilege('public', '{name}', 'CONNECT')") == [["f"]]
    assert stack.sql("SELECT encode(sealed, 'escape') FROM person", f"{DATABASE}_personal") == [["sealed"]]
    assert stack.sql("SELECT encode(wrapped, 'escape') FROM person_key", f"{DATABASE}_keyring") == [["wrapped"]]
    # Keys are in the backup, too: what a client sends again is still known.
    assert record(stack, "sent before the backup").headers["idempotent-replayed"] == "true"
    assert record(stack, "sent after the restore").headers.get("idempotent-replayed") is None
