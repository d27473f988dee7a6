"""What every route answers to, and that the fast path to a hot route shows nowhere."""

from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servicekit.http.paths import route_path
from servicekit.middleware.route_table import RouteTable
from tests.servicekit.conftest import SmallService, StartSmall
from tests.servicekit.small_service import build

TABLE = RouteTable({"paths": {"/things/special": {"get": {}}, "/things/{thing_id}": {"get": {}, "post": {}}}})

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
    ("POST", "/things/a", b""),
    ("POST", "/things/a%2Fanalyze/", b""),
    ("POST", "/things/%C3%A9%25%2f/batch", b"a" * 70_000),
    ("HEAD", "/things/a", b""),
    ("DELETE", "/things/a", b""),
    ("GET", "/plain?x=1", b""),
]


@pytest.fixture(scope="module")
def small(start_small: StartSmall) -> SmallService:
    return start_small()


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
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


ALLOWED = [
    ("/plain", "GET, HEAD, OPTIONS"),
    ("/size", "OPTIONS, POST"),
    ("/things/a", "GET, HEAD, OPTIONS, POST"),  # two routes share this path
    ("/things/special", "GET, HEAD, OPTIONS"),
    ("/things/a/analyze", "OPTIONS, POST"),
]


@pytest.mark.parametrize(("path", "allow"), ALLOWED)
async def test_options_and_a_wrong_method_name_every_method_of_the_path(path: str, allow: str) -> None:
    options, refused = await ask("OPTIONS", path), await ask("DELETE", path)

    assert (options.status_code, options.content, options.headers["allow"]) == (204, b"", allow)
    assert (refused.status_code, refused.headers["allow"]) == (405, allow)


async def test_options_of_no_route_is_404() -> None:
    assert (await ask("OPTIONS", "/nowhere")).status_code == 404


NAMES = {
    "a": "a",
    "A.b_c~d-e": "A.b_c~d-e",
    "kg%2Fs": "kg/s",
    "kg%2fs": "kg/s",
    "a%2Fanalyze": "a/analyze",
    "a%2Fbatch": "a/batch",
    "%2F": "/",
    "a%2F": "a/",
    "%252F": "%2F",
    "100%25": "100%",
    "%2525": "%25",
    "a%20b": "a b",
    "a+b@example.com": "a+b@example.com",
    "a%2Bb%40example.com": "a+b@example.com",
    "%E2%82%AC": "€",
    "%61": "a",
    "...": "...",
    "a%2F..%2Fb": "a/../b",
    "a;v=1,2": "a;v=1,2",
    "%3Fx": "?x",
    "special%2F": "special/",
}


@pytest.mark.parametrize(("sent", "name"), NAMES.items(), ids=NAMES.keys())
async def test_a_name_in_a_path_is_decoded_after_routing(sent: str, name: str) -> None:
    for slash in ("", "/"):
        assert (await ask("GET", f"/things/{sent}{slash}")).json() == {"read": name, "limit": "1"}
        assert (await ask("POST", f"/things/{sent}{slash}")).json() == {"recorded": name, "bytes": 0}
        assert (await ask("POST", f"/things/{sent}/analyze{slash}")).json() == {"analyzed": name}
        assert (await ask("POST", f"/things/{sent}/batch{slash}", b"ab")).json() == {"batch": name, "bytes": 2}


_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..", "special")
)


@settings(max_examples=200, deadline=None)
@given(_NAMES, st.booleans())
def test_any_name_arrives_as_it_was_encoded(name: str, slash: bool) -> None:
    raw = f"/things/{quote(name, safe='')}{'/' * slash}".encode()
    path = route_path({"raw_path": raw})
    assert path is not None
    found = TABLE.find(path, "GET")
    assert found is not None
    assert (found.path.template, found.parameters) == ("/things/{thing_id}", {"thing_id": name})


@settings(max_examples=500, deadline=None)
@given(
    st.binary(max_size=12) | st.lists(st.sampled_from([b"/", b"%", b"2", b"F", b".", b"a"]), max_size=9).map(b"".join)
)
def test_any_raw_path_is_one_that_can_be_routed_or_none(tail: bytes) -> None:
    path = route_path({"raw_path": b"/" + tail})
    if path is not None:
        assert path == "/" or all(path[1:].split("/"))
        assert path.isprintable() or not path.isascii()
        # Encoded again and normalised again, it is the same path.
        assert route_path({"raw_path": quote(path, safe="/%").encode()}) == path


