"""What every route answers to, and that the short way to a hot route shows nowhere."""

import httpx2
import pytest

from tests.servicekit.small_service import build

REQUESTS = [
    ("GET", "/plain", b""),
    ("GET", "/plain/", b""),
    ("HEAD", "/plain", b""),
    ("POST", "/plain", b""),
    ("GET", "/refused", b""),
    ("HEAD", "/refused", b""),
    ("GET", "/away", b""),
    ("GET", "/bug", b""),
    ("POST", "/invalid", b"{}"),
    ("POST", "/json", b'{"a": [1, 2.5, "x"]}'),
    ("POST", "/json", b'{"a": NaN}'),
    ("POST", "/json", b"{"),
    ("POST", "/json", b""),
    ("POST", "/json/", b"1"),
    ("POST", "/size", b"a" * 70_000),
    ("GET", "/size", b""),
    ("PUT", "/size", b"a"),
    ("OPTIONS", "/size", b""),
]


async def ask(method: str, path: str, body: bytes = b"", *, ahead_of_the_framework: bool = True) -> httpx2.Response:
    app = build(ahead_of_the_framework=ahead_of_the_framework)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        return await client.request(method, path, content=body)


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
async def test_a_hot_route_answers_like_an_ordinary_one(method: str, path: str, body: bytes) -> None:
    hot = await ask(method, path, body)
    ordinary = await ask(method, path, body, ahead_of_the_framework=False)

    assert (hot.status_code, hot.content) == (ordinary.status_code, ordinary.content)
    changing = {"x-request-id"}
    assert {k: v for k, v in hot.headers.items() if k not in changing} == {
        k: v for k, v in ordinary.headers.items() if k not in changing
    }


@pytest.mark.parametrize("path", ["/plain", "/slow?seconds=0", "/livez", "/openapi.json", "/docs", "/nowhere", "/away"])
async def test_head_is_get_without_the_body(path: str) -> None:
    head, get = await ask("HEAD", path), await ask("GET", path)

    assert head.content == b""
    assert head.status_code == get.status_code
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("path", ["/plain", "/livez", "/openapi.json", "/docs"])
async def test_a_trailing_slash_is_no_redirect(path: str) -> None:
    with_slash, without = await ask("GET", path + "/"), await ask("GET", path)

    assert with_slash.status_code == 200
    assert with_slash.content == without.content


async def test_a_hot_route_is_documented_like_any_other() -> None:
    paths = (await ask("GET", "/openapi.json")).json()["paths"]

    assert {"/plain", "/json", "/slow"} <= paths.keys()


async def test_a_method_that_a_route_does_not_have_is_405_and_says_which_it_has() -> None:
    answer = await ask("POST", "/plain")

    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
