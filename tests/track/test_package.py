"""Settings, values, and what the package may import."""

import ast
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import device_statistics_track
from device_statistics_track.event import clean, encode, uuid7
from device_statistics_track.settings import read_settings
from tests.track.test_faults import event

FOLDER = Path(device_statistics_track.__file__).parent
OWN = "device_statistics_track"
URL = "https://statistics.example.com"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_it_imports_the_standard_library_alone(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])
    # _typeshed exists for type checkers only.
    assert imported <= sys.stdlib_module_names | {OWN, "_typeshed"}


def test_it_uses_nothing_newer_than_python_3_10() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10", "--config-file=", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("url", "port", "path"),
    [
        (URL, 443, "/api/v1/track/batch"),
        (f"{URL}/", 443, "/api/v1/track/batch"),
        (f" {URL}:8443/statistics/ ", 8443, "/statistics/api/v1/track/batch"),
        ("http://localhost", 80, "/api/v1/track/batch"),
        ("http://[::1]:8000", 8000, "/api/v1/track/batch"),
    ],
)
def test_an_address(url: str, port: int, path: str) -> None:
    settings = read_settings(None, None, {"DEVICE_STATISTICS_URL": url, "DEVICE_STATISTICS_API_KEY": " key\n"})
    assert settings is not None
    assert (settings.port, settings.path, settings.api_key) == (port, path, "key")
    assert "key" not in repr(settings)


@pytest.mark.parametrize(
    ("key", "url", "lines"),
    [
        (None, URL, 0),
        ("", URL, 0),
        ("  ", URL, 0),
        ("key\nX: y", URL, 1),
        ("schlüssel", URL, 1),
        ("secret", None, 1),
        ("secret", "statistics.example.com", 1),
        ("secret", "ftp://example.com", 1),
        ("secret", "https://", 1),
        ("secret", "https://user:pass@example.com", 1),
        ("secret", "https://example.com/?a=1", 1),
        ("secret", "https://example.com:port", 1),
        ("secret", "https://example.com:99999", 1),
        ("secret", "https://exa mple.com", 1),
        ("secret", "https://example.com/a\nb", 1),
        ("secret", f"https://{'a' * 70}.com", 1),
        ("secret", "https://[::1", 1),
    ],
)
def test_a_wrong_setting_turns_reporting_off(
    key: str | None, url: str | None, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_settings(key, url, {}) is None
    assert len(caplog.records) == lines
    assert "secret" not in caplog.text


def test_arguments_win_over_the_environment() -> None:
    environ = {"DEVICE_STATISTICS_URL": "http://other", "DEVICE_STATISTICS_API_KEY": "other"}
    settings = read_settings("key", URL, environ)
    assert settings is not None
    assert (settings.host, settings.api_key) == ("statistics.example.com", "key")
    assert read_settings("", URL, environ) is None


@given(st.integers(0, 2**48 - 1))
def test_a_uuid_is_of_version_7_and_has_its_time(unix_ms: int) -> None:
    made = uuid.UUID(uuid7(unix_ms))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == unix_ms


def test_uuids_differ() -> None:
    assert len({uuid7(0) for _ in range(10_000)}) == 10_000


@given(st.text(st.characters()) | st.none() | st.integers(), st.integers(1, 20))
def test_a_text_is_printable_and_short_or_none(text: object, characters_max: int) -> None:
    cleaned = clean(text, characters_max)
    assert cleaned is None or (cleaned.isprintable() and cleaned.strip() and len(cleaned) <= characters_max)


def test_a_long_response_is_reported_as_an_hour() -> None:
    assert b'"response_time_ms":3600000.0' in encode(event()._replace(duration_ns=10**16))
    assert b'"response_time_ms":1.234,"timestamp":"2023-11-14T22:13:20.000000+00:00"' in encode(event())
