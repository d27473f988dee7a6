"""A path with personal data in it is logged as its route's template."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.middleware.logged_paths import NOT_SHOWN, logged_path_of
from servicekit.middleware.route_table import RouteTable

ROUTES = RouteTable({"paths": {"/u/{email}": {"get": {}}, "/u/{id}/more": {"post": {}}, "/x/{id}": {"get": {}}}})
logged_path = logged_path_of(ROUTES, ["/u/"])


def logged(raw: str, method: str = "GET") -> str:
    return logged_path({"path": unquote(raw), "raw_path": raw.encode(), "method": method})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/u/ana", "/u/{email}"),
        ("/u/ana/", "/u/{email}"),
        ("/%75/ana%2Fbob", "/u/{email}"),
        ("/u/ana/more", "/u/{id}/more"),
        ("/u/ana/other", NOT_SHOWN),
        ("/u/a%00", NOT_SHOWN),
        ("//u/ana@b", NOT_SHOWN),
        ("/x/ana@b", "/x/{id}"),
        ("/x/ana%2540b", "/x/{id}"),
        ("/nowhere/ana@b", NOT_SHOWN),
        ("/x/7", "/x/7"),
        ("/nowhere/7", "/nowhere/7"),
        ("/u", "/u"),
    ],
)
def test_only_a_path_with_personal_data_is_hidden(raw: str, expected: str) -> None:
    assert logged(raw) == expected


@given(
    st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=3), st.sampled_from(["GET", "HEAD", "POST", "PUT"])
)
def test_nothing_below_a_personal_path_is_ever_logged(segments: list[str], method: str) -> None:
    raw = "/u/" + "/".join(quote(each, safe="", errors="replace") for each in segments)
    assert logged(raw, method) in {"/u/{email}", "/u/{id}/more", NOT_SHOWN}
