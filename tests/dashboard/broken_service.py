"""The public service with a page whose template is missing, as after a mistake: asking for it is a 500."""

from fastapi import Response

from statistics_api.dashboard.pages import page
from statistics_api.dashboard.router import router
from statistics_api.serving import run

PATH = "/dashboard/broken"
# Of the exception, and so of the log alone.
TEMPLATE = "of-nobody.html"


def show_broken() -> Response:
    """A page that nobody has made."""
    return page(TEMPLATE, {})


if __name__ == "__main__":
    router.add_api_route(PATH, show_broken, methods=["GET"])
    run()
