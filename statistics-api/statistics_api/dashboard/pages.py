"""Makes the HTML of a page. Jinja2 is imported for the first page: most processes never show one."""

from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING

from fastapi import Response

from statistics_api import __version__
from statistics_api.dashboard.assets import assets

if TYPE_CHECKING:
    from jinja2 import Environment

# Scripts, styles and answers of this server alone, none of them within the page.
_CONTENT_SECURITY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors ",
    )
)
# Nobody may show it in a frame.
SECURITY: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": f"{_CONTENT_SECURITY}'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
)
# A page says who is logged in. After a log-out, no cache and no "back" shows it again.
_PAGE_HEADERS = {**SECURITY, "Cache-Control": "no-store", "X-Robots-Tag": "noindex"}


def page(
    template: str,
    content: Mapping[str, object],
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """Return the page that a template makes of this content, which it escapes. A header "" is not sent."""
    text = _environment().get_template(template).render(content)
    sent = {name: value for name, value in {**_PAGE_HEADERS, **headers}.items() if value}
    return Response(text, status, sent, media_type="text/html")


def embeddable_by(origins: Sequence[str]) -> Mapping[str, str]:
    """Return the headers of a page that the pages of these origins may show in a frame, and others may not."""
    if not origins:
        return {}
    # X-Frame-Options can name no origin, and browsers that know the policy ignore it.
    return {"Content-Security-Policy": _CONTENT_SECURITY + " ".join(origins), "X-Frame-Options": ""}


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - 40 ms of a start that few need

    made = Environment(
        loader=PackageLoader("statistics_api.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(asset=assets().url, version=__version__, share=None)
    return made
