"""/docs and /redoc on a machine without internet: every asset comes from the service, and a browser shows them."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.servers import Product

RENDER_MILLISECONDS = 8_000
BROWSER_SECONDS_MAX = 60
PAGES = pytest.mark.parametrize("page", ["/docs", "/redoc"])


def references(html: str) -> list[str]:
    """Whatever a page would load: attributes, and addresses in its scripts and styles."""
    found = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)["']""", html)
    found += re.findall(r"""(?:url|spec-url|oauth2RedirectUrl)["']?\s*[:=]\s*["']([^"']+)["']""", html)
    return found + re.findall(r"url\(\s*['\"]?([^'\")]+)", html)


@PAGES
def test_a_page_refers_to_this_service_alone_and_everything_it_needs_is_there(product: Product, page: str) -> None:
    for service in (product.public, product.private):
        with httpx2.Client(base_url=service.url, trust_env=False) as client:
            html = client.get(page).text
            loaded = references(html)
            assert any(each.endswith(".js") for each in loaded)
            assert any("openapi.json" in each for each in loaded)
            for each in loaded:
                if each.startswith("data:"):
                    continue
                parts = urlsplit(str(client.base_url.join(each)))
                assert f"{parts.scheme}://{parts.netloc}" == service.url, each
                assert client.get(each).status_code == 200, each
                assert client.head(each).status_code == 200, each


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's command."""
    command = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if command is None:
        pytest.skip(
            "NOT SHOWN: no Chromium on this machine, so no page was rendered (Debian: apt-get install chromium)"
        )
    return command


def rendered(chromium: str, url: str, profile: Path, *options: str) -> str:
    """The page as it is after its scripts have run, with every other host out of reach."""
    # A browser in a container has no sandbox of its own, and as root it refuses to start with one.
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               "--disable-background-networking", f"--user-data-dir={profile}", "--window-size=1280,1600",
               "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server",
               f"--virtual-time-budget={RENDER_MILLISECONDS}", *options, url]  # fmt: skip
    finished = subprocess.run(command, capture_output=True, text=True, timeout=BROWSER_SECONDS_MAX, check=True)
    return finished.stdout


@PAGES
def test_a_browser_without_a_network_shows_every_operation(
    product: Product, chromium: str, tmp_path: Path, page: str
) -> None:
    dom = rendered(chromium, f"{product.public_url}{page}", tmp_path / "profile", "--dump-dom")
    visible = re.sub(r"<script.*?</script>|<[^>]+>|\u200b", "", dom, flags=re.DOTALL)
    for words in ("Record one event", "Record up to 10,000 events", "How many events", "Can it serve?"):
        assert words in visible, words
    if page == "/docs":
        for path in ("/Log/auth", "/Log/auth/batch", "/Log/auth/statistics", "/Log/auth/timeseries", "/readyz"):
            assert f'data-path="{path}"' in dom
    # To be looked at by a person: SCREENSHOTS names a folder.
    if folder := os.environ.get("SCREENSHOTS"):
        file = Path(folder, f"{page.strip('/')}.png")
        rendered(chromium, f"{product.public_url}{page}", tmp_path / "profile", f"--screenshot={file}")
        assert file.stat().st_size > 10_000
