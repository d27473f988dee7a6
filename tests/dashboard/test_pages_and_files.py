"""The pages and their files as a client gets them."""

import gzip
import re
import subprocess
import sys

import httpx2
import pytest

from statistics_api.dashboard.assets import FOLDER
from statistics_api.dashboard.screens import SCREENS

# What the first page of a screen may transfer, headers aside.
BYTES_MAX = 100_000
WITHIN_THE_PAGE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", re.IGNORECASE)


@pytest.fixture(scope="module")
def opened(public: httpx2.Client, key: str) -> dict[str, str]:
    """The cookie of a session."""
    answer = public.post("/dashboard/session", json={"api_key": key}, headers={"Sec-Fetch-Site": "same-origin"})
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


@pytest.mark.parametrize("path", [each.route for each in SCREENS if "{" not in each.route])
@pytest.mark.parametrize("logged_in", [False, True], ids=["log-in", "screen"])
def test_no_page_runs_or_shows_anything_of_others(
    public: httpx2.Client, opened: dict[str, str], path: str, logged_in: bool
) -> None:
    answer = public.get(path, headers=opened if logged_in else {})
    assert answer.status_code == 200
    policy = dict(each.split(" ", 1) for each in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert {policy[each] for each in policy if each not in ("default-src", "frame-ancestors", "base-uri")} == {"'self'"}
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not WITHIN_THE_PAGE.search(answer.text)
    assert "http://" not in answer.text
    assert "https://" not in answer.text


def test_without_a_session_the_log_in_stands_in_the_place_of_the_screen(
    public: httpx2.Client, opened: dict[str, str]
) -> None:
    assert "<h1>Log in</h1>" in public.get("/dashboard").text
    assert "<h1>Overview</h1>" in public.get("/dashboard", headers=opened).text
    stale = {"Cookie": opened["Cookie"][:-4]}
    assert "<h1>Log in</h1>" in public.get("/dashboard", headers=stale).text


@pytest.mark.parametrize("query", ["?x=<script>alert(1)</script>", "?range='\"><img src=x onerror=alert(1)>", "/"])
def test_a_page_repeats_nothing_of_its_address(public: httpx2.Client, opened: dict[str, str], query: str) -> None:
    answer = public.get(f"/dashboard{query}", headers=opened)
    assert answer.status_code == 200
    assert answer.content == public.get("/dashboard", headers=opened).content


def test_files_are_kept_for_ever_under_a_name_that_changes_with_them(
    public: httpx2.Client, opened: dict[str, str]
) -> None:
    page = public.get("/dashboard", headers=opened).text
    urls = re.findall(r'(?:src|href)="(/dashboard/static/[^"]+)"', page)
    assert len(urls) > 8
    for url in urls:
        answer = public.get(url)
        assert answer.status_code == 200, url
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = public.get(url, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        name = url.split("/", 4)[4]
        assert answer.content == (FOLDER / name).read_bytes()
        # During an upgrade, a page of one release may ask a process of another.
        of_another = public.get(f"/dashboard/static/000000000000/{name}")
        assert (of_another.content, of_another.headers["cache-control"]) == (answer.content, "no-cache")


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("identity", False), ("", False)],
)
def test_a_file_is_compressed_for_who_takes_it_so(public: httpx2.Client, accepted: str, is_compressed: bool) -> None:
    with public.stream(
        "GET", "/dashboard/static/x/vendor/uplot/uPlot.iife.min.js", headers={"Accept-Encoding": accepted}
    ) as answer:
        body = b"".join(answer.iter_raw())
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (answer.headers.get("content-encoding") == "gzip") == is_compressed
    assert (gzip.decompress(body) if is_compressed else body) == (
        FOLDER / "vendor/uplot/uPlot.iife.min.js"
    ).read_bytes()


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "../screens.py", "%2e%2e/pages.py", "..%2frouter.py", "vendor/manifest.json", "", "/etc/passwd"],
)
def test_nothing_but_the_files_is_served(public: httpx2.Client, name: str) -> None:
    answer = public.get(f"/dashboard/static/x/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_all_that_the_overview_loads_is_small(public: httpx2.Client, opened: dict[str, str]) -> None:
    page = public.get("/dashboard", headers=opened)
    sizes = [len(page.content)]
    for url in sorted({*re.findall(r'(?:src|href)="(/dashboard/static/[^"]+)"', page.text)}):
        with public.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
            sizes.append(sum(map(len, answer.iter_raw())))
    assert sum(sizes) < BYTES_MAX / 2  # the other half is for figures


def test_a_browser_is_led_to_the_dashboard_and_curl_gets_json(public: httpx2.Client) -> None:
    led = public.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, follow_redirects=False)
    assert (led.status_code, led.headers["location"]) == (303, "/dashboard")
    for accepted in ("*/*", "application/json", "application/json, text/html;q=0.9"):
        assert public.get("/", headers={"Accept": accepted}).json()["links"]["dashboard"] == "/dashboard"


def test_a_start_does_not_wait_for_jinja() -> None:
    program = "import sys, statistics_api.app; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
