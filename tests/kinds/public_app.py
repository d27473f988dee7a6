"""statistics-api with the sample kind."""

from starlette.types import ASGIApp

from statistics_api import app
from tests.kinds.parcels.router import PARCELS


def create_app() -> ASGIApp:
    """As it is delivered, with one family more."""
    return app.create_app(families=(*app.FAMILIES, PARCELS))
