"""What api-analytics stored is imported: its users log in, its keys go on, its requests are counted."""

import hmac
from collections.abc import Iterator
from hashlib import sha256

import httpx2
import pytest
from argon2 import PasswordHasher

from load.old_systems import API_ANALYTICS
from tests.database import rows
from tests.imports.old_systems import FOR_EVER, insert, old_database
from tests.personal_databases import PersonalDatabases
from tests.servers import Cluster, Product, StartProduct, finished_command, run_command

SYSTEM = ("import", "--from", "api-analytics")
SECRET = "the security key of the old system"  # noqa: S105 - of this test alone
KEY = "sk_live_0123456789abcdef0123456789abcdef"
# As that system hashes passwords, with less work.
OLD_HASHES = PasswordHasher(time_cost=3, memory_cost=1024, parallelism=4)
PASSWORD = "correct horse battery staple"  # noqa: S105 - of this test alone
SLOW_HASH = "$argon2id$v=19$m=4194304,t=3,p=4$c2FsdHNhbHQ$" + "a" * 43


def key_hash(key: str, secret: str = SECRET) -> str:
    """As that system stores keys."""
    return hmac.new(secret.encode(), key.encode(), sha256).hexdigest()


@pytest.fixture(scope="module")
def old(cluster: Cluster) -> Iterator[str]:
    """A database of that system: two users whose passwords can be verified, and what may be wrong."""
    with old_database(cluster, API_ANALYTICS) as url:
        insert(
            url,
            "INSERT INTO users (id, email, hashed_password, full_name, is_active, created_at) VALUES %s",
            [
                (1, "Ana@Example.com", OLD_HASHES.hash(PASSWORD), "Ана", True, "2023-01-01T12:00:00+05:45"),
                (2, "gone@example.com", OLD_HASHES.hash(PASSWORD), None, False, "2023-01-02"),
                (3, "bcrypt@example.com", "$2b$12$" + "a" * 53, "", True, "2023-01-03"),
                (4, "ANA@example.com", OLD_HASHES.hash("other"), None, True, "2023-01-03"),
                (5, "none", OLD_HASHES.hash("other"), None, True, "2023-01-03"),
                (
                    6,
                    "slow@example.com",
                    "$argon2id$v=19$m=4194304,t=3,p=4$" + "c2FsdHNhbHQ$" + "a" * 43,
                    None,
                    True,
                    "now",
                ),
            ],
        )
        insert(
            url,
            "INSERT INTO projects (id, name, project_key, description, user_id, is_active, created_at) VALUES %s",
            [
                (1, "Web shop", "web-shop-0a1b2c3d", "", 1, True, "2023-02-01"),
                (2, "Under_score", "under_score-0a1b2c3d", "text", 1, True, "2023-02-01"),
                (3, "No owner", "no-owner-0a1b2c3d", None, 3, True, "2023-02-01"),
                (4, " ", "blank", None, 1, True, "2023-02-01"),
                (5, "Web shop ", "web-shop-again", None, 1, True, "2023-02-01"),
            ],
        )
        insert(
            url,
            "INSERT INTO api_keys (id, key_hash, key_prefix, name, project_id, expires_at, is_active, total_requests) "
            "VALUES %s",
            [
                (1, key_hash(KEY), KEY[:20], "k" * 255, 1, "infinity", True, 7),
                (2, key_hash(KEY + "2"), KEY[:20], "off", 1, "2999-01-01", False, 0),
                (3, key_hash(KEY + "3"), KEY[:20], "past", 2, "2024-01-01", True, 0),
                (4, "no hash", KEY[:20], "wrong", 2, "2999-01-01", True, 0),
                (5, key_hash(KEY + "5"), KEY[:20], "of none", 4, "2999-01-01", True, 0),
            ],
        )
        insert(
            url,
            "INSERT INTO metrics (project_id, url_path, method, response_status_code, response_time_ms, timestamp, "
            "user_agent, ip_hash) VALUES %s",
            [
                (1, "/orders/", "GET", 200, 12.5, "2024-05-01T10:00:00+02:00", "агент/1", "0123456789abcdef"),
                (1, "/orders", "POST", 503, 0.0, "2024-05-01T10:00:00Z", "", None),
                (1, "/orders", "POST", 503, 0.0, "2024-05-01T10:00:00Z", None, None),
                (2, "/" + "x" * 300, "TRACE", 404, 120000.0, "2025-05-01T10:00:00Z", "u" * 5000, None),
                (3, "/", "GET", 299, 1e-3, "2025-05-01T10:00:00Z", None, None),
                (1, "no slash", "GET", 200, 1.0, "2024-05-01T10:00:00Z", None, None),
                (1, "/late", "GET", 200, float("inf"), "2024-05-01T10:00:00Z", None, None),
                (1, "/never", "GET", 700, 1.0, "2024-05-01T10:00:00Z", None, None),
                (1, "/never", "GET", 200, 1.0, "infinity", None, None),
                (4, "/of-none", "GET", 200, 1.0, "2024-05-01T10:00:00Z", None, None),
            ],
        )
        yield url