@pytest.mark.parametrize(
    "path",
    ["//", "//plain", "/plain//", "/./plain", "/plain/.", "/../plain", "/things/%2e%2e", "/things/.", "/things//",
     "/things/%", "/things/%2", "/things/%zz", "/things/%ff", "/things/%C3", "/things/%ED%A0%80", "/things/%00",
     "/things/a%0Ab", "/things/%7F", "/things/a/analyze/b", "/plain%2F", "/%2Fplain", "/plain/%20"],
)  # fmt: skip
def test_a_path_that_is_no_routes_is_404(small: SmallService, path: str) -> None:
    with small.connect() as connection:
        for method in ("GET", "POST", "OPTIONS"):
            answer = connection.ask(method, path)
            assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("target", ["*", "http://test/plain", "http://test"])
def test_the_other_forms_of_a_request_target_are_answered(small: SmallService, target: str) -> None:
    with small.connect() as connection:
        assert connection.ask("OPTIONS", target).status in (204, 400, 404)


async def test_a_declared_path_wins_over_a_parameter() -> None:
    assert (await ask("GET", "/things/special")).json() == {"special": ""}


@pytest.mark.parametrize(
    ("query", "limit"), [("", "1"), ("?", "1"), ("?limit=2", "2"), ("?limit=3&", "3"), ("?&limit=4", "4")]
)
async def test_a_declared_parameter_is_taken(query: str, limit: str) -> None:
    assert (await ask("GET", f"/things/a{query}")).json() == {"read": "a", "limit": limit}


UNKNOWN_QUERIES = [
    ("GET", "/plain?x=1", ["x"]),
    ("GET", "/plain?limit=1", ["limit"]),
    ("POST", "/size?x", ["x"]),
    ("GET", "/livez?x=", ["x"]),
    ("HEAD", "/things/a?limits=1", ["limits"]),
    ("GET", "/things/a?Limit=1", ["Limit"]),
    ("GET", "/things/a?%6Cimit=1&%C3%A9=2", ["é"]),
    ("GET", "/things/a?a=1&limit=1&b=2&a=3", ["a", "b"]),
    ("POST", "/things/a?limit=1", ["limit"]),  # of the other method with this path
    ("POST", "/things/a/batch?x=1", ["x"]),
    ("GET", "/things/a?" + "n" * 51 + "=1", ["n" * 50 + "…"]),
    ("GET", "/things/a?=1", [""]),
    ("GET", "/things/a?%00=1", ["\0"]),
    ("GET", "/things/a?%ff=1", ["\ufffd"]),
]


@pytest.mark.parametrize(("method", "target", "names"), UNKNOWN_QUERIES)
async def test_an_unknown_parameter_is_422_and_named(method: str, target: str, names: list[str]) -> None:
    answer = await ask(method, target)

    assert answer.status_code == 422
    if method != "HEAD":
        assert [each["loc"] for each in answer.json()["detail"]] == [["query", name] for name in names]


async def test_an_unknown_parameter_is_told_which_there_are() -> None:
    answers = [(await ask("GET", path)).json()["detail"][0]["msg"] for path in ("/plain?x", "/things/a?x")]

    assert answers == ["unknown parameter; this route takes none", "unknown parameter; this route takes limit"]


@pytest.mark.parametrize("query", ["limit=1&limit=1", "limit=1&limit=2", "limit=1&%6cimit=2", "limit&limit"])
async def test_a_parameter_given_twice_is_422_and_named(query: str) -> None:
    answer = await ask("GET", f"/things/a?{query}")

    assert answer.status_code == 422
    assert answer.json()["detail"] == [
        {"type": "repeated_parameter", "loc": ["query", "limit"], "msg": "must be given once"}
    ]


async def test_a_long_query_string_gets_a_short_answer() -> None:
    many = await ask("GET", "/plain?" + "&".join(f"n{n}" for n in range(100)))
    too_many = await ask("GET", "/plain?" + "x&" * 30_000)

    assert len(many.json()["detail"]) == 10
    assert too_many.json()["detail"][0]["msg"] == "more than 100 parameters"


@pytest.mark.parametrize("path", ["/docs?x=1", "/nowhere?x=1"])
async def test_what_declares_nothing_is_left_to_the_framework(path: str) -> None:
    assert (await ask("GET", path)).status_code in (200, 404)
