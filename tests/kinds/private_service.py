"""device-registration-api with the sample kind: `python -m tests.kinds.private_service`."""

from starlette.types import ASGIApp

from device_registration_api import app
from device_registration_api.kinds import KINDS
from device_registration_api.serving import run
from tests.kinds.parcels.commands import PARCELS


def create_app() -> ASGIApp:
    """As it is delivered, with one kind more."""
    return app.create_app(kinds=(*KINDS, PARCELS))


if __name__ == "__main__":
    run("tests.kinds.private_service:create_app")
