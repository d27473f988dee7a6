"""A session is a token in a cookie: what it opens, for whose requests, and what others can do with it."""

from http.cookies import SimpleCookie

import httpx2
import pytest

from contract.access import key_id_of
from statistics_api.access.sessions import SessionKind
from tests.access.conftest import make_key, make_project
from tests.accounts.conftest import PHRASE, bearer, login
from tests.accounts.forged import ATTACKS
from tests.servers import Product
from tests.waiting import wait_until

SESSION = "/dashboard/session"
ME = "/api/v1/auth/me"
STATISTICS = "/Log/auth/statistics"
EVENT = {"userKey": "u", "deviceType": "iOS"}
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
# What a browser says of a request that another page has sent.
OTHER_PAGES = {
    "another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://attacker.example"},
    "another site, as its own origin": {"Sec-Fetch-Site": "cross-site"},
    "a neighbouring host": {"Sec-Fetch-Site": "same-site", "Origin": "http://shop.127.0.0.1"},
    "another port, by an old browser": {"Origin": "http://127.0.0.1:1"},
    "a sandboxed frame": {"Origin": "null"},
    "nobody knows who": {},
    "a typed address": {"Sec-Fetch-Site": "none"},
}


def cookies(answer: httpx2.Response) -> SimpleCookie:
    read = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        read.load(line)
    return read


def session(kind: SessionKind, token: str, *, secure: bool = False) -> dict[str, str]:
    return {"Cookie": f"{kind.cookie_name(secure=secure)}={token}"}


@pytest.fixture(scope="module")
def account_token(public: httpx2.Client, email: str) -> str:
    return str(login(public, email).json()["access_token"])


@pytest.fixture(scope="module")
def project_token(public: httpx2.Client, key: str) -> str:
    """A token of a project with one event."""
    public.post("/Log/auth", json=EVENT, headers={"X-API-Key": key}).raise_for_status()
    return str(public.post("/api/auth", json={"api_key": key}).json()["access_token"])


def test_a_log_in_puts_a_token_that_no_script_reads_in_a_cookie(public: httpx2.Client, key: str, email: str) -> None:
    bodies = {SessionKind.PROJECT: {"api_key": key}, SessionKind.ACCOUNT: {"email": email, "password": PHRASE}}
    for kind, body in bodies.items():
        answer = public.post(SESSION, json=body, headers=OWN_PAGE)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["cache-control"] == "no-store"
        [(name, cookie)] = cookies(answer).items()
        assert name == kind.cookie_name(secure=False)
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
        assert (cookie["domain"], cookie["secure"], cookie["max-age"]) == ("", "", "3600")


def test_over_https_the_cookie_is_secure_and_no_other_host_can_set_it(public: httpx2.Client, key: str) -> None:
    https = OWN_PAGE | {"X-Forwarded-Proto": "https"}
    [(name, cookie)] = cookies(public.post(SESSION, json={"api_key": key}, headers=https)).items()
    assert name == "__Host-statistics_project"
    assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")
    for secure in (True, False):
        sent = https | session(SessionKind.PROJECT, cookie.value, secure=secure)
        # A cookie that a neighbouring host could have set is none.
        assert public.get("/api/v1/devices/", headers=sent).status_code == (200 if secure else 401)
        is_default = public.get(STATISTICS, headers=sent).headers["etag"] == public.get(STATISTICS).headers["etag"]
        assert is_default != secure


