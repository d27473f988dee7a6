"""The logins that the manifests hand out, made by the program of the Job `migrate` on a real server, and tried."""

from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from device_registration_api.schema.schemas import KEYRING, PERSONAL, named_beside
from tests.deploy.rendering import INSTALLATIONS, Document, pods, variables
from tests.schema.schema_steps import migrate, rows

APART = (PERSONAL, KEYRING)


def given(documents: list[Document], name: str) -> dict[str, str]:
    """What the pods of one program know."""
    [pod] = [each for each in pods(documents) if each.labels["app.kubernetes.io/name"] == name]
    return {name: value for name, value in variables(pod.spec["containers"][0], documents).items() if value is not None}


@pytest.fixture
def databases(fresh_database: str) -> Iterator[list[str]]:
    """URLs of the administrator: of an empty database, and of the two that a migration makes beside it."""
    name = parse_dsn(fresh_database)["dbname"]
    beside = [named_beside(name, schema) for schema in APART]
    yield [fresh_database, *(make_dsn(fresh_database, dbname=each) for each in beside)]
    for each in beside:
        rows(make_dsn(fresh_database, dbname="postgres"), f"DROP DATABASE IF EXISTS {each} WITH (FORCE)")


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_the_public_service_cannot_connect_to_personal_data(
    installation: str, rendered: dict[str, list[Document]], databases: list[str]
) -> None:
    documents = rendered[installation]
    logins = {name: value for name, value in given(documents, "migrate").items() if "_DB_" in name}
    migrate(databases[0], logins)
    public, private = given(documents, "statistics-api"), given(documents, "device-registration-api")

    personal = {"user": private["PERSONAL_DB_USER"], "password": private["PERSONAL_DB_PASSWORD"]}
    assert [rows(url, "SELECT 1", **personal) for url in databases[1:]] == [[(1,)]] * len(APART)
    for service in (public, private):
        login = {"user": service["DB_USER"], "password": service["DB_PASSWORD"]}
        assert rows(databases[0], "SELECT 1", **login) == [(1,)]
        for url in databases[1:]:
            with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
                rows(url, "SELECT 1", **login)
