"""The drill: a backup of a running stack brings everything back on a machine that has nothing."""

import httpx2

from tests.compose.stack import DATABASE, Stack


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

    backup = stack.compose(*postgres, "pg_dump", "--username=postgres", "--format=custom", DATABASE)

    stack.remove()
    stack.up("--no-build", "postgres")
    # The roles, which belong to the server and are in no backup, and a database, which makes room for the backup's.
    stack.compose("run", "--rm", "migrate")
    stack.compose(*postgres, "dropdb", "--username=postgres", DATABASE)
    stack.compose(*postgres, "createdb", "--username=postgres", "--template=template0", DATABASE)
    restore = ("pg_restore", "--username=postgres", "--exit-on-error", f"--dbname={DATABASE}")
    stack.compose(*postgres, *restore, stdin=backup)
    stack.up("--no-build")  # runs `migrate` first: it closes the new database to everybody else

    assert statistics(stack) == before
    assert stack.sql("SELECT count(*) FROM auth_event") == facts
    assert "no drift" in stack.verify_counts()
    assert stack.sql(f"SELECT has_database_privilege('public', '{DATABASE}', 'CONNECT')") == [["f"]]
    # Keys are in the backup, too: what a client sends again is still known.
    assert record(stack, "sent before the backup").headers["idempotent-replayed"] == "true"
    assert record(stack, "sent after the restore").headers.get("idempotent-replayed") is None
