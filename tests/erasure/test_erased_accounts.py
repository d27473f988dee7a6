"""An operator erases an account: nobody can log in with it, and nothing of it is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.database import rows
from tests.projects.conftest import Account
from tests.schema.schema_steps import run

if TYPE_CHECKING:
    import httpx2

    from tests.personal_databases import PersonalDatabases
    from tests.servers import Product

PEOPLE = "SELECT (SELECT count(*) FROM person), (SELECT count(*) FROM person_index), (SELECT count(*) FROM account)"


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    return product_with_accounts


def test_an_account_leaves_every_database(
    product: Product, public: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    environment = {**product.database.writer_env, **personal_databases.environment}
    gone, owner = Account(public), Account(public)
    project = gone.project()
    members = f"/{project['project_key']}/members"

    code, printed = run("erase-account", environment, gone.email)
    assert (code, f"the only owner of {project['project_key']}" in printed) == (1, True), printed
    assert gone.ask("GET", members).status_code == 200

    assert gone.ask("POST", members, {"email": owner.email, "role": "owner"}).status_code == 201
    code, printed = run("erase-account", environment, gone.email.upper())
    assert (code, "the account is erased" in printed, gone.email in printed) == (0, True, False), printed
    login = public.post("/api/v1/auth/login", json={"email": gone.email, "password": "marble-otter-canyon-91"})
    assert login.status_code == 401
    assert len(owner.ask("GET", members).json()) == 1
    assert rows(product.database, "SELECT users, step FROM erasure WHERE project_id = 0") == [(1, 3)]
    assert personal_databases.rows(PEOPLE) == [(1, 1, 1)]

    for nobody in (gone.email, "stranger@example.org"):
        code, printed = run("erase-account", environment, nobody)
        assert (code, "no account has this e-mail address" in printed) == (1, True), printed
    assert run("verify-erased", environment, "--replay")[0] == 0
    # Whoever comes back is somebody new.
    again = {"email": gone.email, "password": "marble-otter-canyon-91"}
    assert public.post("/api/v1/auth/register", json=again).status_code == 201