@pytest.mark.parametrize(
    "body",
    [{"email": "nobody@example.com", "password": "x"}, {"api_key": "ds_live_x"}, {"api_key": None}, {}, [], None, "x"],
    ids=["password", "key", "null", "nothing", "list", "none", "text"],
)
def test_wrong_credentials_set_no_cookie(public: httpx2.Client, body: object) -> None:
    answer = public.post(SESSION, json=body, headers=OWN_PAGE)
    assert answer.status_code in (401, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("page", OTHER_PAGES)
def test_no_other_page_logs_anybody_in_or_out(public: httpx2.Client, key: str, page: str) -> None:
    for method, body in (("POST", {"api_key": key}), ("DELETE", None)):
        answer = public.request(method, SESSION, json=body, headers=OTHER_PAGES[page])
        assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("page", OTHER_PAGES)
def test_no_other_page_changes_anything_with_a_session(
    public: httpx2.Client, project_token: str, account_token: str, page: str
) -> None:
    """Cross-site request forgery, for the direct route, the fast path and the framework."""
    own = session(SessionKind.PROJECT, project_token)
    before = public.get(STATISTICS, headers=own | OWN_PAGE).json(), public.get(STATISTICS).json()
    projects = public.get("/api/v1/projects/", headers=bearer(account_token)).json()
    forged = OTHER_PAGES[page]
    for path, body, credential in (
        ("/Log/auth", EVENT, own),
        ("/Log/auth/batch", [EVENT], own),
        ("/api/v1/devices/", {"device_id": "d"}, own),
        ("/api/v1/projects/", {"name": f"of {page}"}, session(SessionKind.ACCOUNT, account_token)),
    ):
        answer = public.post(path, json=body, headers=credential | forged)
        assert answer.status_code == 403, (path, answer.text)
        assert "this server's own pages" in answer.text
    assert (public.get(STATISTICS, headers=own | OWN_PAGE).json(), public.get(STATISTICS).json()) == before
    assert public.get("/api/v1/projects/", headers=bearer(account_token)).json() == projects


def test_an_own_page_changes_what_the_token_may(public: httpx2.Client, product: Product, account_token: str) -> None:
    """The twin of the test before."""
    key = make_key(product, make_project(product))
    token = public.post("/api/auth", json={"api_key": key}).json()["access_token"]
    own = session(SessionKind.PROJECT, token)
    for number, headers in enumerate((OWN_PAGE, {"Origin": str(public.base_url).rstrip("/")}), start=1):
        assert public.post("/Log/auth", json=EVENT, headers=own | headers).status_code == 200
        assert public.get(STATISTICS, headers=own).json()["total"] == number
    account = session(SessionKind.ACCOUNT, account_token)
    assert public.post("/api/v1/projects/", json={"name": "own page"}, headers=account | OWN_PAGE).status_code == 201


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_no_other_page_reads_with_a_session(public: httpx2.Client, project_token: str, site: str) -> None:
    sent = session(SessionKind.PROJECT, project_token) | {"Sec-Fetch-Site": site}
    assert public.get(STATISTICS, headers=sent).status_code == 403
    assert public.get("/Log/auth/timeseries", headers=sent).status_code == 403


def test_without_a_session_other_pages_do_what_everybody_may(public: httpx2.Client) -> None:
    forged = OTHER_PAGES["another site"] | {"Cookie": "theme=dark; statistics_projects=x"}
    assert public.post("/Log/auth", json=EVENT, headers=forged).status_code == 200
    assert public.get(STATISTICS, headers=forged).status_code == 200


def test_a_project_s_session_reads_its_project_by_every_way(public: httpx2.Client, project_token: str) -> None:
    sent = {"Cookie": f"a=b; {session(SessionKind.PROJECT, project_token)['Cookie']}; c=d"}
    total = public.get(STATISTICS, headers=bearer(project_token)).json()["total"]
    for headers in (sent, sent | OWN_PAGE, sent | {"Sec-Fetch-Site": "none"}):
        # The second one is remembered: it takes the direct route.
        for _ in range(2):
            answer = public.get(STATISTICS, headers=headers)
            assert answer.json()["total"] == total
            assert "Cookie" in answer.headers["vary"]
    again = public.get(STATISTICS, headers=sent | {"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert public.get(STATISTICS).headers["etag"] != answer.headers["etag"]


def test_each_session_opens_the_routes_of_its_kind(
    public: httpx2.Client, project_token: str, account_token: str
) -> None:
    account = session(SessionKind.ACCOUNT, account_token)
    both = {"Cookie": f"{account['Cookie']}; {session(SessionKind.PROJECT, project_token)['Cookie']}"}
    assert public.get(ME, headers=account).status_code == 200
    assert public.get(ME, headers=session(SessionKind.PROJECT, project_token)).status_code == 401
    assert public.get(ME, headers=both).status_code == 200
    assert public.get("/api/v1/devices/", headers=both).status_code == 200
    # Family 1 needs no credential, and an account's is none of a project: it is the default project's answer.
    assert public.get(STATISTICS, headers=account).content == public.get(STATISTICS).content
    # In each other's cookie they are known, and refused.
    assert public.get(ME, headers=session(SessionKind.ACCOUNT, project_token)).status_code == 403
    assert public.get(STATISTICS, headers=session(SessionKind.PROJECT, account_token)).status_code == 403


def test_a_credential_in_a_header_counts_alone(public: httpx2.Client, product: Product, project_token: str) -> None:
    other = make_key(product, make_project(product))
    for forged in (OWN_PAGE, OTHER_PAGES["another site"]):
        sent = session(SessionKind.PROJECT, project_token) | {"X-API-Key": other} | forged
        assert public.get(STATISTICS, headers=sent).json()["total"] == 0


def test_a_forged_token_in_a_cookie_is_refused(public: httpx2.Client, project_token: str, account_token: str) -> None:
    for attack, forge in ATTACKS.items():
        for kind, real, path in (
            (SessionKind.PROJECT, project_token, STATISTICS),
            (SessionKind.ACCOUNT, account_token, ME),
        ):
            answer = public.get(path, headers=session(kind, forge(real)) | OWN_PAGE)
            assert answer.status_code == 401, (attack, answer.text)
    # An API key is no token.
    assert public.get(STATISTICS, headers=session(SessionKind.PROJECT, "ds_live_x")).status_code == 401


def test_a_log_in_replaces_a_session_that_somebody_else_has_set(
    public: httpx2.Client, product: Product, key: str
) -> None:
    """Session fixation: whoever knows the old one knows nothing of the new one."""
    fixed = public.post("/api/auth", json={"api_key": make_key(product, make_project(product))}).json()["access_token"]
    sent = session(SessionKind.PROJECT, fixed) | OWN_PAGE
    first, second = (
        cookies(public.post(SESSION, json={"api_key": key}, headers=sent))["statistics_project"].value for _ in range(2)
    )
    assert fixed not in {first, second}


def test_a_log_out_clears_every_cookie(public: httpx2.Client, project_token: str) -> None:
    answer = public.delete(SESSION, headers=session(SessionKind.PROJECT, project_token) | OWN_PAGE)
    assert answer.status_code == 204
    assert {name: (each.value, each["max-age"]) for name, each in cookies(answer).items()} == {
        "statistics_account": ("", "0"),
        "statistics_project": ("", "0"),
    }


def test_a_session_ends_with_its_key(public: httpx2.Client, account_token: str) -> None:
    project = public.post("/api/v1/projects/", json={"name": "ends"}, headers=bearer(account_token)).json()
    keys = f"/api/v1/projects/{project['project_key']}/api-keys"
    key = public.post(f"{keys}/", json={"name": "k"}, headers=bearer(account_token)).json()["key"]
    cookie = cookies(public.post(SESSION, json={"api_key": key}, headers=OWN_PAGE))["statistics_project"].value
    sent = session(SessionKind.PROJECT, cookie)
    assert public.get(SESSION, headers=sent).json() == {"account": False, "project": True}
    assert public.delete(f"{keys}/{key_id_of(key)}", headers=bearer(account_token)).status_code == 204
    wait_until(lambda: public.get(STATISTICS, headers=sent).status_code == 401)
    assert public.get(SESSION, headers=sent).json() == {"account": False, "project": False}


def test_while_nobody_can_check_a_session_the_page_opens_and_no_log_in_is_possible(
    public: httpx2.Client, product: Product, email: str, key: str
) -> None:
    token = str(login(public, email).json()["access_token"])  # not seen yet, so it has to be asked about
    product.private.stop()
    try:
        page = public.get("/dashboard", headers=session(SessionKind.ACCOUNT, token))
        assert "<h1>Overview</h1>" in page.text
        assert public.get(ME, headers=session(SessionKind.ACCOUNT, token)).status_code == 503
        refused = public.post(SESSION, json={"api_key": key}, headers=OWN_PAGE)
        assert (refused.status_code, refused.json()["code"]) == (503, "not-recorded")
        assert "retry-after" in refused.headers
    finally:
        product.private.start()
        product.private.wait_ready()
