"""statistics-api with the sample kind: `python -m tests.kinds.public_service`, configured by the environment."""

from starlette.types import ASGIApp

from statistics_api import app
from statistics_api.serving import run
from tests.kinds.parcels.router import PARCELS


def create_app() -> ASGIApp:
    """As it is delivered, with one family more."""
    return app.create_app(families=(*app.FAMILIES, PARCELS))


if __name__ == "__main__":
    run("tests.kinds.public_service:create_app")
