"""What is secret or personal is in no log line and in no column of a database."""

import subprocess
from collections.abc import Sequence

import httpx2
import pytest
from psycopg2.extensions import parse_dsn

from local.database import base_environment
from local.services import Service
from tests.accounts.conftest import bearer, new_email
from tests.log_files import all_written
from tests.personal_databases import PersonalDatabases
from tests.servers import Product, finished_command

# Texts that are nowhere by chance.
NAME = "Zerafine Quellmaltz"
RIGHT = "copper-lantern-meridian-58"
WRONG = "granite-whistle-orchard-29"
WEAK = "quellmaltz123"


def dumped(product: Product, databases: PersonalDatabases) -> str:
    """The rows of the three databases."""
    cluster = databases.cluster
    urls = [product.database.admin_url, cluster.admin_url(databases.personal), cluster.admin_url(databases.keyring)]
    texts = []
    for url in urls:
        target = parse_dsn(url)
        command = [cluster.binaries / "pg_dump", "--data-only", "--inserts", "-h", target["host"], "-p", target["port"],
                   "-U", target["user"], target["dbname"]]  # fmt: skip
        environment = {**base_environment(), "PGPASSWORD": target["password"]}
        texts.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    return "\n".join(texts)


def logged(services: Sequence[Service]) -> str:
    all_written(*services)
    return "\n".join(service.log.read_text() for service in services if service.log is not None)


def ways_of_writing(text: str) -> set[str]:
    """A text as it may stand in a log, in a dump of text, and in a dump of bytes."""
    return {each for part in (text, text.lower()) for each in (part, part.encode().hex(), part.replace("@", "%40"))}


def test_a_password_an_address_a_name_and_a_token_are_nowhere(
    product: Product, public: httpx2.Client, private: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    email = new_email()
    register, login = "/api/v1/auth/register", "/api/v1/auth/login"
    assert public.post(register, json={"email": email, "password": WEAK, "full_name": NAME}).status_code == 422
    assert public.post(register, json={"email": email, "password": RIGHT, "full_name": NAME}).status_code == 201
    assert public.post(register, json={"email": email, "password": RIGHT, "full_name": NAME}).status_code == 409
    assert public.post(login, json={"email": email, "password": WRONG}).status_code == 401
    assert public.post(login, json={"email": email, "password": RIGHT, "full_name": 7}).status_code == 200
    assert public.post(login, json={"email": email, "password": [RIGHT]}).status_code == 422
    assert public.post(login, content=f'{{"email":"{email}","password":"{RIGHT}"').status_code == 422
    assert private.post("/administration/logins", json={"email": email, "password": RIGHT}).status_code == 422
    token = public.post(login, json={"email": email, "password": RIGHT}).json()["access_token"]
    assert public.get("/api/v1/auth/me", headers=bearer(token)).status_code == 200
    assert public.get("/api/v1/auth/me", headers=bearer(token[:-4])).status_code == 401
    assert public.get("/Log/auth/statistics", headers=bearer(token)).status_code == 403

    # The routes are in the logs, and an account is in the dump.
    logs, rows = logged([product.public, product.private]), dumped(product, personal_databases)
    assert register in logs
    assert "INSERT INTO public.account " in rows
    everything = logs + rows
    signature = token.rpartition(".")[2]
    for secret in (
        email,
        NAME,
        RIGHT,
        WRONG,
        WEAK,
        token,
        signature,
        personal_databases.environment["TOKEN_SIGNING_KEYS"],
    ):
        found = [way for way in ways_of_writing(secret) if way in everything]
        assert not found, found


@pytest.mark.parametrize("setting", ["TOKEN_SIGNING_KEYS", "PERSONAL_INDEX_KEYS"])
def test_a_wrong_setting_stops_the_start_and_is_not_repeated(
    product: Product, personal_databases: PersonalDatabases, setting: str
) -> None:
    environment = product.database.writer_env | personal_databases.environment | {setting: f"1:{RIGHT}"}
    finished = finished_command(environment, "create-operator", "a@example.com")
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"create-operator: {setting}: key 1 is not the base64")
    assert RIGHT not in finished.stdout + finished.stderr
