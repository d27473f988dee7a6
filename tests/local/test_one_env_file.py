"""One `.env` serves Compose and `make run`: what it says for the one does not disturb the other."""

from dotenv import dotenv_values

from local.services import ROOT
from tests.local.http_client import count, log_event
from tests.local.launcher import StartLauncher


def test_make_run_works_with_the_settings_that_compose_needs(launch: StartLauncher) -> None:
    settings = {name: value or "" for name, value in dotenv_values(ROOT / ".env.example").items()}
    assert settings.keys() >= {"DB_HOST", "DB_PASSWORD", "DEVICE_API_URL", "SERVICE_TOKEN"}

    run = launch(env=settings).wait_ready()
    log_event(run.public_url)

    assert count(run.public_url) == 1
    assert "change-me" not in run.printed
