"""No tenant sees or changes what belongs to another: every documented operation, asked with every kind of credential.

The operations are those of the OpenAPI document, so a new route is tested without a new test. It only has to say what a
new parameter of its path is, in `Tenant.path_values`.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2
import pytest

from contract.access import Scope, key_id_of, new_key
from contract.people import StoreUserDraft
from contract.shares import View
from contract.webhooks import WebhookDraft
from statistics_api.access.sessions import SessionKind
from statistics_api.access.shares import FIGURES
from tests.accounts.conftest import bearer, login, new_email, register
from tests.accounts.forged import OTHER, claims, signed
from tests.database import rows
from tests.servers import Product

# Whatever the owner has stored has this text in it.
MARKER = "marker-of-the-owner"
OK = range(200, 300)
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
# A request of the owner may be refused for what it asks, such as a name that is taken: never for who asks.
OF_OWNER = {*OK, 400, 409, 410, 422}
# The user that examples name is one of each project.
EXAMPLE_USER = """
    CREATE FUNCTION add_example_user() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.project_person (project_id, person_id)
        VALUES (new.project_id, '0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55');
        RETURN NULL;
    END $$;
    CREATE TRIGGER add_example_user AFTER INSERT ON project FOR EACH ROW EXECUTE FUNCTION add_example_user();
"""
# Without what a follower derives from the facts, some seconds after them.
TABLES = """
    SELECT c.oid::regclass::text
      FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'project_id' AND NOT attisdropped
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND c.relname NOT IN (
           SELECT fact || derived FROM maintenance.fact_table, unnest(ARRAY['_presence', '_distinct']) AS derived
            WHERE presence_follows)
