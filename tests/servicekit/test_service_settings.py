"""Settings that cannot be used end the start with one sentence, and never show a value."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "DB_HOST": "nowhere",
    "DB_NAME": "x",
    "DB_USER": "x",
    "DB_PASSWORD": "change-me-but-secret",
    "SERVICE_TOKEN": "change-me-but-secret-token",
    "DEVICE_API_URL": "http://127.0.0.1:1",
}

# With secrets of one's own, but for the key that the example has.
PRODUCTION = {"ENVIRONMENT": "production", "DB_PASSWORD": "own", "SERVICE_TOKEN": "a token of one's own"}
EXAMPLE = "1-example:Y2hhbmdlLW1lLXNpZ25pbmcta2V5LS0tLS0tLS0tLS0"


@pytest.mark.parametrize("service", ["statistics-api", "device-registration-api"])
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"PORT": "99999"}, "PORT: Input should be less than or equal to 65535"),
        ({"DB_PASSWORD": ""}, "DB_PASSWORD: Field required"),
        ({"OTEL_TRACES_SAMPLER_ARG": "1.5"}, "OTEL_TRACES_SAMPLER_ARG: Input should be less than or equal to 1"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "grpc://but-secret"},
            "OTEL_EXPORTER_OTLP_ENDPOINT: URL scheme should be 'http' or 'https'",
        ),
        ({"ENVIRONMENT": "production"}, "DB_PASSWORD still has its example value; set a secret of your own"),
    ],
)
def test_a_wrong_setting_is_one_sentence_without_a_value(service: str, wrong: dict[str, str], sentence: str) -> None:
    ended = subprocess.run(
        [sys.executable, "main.py"],
        cwd=ROOT / service,
        env={"PATH": os.environ["PATH"], **GOOD, **wrong},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert ended.returncode == 1
    assert ended.stderr.strip() == sentence
    assert "but-secret" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"PERSONAL_KEKS": "1:but-secret"}, "PERSONAL_KEKS: key 1 is not the base64 of 32 bytes"),
        ({"PERSONAL_INDEX_KEYS": "1:but-secret"}, "PERSONAL_INDEX_KEYS: key 1 is not the base64 of 32 bytes"),
        ({"TOKEN_SIGNING_KEYS": "one:but-secret"}, "TOKEN_SIGNING_KEYS: "),
        (PRODUCTION | {"TOKEN_SIGNING_KEYS": EXAMPLE}, "TOKEN_SIGNING_KEYS still has its example value"),
    ],
    ids=["kek", "index-key", "signing-key", "example"],
)
def test_a_wrong_key_of_personal_data_is_one_sentence_too(wrong: dict[str, str], sentence: str) -> None:
    ended = subprocess.run(
        [sys.executable, "main.py"],
        cwd=ROOT / "device-registration-api",
        env={"PATH": os.environ["PATH"], **GOOD, **wrong},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith(sentence), ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "but-secret" not in ended.stdout + ended.stderr