@pytest.fixture(scope="module")
def product(start_product: StartProduct, personal_databases: PersonalDatabases) -> Product:
    """Both services, which know the secret of the old keys."""
    return start_product(env=personal_databases.environment | {"IMPORTED_KEY_SECRET": SECRET})


@pytest.fixture(scope="module")
def env(product: Product, personal_databases: PersonalDatabases) -> dict[str, str]:
    """What the command reads."""
    return product.database.writer_env | personal_databases.environment | FOR_EVER


@pytest.fixture(scope="module")
def printed(env: dict[str, str], old: str) -> str:
    """The report of the first run, after one that stored nothing and said nearly the same."""
    dry = run_command(env, *SYSTEM, "--dry-run", old)
    real = run_command(env, *SYSTEM, old)
    # Only the database knows that a user has two projects of one name.
    assert [each for each in dry.splitlines() if "project" not in each][:-1] == [
        each for each in real.splitlines() if "project" not in each
    ]
    return real


def test_every_row_is_accounted_for(printed: str, product: Product) -> None:
    for line in (
        "users: 6 rows = 2 registered + 0 duplicate + 4 refused",
        "1 refused: another person has this e-mail address",
        "1 refused: hashed_password: must be a hash of Argon2id: the password cannot be verified",
        "1 refused: hashed_password: must not take more than 16 passes and 256 MiB to verify",
        "1 refused: email: must be an e-mail address",
        "projects: 5 rows = 3 registered + 0 duplicate + 2 refused",
        "1 refused: the user has another project with this name",
        "1 projects have no owner",
        "api_keys: 5 rows = 3 registered + 0 duplicate + 2 refused",
        "metrics: 10 rows = 5 registered + 0 duplicate + 5 refused",
        "1 refused: its project was not imported",
        "1 refused: url_path: must begin with /",
    ):
        assert line in printed
    stored = "SELECT count(*), sum(response_us) FROM api_request WHERE occurred_at < '2026-01-01'"
    assert rows(product.database, stored) == [(5, 120_012_501)]
    assert "no drift" in run_command(product.database.writer_env, "verify-counts")