"""


class Operation(NamedTuple):
    """One method of one path, as the OpenAPI document has it."""

    method: str
    path: str
    documented: Mapping[str, Any]

    @property
    def security(self) -> list[dict[str, list[str]]]:
        return list(self.documented.get("security", []))

    def takes(self, scheme: str) -> bool:
        return any(scheme in each for each in self.security)

    @property
    def takes_sessions(self) -> bool:
        """Whether a browser's session may use it; what only a share's token may use, nobody else asks for."""
        return not self.takes("shareToken") or self.takes("apiKey")

    @property
    def is_optional(self) -> bool:
        """Whether it can be used without a credential."""
        return {} in self.security

    @property
    def is_for_operators(self) -> bool:
        """Whether only operators of the installation may use it, and no account of a project."""
        return {"accountToken": ["operator"]} in self.security

    @property
    def names_what_is_another_s(self) -> bool:
        """Whether its path names a project, or something in one, that no other project has."""
        names = ("project_key", "user_id", "email", "receipt", "device_id")
        return any(f"{{{name}}}" in self.path for name in names)

    def body_examples(self) -> list[dict[str, Any]]:
        """The content and the headers of each."""
        content = self.documented.get("requestBody", {}).get("content", {})
        bodies = [
            {"content": example if isinstance(example, str) else json.dumps(example), "headers": {"Content-Type": kind}}
            for kind, each in content.items()
            for example in [
                *each["schema"].get("examples", []),
                *(named["value"] for named in each.get("examples", {}).values()),
            ]
        ]
        assert bodies or not content, f"{self.method} {self.path} has a body and no example of it"
        return bodies

    @property
    def scope(self) -> Scope:
        """What a key needs."""
        [scope] = {
            scope for each in self.security for scheme in ("apiKey", "bearerKey") for scope in each.get(scheme, [])
        }
        return Scope(scope)


@dataclass
class Tenant:
    """An account with a project, and a key of each scope and of all."""

    public: httpx2.Client
    account_id: str
    token: str
    project: dict[str, Any]
    # Is in every text that the tenant stores.
    marker: str
    key: str = ""
    key_of: Mapping[Scope, str] = field(default_factory=dict)
    # A person of the project, beside the one of the examples.
    user: dict[str, Any] = field(default_factory=dict)
    # Of another one, who was erased.
    receipt: str = ""
    # A device of that person, as it is written in a path; it has measured something.
    device_id: str = ""
    # A webhook with a rule and a delivery.
    webhook: Mapping[str, str] = field(default_factory=dict)
    # A share of each view.
    shares: Mapping[View, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def new(cls, public: httpx2.Client, marker: str = "words-of-another") -> "Tenant":
        email = new_email()
        register(public, email).raise_for_status()
        token = login(public, email).json()["access_token"]
        draft = {"name": secrets.token_hex(8), "description": marker}
        project = public.post("/api/v1/projects", json=draft, headers=bearer(token)).raise_for_status().json()
        [member] = public.get(f"/api/v1/projects/{project['project_key']}/members", headers=bearer(token)).json()
        tenant = cls(public, member["account_id"], token, project, marker)
        tenant.key = tenant.new_key(*Scope)
        tenant.key_of = {scope: tenant.new_key(scope) for scope in Scope}
        [example] = StoreUserDraft.model_json_schema()["examples"]
        own = {"email": new_email(), "username": marker, "first_name": marker, "last_name": marker}
        for body in (example, example | own):
            sent = public.post("/api/user", json=body, headers=key_header(tenant.key))
            tenant.user = sent.raise_for_status().json()
        gone = {**example, "email": new_email(), "username": "gone"}
        erased = public.post("/api/user", json=gone, headers=key_header(tenant.key)).raise_for_status().json()
        erasure = public.delete(f"/api/user/{erased['id']}", headers=key_header(tenant.key))
        tenant.receipt = erasure.raise_for_status().json()["receipt"]
        device = {"device_id": f"{marker} {secrets.token_hex(4)}", "user_id": tenant.user["id"]}
        made = public.post("/api/v1/devices", json=device, headers=key_header(tenant.key)).raise_for_status()
        tenant.device_id = quote(made.json()["device_id"], safe="")
        point = {"x": 1, "y": 2, "z": 3}
        measured = f"/api/v1/stats/devices/{tenant.device_id}"
        public.post(measured, json=point, headers=key_header(tenant.key)).raise_for_status()
        [hook] = WebhookDraft.model_json_schema()["examples"]
        webhook = tenant.ask("POST", "/webhooks", hook | {"description": marker})
        delivery = tenant.ask("POST", f"/webhooks/{webhook['id']}/test")
        tenant.ask("POST", f"/webhooks/{webhook['id']}/streams", {"kind": "measurements"})
        ids = {
            "kind": "measurements",
            "webhook_id": webhook["id"],
            "rule_id": webhook["rules"][0]["id"],
            "delivery_id": delivery["id"],
        }
        tenant.webhook = ids
        of_device = {View.DEVICE: {"device_id": device["device_id"]}}
        views = {view: {"view": view, **of_device.get(view, {})} for view in View}
        tenant.shares = {view: tenant.ask("POST", "/shares", body) for view, body in views.items()}
        return tenant

    def new_key(self, *scopes: Scope) -> str:
        body = {"name": self.marker, "scopes": list(scopes)}
        return str(self.ask("POST", "/api-keys", body)["key"])

    def project_token(self, scope: Scope | None = None) -> str:
        """A token that was made for the key of a scope, or of all."""
        key = self.key if scope is None else self.key_of[scope]
        answer = self.public.post("/api/auth", json={"api_key": key})
        return str(answer.raise_for_status().json()["access_token"])

    def ask(self, method: str, below: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        path = f"/api/v1/projects/{self.project['project_key']}{below}"
        answer = self.public.request(method, path, json=body, headers=bearer(self.token)).raise_for_status()
        return answer.json() if answer.content else None

    def path_values(self) -> dict[str, str]:
        """What each parameter of a path is for this tenant."""
        key_id = key_id_of(self.key)
        assert key_id is not None
        return {
            "project_key": self.project["project_key"],
            "key_id": key_id,
            "account_id": self.account_id,
            "type": self.marker,
            "user_id": self.user["id"],
            "email": self.user["email"],
            "receipt": self.receipt,
            "device_id": self.device_id,
            "store_id": str(self.project["id"]),
            **self.webhook,
            "share_id": self.shares[View.REQUESTS]["id"],
        }

    def requests_of(self, operation: Operation) -> Iterator[Mapping[str, Any]]:
        """Requests for this tenant's things, with each example of a body; they lack a credential."""
        # A path has one name for its parameter: what is found by an e-mail address is deleted by its id.
        of_method = {"email": self.user["id"]} if operation.method == "DELETE" else {}
        path = operation.path.format(**self.path_values() | of_method)
        for body in operation.body_examples() or [{"headers": {}}]:
            yield {"method": operation.method, "url": path, **body}


