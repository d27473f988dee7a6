"""A newcomer types the document's curl lines into a shell, and sees the document's answers."""

import json
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.journeys.documents_curl import LINES
from tests.servers import Product

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="NOT CHECKED: THE DOCUMENT'S CURL LINES, because curl is not here"
)


def typed(line: str) -> str:
    """What a shell prints after `line`."""
    finished = subprocess.run(  # noqa: S602 - the document's own lines, typed into a shell on purpose
        line.strip().replace("curl ", "curl --silent --show-error --noproxy '*' ", 1),
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout


def test_every_curl_line_gives_the_documents_answer(product: Product) -> None:
    for line, expected in LINES:
        assert json.loads(typed(line.replace("{base}", product.public_url))) == json.loads(expected), line


def test_the_private_services_health_is_as_documented(product: Product) -> None:
    answer = json.loads(typed(f"curl {product.private_url}/health"))
    assert answer == {"status": "ok", "service": "device-registration-api"}


def test_lines_of_events_from_a_file_are_a_batch(product: Product, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text('{"userKey":"a","deviceType":"TV"}\n{"userKey":"b","deviceType":"TV"}\n')
    line = (
        f"curl -X POST {product.public_url}/Log/auth/batch -H 'Content-Type: application/x-ndjson' "
        f"--data-binary @{file}"
    )
    assert json.loads(typed(line)) == {"registered": 2, "duplicate": 0, "rejected": 0, "results": []}
    with httpx2.Client(base_url=product.public_url, trust_env=False) as client:
        assert client.get("/Log/auth/statistics?deviceType=TV").json() == {"deviceType": "TV", "count": 2}
