"""Every path of family 1 by every method: what answers, in what form, with or without a trailing slash."""

from typing import Any

import httpx2
import pytest

from contract.schema import SCHEMA_NEEDED
from tests.auth_events.payloads import REGISTERED, event
from tests.database import facts_of
from tests.servers import Product

GETS = ["/", "/health", "/livez", "/readyz", "/docs", "/redoc", "/openapi.json", "/Log/auth/statistics",
        "/Log/auth/statistics?deviceType=iOS", "/Log/auth/timeseries"]  # fmt: skip


def test_health_and_liveness_are_the_documents_answer(public: httpx2.Client, private: httpx2.Client) -> None:
    for client, service in ((public, "statistics-api"), (private, "device-registration-api")):
        for path in ("/health", "/livez"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok", "service": service})


def test_readiness_tells_version_environment_and_every_need(public: httpx2.Client, private: httpx2.Client) -> None:
    answer = public.get("/readyz")
    body: dict[str, Any] = answer.json()
    assert answer.status_code == 200
    assert body.pop("version")
    assert body.pop("needs") == {"database": f"ok, schema {SCHEMA_NEEDED}", "device-registration-api": "ok"}
    assert body == {"status": "ready", "reason": None, "service": "statistics-api", "environment": "development"}

    body = private.get("/readyz").json()
    assert body["needs"] == {"database": f"ok, schema {SCHEMA_NEEDED}"}
    assert (body["status"], body["reason"], body["service"]) == ("ready", None, "device-registration-api")


def test_the_root_says_what_this_is_and_its_links_work(public: httpx2.Client) -> None:
    body = public.get("/").json()
    assert body["name"] == "statistics-api"
    assert body["version"] == public.get("/readyz").json()["version"]
    assert "/docs" in body["links"].values()
    for path in body["links"].values():
        assert public.get(path).status_code in (200, 405), path  # 405: a route that only records


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_the_body(public: httpx2.Client, path: str) -> None:
    get, head = public.get(path), public.head(path)
    assert (get.status_code, head.status_code) == (200, 200)
    assert head.content == b""
    assert get.content != b""
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == get.headers["content-length"] or "timeseries" in path
    assert head.headers.get("etag") == get.headers.get("etag")


@pytest.mark.parametrize("path", [path for path in GETS if path != "/"])
def test_a_trailing_slash_is_the_same_route_and_no_redirect(public: httpx2.Client, path: str) -> None:
    bare, _, query = path.partition("?")
    target = f"{bare}/?{query}" if query else f"{bare}/"
    answer = public.get(target, follow_redirects=False)
    assert answer.status_code == 200
    if "timeseries" not in path:  # its range ends now
        assert answer.content == public.get(path).content
    assert public.get(f"{bare}//").status_code == 404


def test_posts_take_a_trailing_slash_too(public: httpx2.Client, private: httpx2.Client) -> None:
    assert public.post("/Log/auth/", json=event("u"), follow_redirects=False).json() == REGISTERED
    assert public.post("/Log/auth/batch/", json=[event("u")], follow_redirects=False).json()["registered"] == 1
    assert private.post("/Device/register/", json=event("u"), follow_redirects=False).json() == REGISTERED


@pytest.mark.parametrize("path", ["/nothing", "/log/auth", "/Log", "/Log/auth/batches", "/Device/register", "/%00"])
def test_an_unknown_path_is_404_with_a_detail(public: httpx2.Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = public.request(method, path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/Log/auth", "OPTIONS, POST"),
        ("PUT", "/Log/auth", "OPTIONS, POST"),
        ("HEAD", "/Log/auth/batch", "OPTIONS, POST"),
        ("POST", "/Log/auth/statistics", "GET, HEAD, OPTIONS"),
        ("DELETE", "/Log/auth/timeseries/", "GET, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_405_and_names_the_right_ones(
    public: httpx2.Client, method: str, path: str, allowed: str
) -> None:
    answer = public.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert answer.headers["x-request-id"]
    if method != "HEAD":
        assert answer.json() == {"detail": "Method Not Allowed"}


def test_options_names_the_methods_of_a_path(public: httpx2.Client, private: httpx2.Client) -> None:
    for client, path, allowed in (
        (public, "/Log/auth", "OPTIONS, POST"),
        (public, "/Log/auth/statistics", "GET, HEAD, OPTIONS"),
        (private, "/Device/register", "OPTIONS, POST"),
    ):
        answer = client.options(path)
        assert (answer.status_code, answer.headers["allow"]) == (204, allowed)


@pytest.mark.parametrize("path", [path for path in GETS if path not in ("/docs", "/redoc", "/openapi.json")])
def test_an_unknown_parameter_is_422_and_named_on_every_route(public: httpx2.Client, path: str) -> None:
    answer = public.get(path + ("&" if "?" in path else "?") + "devicetype=iOS")
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["query", "devicetype"]]


def test_a_write_with_a_query_is_refused_and_stores_nothing(
    public: httpx2.Client, private: httpx2.Client, product: Product
) -> None:
    for client, path, body in (
        (public, "/Log/auth?x=1", event("queried")),
        (public, "/Log/auth/batch?dry_run=true", [event("queried")]),
        (private, "/Device/register?x=1", event("queried")),
    ):
        assert client.post(path, json=body).status_code == 422
    assert facts_of(product.database, "queried") == 0


@pytest.mark.parametrize("sent", ["abc", "0197-AB.c:d_e", "x" * 128])
def test_a_request_id_is_returned(public: httpx2.Client, sent: str) -> None:
    for path in ("/health", "/nothing", "/Log/auth/statistics"):
        assert public.get(path, headers={"X-Request-ID": sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", [None, b"", b"x" * 129, b"a b", b'a"b', b"a\tb", "é".encode()])
def test_a_missing_or_unusable_request_id_is_replaced(public: httpx2.Client, sent: bytes | None) -> None:
    headers = {} if sent is None else {b"X-Request-ID": sent}
    first, second = (public.get("/health", headers=headers).headers["x-request-id"] for _ in range(2))
    assert len(first) == 36
    assert first != second