def ask(tenant: Tenant, request: Mapping[str, Any], credential: Mapping[str, str]) -> httpx2.Response:
    return tenant.public.request(**{**request, "headers": {**request["headers"], **credential}})


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    rows(product_with_accounts.database, EXAMPLE_USER)
    return product_with_accounts


@pytest.fixture(scope="module")
def operations(public: httpx2.Client) -> list[Operation]:
    """The operations that need a credential, or take one."""
    paths = public.get("/openapi.json").json()["paths"]
    found = [Operation(method.upper(), path, each) for path in paths for method, each in paths[path].items()]
    # The account that other examples name is there.
    [registration] = [each for each in found if each.path.endswith("/register")]
    [example] = registration.body_examples()
    public.request(registration.method, registration.path, **example).raise_for_status()
    protected = [each for each in found if each.security]
    assert len(protected) > 25
    return protected


@pytest.fixture(scope="module")
def owner(public: httpx2.Client) -> Tenant:
    """Has stored something of every kind."""
    tenant = Tenant.new(public, MARKER)
    sent = {"X-API-Key": tenant.key}
    public.post("/Log/auth", json={"userKey": MARKER, "deviceType": "iOS"}, headers=sent).raise_for_status()
    request = {"url_path": f"/{MARKER}", "method": "GET", "response_status_code": 200, "response_time_ms": 1}
    public.post("/api/v1/track", json=request | {"consumer": MARKER}, headers=sent).raise_for_status()
    event = {"type": MARKER, "user_id": "0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55", "data": {"of": MARKER}}
    public.post("/api/event", json=event, headers=sent).raise_for_status()
    return tenant


@pytest.fixture(scope="module")
def stranger(public: httpx2.Client) -> Tenant:
    return Tenant.new(public)


def stored(product: Product, tenant: Tenant) -> dict[str, int]:
    """How many rows of each table belong to a tenant's project."""
    project = {"key": tenant.project["project_key"]}
    [(project_id,)] = rows(product.database, "SELECT project_id FROM project WHERE project_key = %(key)s", project)
    return {
        table: rows(product.database, f"SELECT count(*)::int FROM {table} WHERE project_id = {project_id}")[0][0]  # noqa: S608 - names of the catalogue
        for (table,) in rows(product.database, TABLES)
    }


def key_header(key: str) -> dict[str, str]:
    return {"X-API-Key": key}


def revoked(owner: Tenant, _: Product) -> dict[str, str]:
    key = owner.new_key(*Scope)
    owner.ask("DELETE", f"/api-keys/{key_id_of(key)}")
    return key_header(key)


def expired(owner: Tenant, product: Product) -> dict[str, str]:
    key = owner.new_key(*Scope)
    past = "UPDATE api_key SET expires_at = now() - interval '1 second' WHERE key_id = %(id)s"
    rows(product.database, past, {"id": key_id_of(key)})
    return key_header(key)


def of_a_blocked_project(owner: Tenant, _: Product) -> dict[str, str]:
    blocked = Tenant.new(owner.public)
    blocked.ask("PATCH", "", {"is_active": False})
    return key_header(blocked.key)


NO_LONGER_VALID: dict[str, Callable[[Tenant, Product], dict[str, str]]] = {
    "revoked key": revoked,
    "expired key": expired,
    "key of an inactive project": of_a_blocked_project,
    "unknown key": lambda *_: key_header(new_key().text),
    "unknown key as a bearer": lambda *_: bearer(new_key().text),
}
NO_TOKEN: dict[str, Callable[[Tenant, Product], dict[str, str]]] = {
    "expired token": lambda owner, _: bearer(signed(claims(sub=owner.account_id, exp=int(time.time()) - 60))),
    "token that another key signed": lambda owner, _: bearer(signed(claims(sub=owner.account_id), OTHER)),
    "token of no account": lambda *_: bearer(signed(claims())),
    "neither key nor token": lambda *_: bearer("x"),
}