def test_a_user_logs_in_with_the_old_password_which_is_hashed_anew(
    printed: str, public: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    assert printed
    login = {"email": "ana@example.com", "password": PASSWORD}
    assert public.post("/api/v1/auth/login", json=login | {"password": "wrong"}).status_code == 401
    token = public.post("/api/v1/auth/login", json=login).raise_for_status().json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    me = public.get("/api/v1/users/me", headers=headers).json()
    assert (me["email"], me["full_name"], me["created_at"][:19]) == ("Ana@Example.com", "Ана", "2023-01-01T06:15:00")
    assert {each["project_key"] for each in public.get("/api/v1/projects/", headers=headers).json()} >= {
        "web-shop-0a1b2c3d"
    }
    stored = personal_databases.rows("SELECT password_hash FROM account WHERE is_active")
    assert "m=19456,t=2,p=1" in stored[0][0]
    assert public.post("/api/v1/auth/login", json=login).status_code == 200
    assert public.post("/api/v1/auth/login", json=login | {"email": "gone@example.com"}).status_code == 401


def test_the_figures_of_a_project_are_there(printed: str, public: httpx2.Client) -> None:
    assert printed
    login = {"email": "ana@example.com", "password": PASSWORD}
    token = public.post("/api/v1/auth/login", json=login).json()["access_token"]
    asked = {"start_date": "2024-05-01T00:00:00Z", "end_date": "2024-05-01T23:00:00Z"}
    summary = public.get(
        "/api/v1/projects/web-shop-0a1b2c3d/metrics/summary", params=asked, headers={"Authorization": f"Bearer {token}"}
    ).json()
    assert (summary["request_count"], summary["error_count"], summary["slowest_request_ms"]) == (3, 2, 12.5)


def test_a_request_with_an_old_key_is_recorded(printed: str, public: httpx2.Client, product: Product) -> None:
    assert printed
    event = {"url_path": "/new", "method": "GET", "response_status_code": 200, "response_time_ms": 1}
    for header in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
        assert public.post("/api/v1/track", json=event, headers=header).status_code == 201
    stored = "SELECT project_key, count(*) FROM api_request JOIN project USING (project_id) WHERE url_path = '/new'"
    assert rows(product.database, stored + " GROUP BY 1") == [("web-shop-0a1b2c3d", 2)]
    for key in (KEY + "2", KEY + "3", KEY + "5", KEY[:-1], key_hash(KEY)):
        assert public.post("/api/v1/track", json=event, headers={"X-API-Key": key}).status_code == 401
    # A key that recorded may not read, as it was.
    assert public.get("/Log/auth/statistics", headers={"X-API-Key": KEY}).status_code == 403


def test_an_old_key_may_get_a_rate_limit(printed: str, public: httpx2.Client, product: Product) -> None:
    assert printed
    event = {"url_path": "/limited", "method": "GET", "response_status_code": 200, "response_time_ms": 1}
    rows(product.database, "UPDATE api_key SET rate_limit = '1/hour' WHERE total_requests = 7")
    statuses = set()
    for _ in range(40):
        statuses.add(public.post("/api/v1/track", json=event, headers={"X-API-Key": KEY}).status_code)
    rows(product.database, "UPDATE api_key SET rate_limit = NULL WHERE rate_limit IS NOT NULL")
    assert 429 in statuses


def test_a_second_run_finds_everything(printed: str, env: dict[str, str], old: str, product: Product) -> None:
    assert printed
    count = "SELECT count(*) FROM project"
    before = rows(product.database, count)
    again = run_command(env, *SYSTEM, old)
    for line in (
        "projects: 5 rows = 0 registered + 3",
        "api_keys: 5 rows = 0 registered + 3",
        "= 0 registered + 5 dup",
    ):
        assert line in again
    assert rows(product.database, count) == before


def test_a_deleted_project_is_not_made_again(printed: str, env: dict[str, str], old: str, product: Product) -> None:
    assert printed
    change = "UPDATE project SET deleted_at = {}, is_active = false WHERE name = 'No owner'"
    rows(product.database, change.format("now()"))
    again = run_command(env, *SYSTEM, old)
    rows(product.database, change.format("NULL"))
    assert "1 refused: the project was deleted here" in again
    assert "metrics: 10 rows = 0 registered + 4 duplicate + 6 refused" in again


def test_without_the_settings_of_personal_data_nothing_is_stored(product: Product, old: str) -> None:
    ended = finished_command(product.database.writer_env, *SYSTEM, old)
    assert ended.returncode == 1
    assert "set PERSONAL_DB_USER, PERSONAL_DB_PASSWORD, PERSONAL_KEKS, PERSONAL_INDEX_KEYS" in ended.stderr


def test_a_user_who_was_erased_stays_so(
    printed: str, env: dict[str, str], old: str, personal_databases: PersonalDatabases
) -> None:
    assert printed
    run_command(env, "erase-account", "gone@example.com")
    assert "1 refused: the person was erased here" in run_command(env, *SYSTEM, old)
    assert personal_databases.rows("SELECT count(*) FROM account") == [(1,)]
