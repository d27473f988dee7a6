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


@pytest.mark.parametrize("service", ["statistics-api", "device-registration-api"])
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"PORT": "99999"}, "PORT: Input should be less than or equal to 65535"),
        ({"DB_PASSWORD": ""}, "DB_PASSWORD: Field required"),
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