@pytest.mark.parametrize("name", NO_LONGER_VALID)
def test_a_key_that_is_not_valid_does_nothing(
    product: Product, owner: Tenant, operations: list[Operation], name: str
) -> None:
    credential = NO_LONGER_VALID[name](owner, product)
    before = stored(product, owner)
    for operation in operations:
        # Where only accounts are let in, nobody looks whether a key is valid.
        expected = {401} if operation.takes("apiKey") else {401, 403}
        refused_everywhere(owner, operation, credential, expected)
    assert stored(product, owner) == before


@pytest.mark.parametrize("name", NO_TOKEN)
def test_a_token_that_is_not_valid_does_nothing(
    product: Product, owner: Tenant, operations: list[Operation], name: str
) -> None:
    credential = NO_TOKEN[name](owner, product)
    before = stored(product, owner)
    for operation in operations:
        expected = {401} if operation.takes("accountToken") else {401, 403}
        refused_everywhere(owner, operation, credential, expected)
    assert stored(product, owner) == before


def refused_everywhere(owner: Tenant, operation: Operation, credential: Mapping[str, str], expected: set[int]) -> None:
    for request in owner.requests_of(operation):
        answer = ask(owner, request, credential)
        assert answer.status_code in expected, (operation.method, operation.path, answer.text)
        assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
        assert MARKER not in answer.text


def test_a_stranger_sees_and_changes_nothing(
    product: Product, owner: Tenant, stranger: Tenant, operations: list[Operation]
) -> None:
    """With a valid key and a valid token of another project and account."""
    before = stored(product, owner)
    for operation in operations:
        for scheme, credential in (
            ("apiKey", key_header(stranger.key)),
            ("projectToken", bearer(stranger.project_token())),
            ("accountToken", bearer(stranger.token)),
        ):
            for request in owner.requests_of(operation):
                answer = ask(owner, request, credential)
                said = (operation.method, operation.path, scheme, answer.text)
                if not operation.takes(scheme) or operation.is_for_operators:
                    assert answer.status_code == 403, said
                elif operation.names_what_is_another_s:
                    assert answer.status_code == 404, said
                else:
                    assert answer.status_code in OF_OWNER, said
                assert MARKER not in answer.text, said
    assert stored(product, owner) == before


def sessions_of(tenant: Tenant) -> dict[str, str]:
    """The cookies of a browser in which a tenant has opened an account and a project."""
    tokens = {SessionKind.ACCOUNT: tenant.token, SessionKind.PROJECT: tenant.project_token()}
    return {"Cookie": "; ".join(f"{kind.cookie_name(secure=False)}={token}" for kind, token in tokens.items())}


def test_a_stranger_s_sessions_see_and_change_nothing(
    product: Product, owner: Tenant, stranger: Tenant, operations: list[Operation]
) -> None:
    before = stored(product, owner)
    credential = sessions_of(stranger) | OWN_PAGE
    for operation in operations:
        for request in owner.requests_of(operation):
            answer = ask(owner, request, credential)
            said = (operation.method, operation.path, answer.text)
            if not operation.takes_sessions:
                assert answer.status_code == 401, said
            elif operation.is_for_operators:
                assert answer.status_code == 403, said
            elif operation.names_what_is_another_s:
                assert answer.status_code == 404, said
            else:
                assert answer.status_code in OF_OWNER, said
            assert MARKER not in answer.text, said
    assert stored(product, owner) == before


def test_the_owner_s_sessions_do_nothing_for_another_page(
    product: Product, owner: Tenant, operations: list[Operation]
) -> None:
    """Cross-site request forgery, tried with each operation."""
    before = stored(product, owner)
    sessions = sessions_of(owner)
    for operation in operations:
        for of_another in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://attacker.example"}):
            for request in owner.requests_of(operation):
                answer = ask(owner, request, sessions | of_another)
                expected = 403 if operation.takes_sessions else 401
                assert answer.status_code == expected, (operation.method, operation.path, answer.text)
                assert MARKER not in answer.text
    assert stored(product, owner) == before


def test_without_a_credential_nobody_sees_a_project(
    product: Product, owner: Tenant, operations: list[Operation]
) -> None:
    before = stored(product, owner)
    for operation in operations:
        for request in owner.requests_of(operation):
            answer = ask(owner, request, {})
            expected = OF_OWNER if operation.is_optional else {401}
            assert answer.status_code in expected, (operation.method, operation.path, answer.text)
            assert MARKER not in answer.text
    assert stored(product, owner) == before


def test_a_key_does_only_what_its_scopes_say(product: Product, owner: Tenant, operations: list[Operation]) -> None:
    before = stored(product, owner)
    for operation in operations:
        if not operation.takes("apiKey"):
            continue
        for scope in set(Scope) - {operation.scope}:
            for credential in (key_header(owner.key_of[scope]), bearer(owner.project_token(scope))):
                for request in owner.requests_of(operation):
                    answer = ask(owner, request, credential)
                    assert answer.status_code == 403, (operation.method, operation.path, scope, answer.text)
                    assert MARKER not in answer.text
    assert stored(product, owner) == before


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("header", ["key", "bearer"])
def test_a_share_shows_its_view_and_nothing_else(
    product: Product, owner: Tenant, operations: list[Operation], view: View, header: str
) -> None:
    """Asked of every operation, with the token of the owner's own share."""
    token = owner.shares[view]["token"]
    credential = key_header(token) if header == "key" else bearer(token)
    before = stored(product, owner)
    shown = set()
    for operation in operations:
        for request in owner.requests_of(operation):
            answer = ask(owner, request, credential)
            said = (operation.method, operation.path, answer.text)
            if operation.path in {*FIGURES[view], "/api/v1/shared"}:
                assert answer.status_code in OF_OWNER, said
                shown.add(operation.path)
            else:
                assert answer.status_code in {401, 403}, said
                assert MARKER not in answer.text
    assert shown == {*FIGURES[view], "/api/v1/shared"}
    assert stored(product, owner) == before


def test_the_document_says_what_shares_show(operations: list[Operation]) -> None:
    documented = {(each.method, each.path) for each in operations if each.takes("shareToken")}
    assert {path for _, path in documented} == {"/api/v1/shared", *(path for view in View for path in FIGURES[view])}
    # A path is as good as an operation: each has one method.
    assert len(documented) == len({path for _, path in documented})


def test_a_share_of_a_device_shows_no_other_device(public: httpx2.Client, owner: Tenant) -> None:
    other = {"device_id": f"{MARKER} other"}
    public.post("/api/v1/devices", json=other, headers=key_header(owner.key)).raise_for_status()
    credential = key_header(owner.shares[View.DEVICE]["token"])
    for name, status in ((owner.device_id, 200), (quote(other["device_id"]), 403), ("unknown", 403)):
        assert public.get(f"/api/v1/stats/devices/{name}/series", headers=credential).status_code == status


def test_a_share_of_a_stranger_sees_no_project_of_the_owner(owner: Tenant, stranger: Tenant) -> None:
    for name in ("summary", "endpoints", "time-series", "distribution"):
        path = f"/api/v1/projects/{owner.project['project_key']}/metrics/{name}"
        credential = key_header(stranger.shares[View.REQUESTS]["token"])
        assert owner.public.get(path, headers=credential).status_code == 404


def test_a_project_s_token_is_none_of_an_account(owner: Tenant, operations: list[Operation]) -> None:
    credential = bearer(owner.project_token())
    for operation in operations:
        if operation.takes("accountToken") and not operation.takes("apiKey"):
            refused_everywhere(owner, operation, credential, {403})


def test_the_owner_is_never_refused_for_who_asks(public: httpx2.Client, operations: list[Operation]) -> None:
    """The twin of all the tests above: the same requests with the owner's own credentials."""
    shared = Tenant.new(public)
    for operation in operations:
        schemes = ("apiKey", "bearerKey", "projectToken", "accountToken")
        for scheme in (*filter(operation.takes, schemes), *(["sessions"] if operation.takes_sessions else [])):
            # Some requests end the key, the project or the device.
            tenant = Tenant.new(public) if operation.method in {"DELETE", "PATCH"} else shared
            credential = {
                "apiKey": key_header(tenant.key),
                "bearerKey": bearer(tenant.key),
                "projectToken": bearer(tenant.project_token()),
                "accountToken": bearer(tenant.token),
                "sessions": sessions_of(tenant) | OWN_PAGE,
            }[scheme]
            for request in tenant.requests_of(operation):
                answer = ask(tenant, request, credential)
                if operation.is_for_operators:  # an owner is none
                    assert answer.status_code == 403
                    continue
                assert answer.status_code in OF_OWNER, (operation.method, operation.path, scheme, answer.text)
