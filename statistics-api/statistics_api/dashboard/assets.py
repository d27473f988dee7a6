"""The files that pages load: read once, compressed once, and found under a path that changes with any of them."""

import gzip
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fastapi import Request, Response

from servicekit.http.etag import is_current, strong_etag
from servicekit.http.headers import headers

FOLDER = Path(__file__).with_name("static")
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# A year, as RFC 9111 has it for what never changes under its name.
_FOR_EVER = "public, max-age=31536000, immutable"
# During an upgrade, a page of one release may ask a process of another one for a file.
_OF_ANOTHER_RELEASE = "no-cache"


class Asset(NamedTuple):
    """One file, as it is sent."""

    body: bytes
    compressed: bytes
    media_type: str
    etag: str


class Assets(NamedTuple):
    """All files by their path below the folder, and the version in their URLs."""

    version: str
    files: Mapping[str, Asset]

    def url(self, name: str) -> str:
        """Return the URL of a file. Raises KeyError if there is none with this path."""
        if name not in self.files:
            raise KeyError(name)
        return f"/dashboard/static/{self.version}/{name}"


@cache
def assets() -> Assets:
    """Return all files; the first call reads them, which takes some milliseconds."""
    digest = sha256()
    files: dict[str, Asset] = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in _MEDIA_TYPES:
            name, body = path.relative_to(FOLDER).as_posix(), path.read_bytes()
            digest.update(b"%b %d " % (name.encode(), len(body)) + body)
            files[name] = Asset(body, gzip.compress(body, mtime=0), _MEDIA_TYPES[path.suffix], strong_etag(body))
    return Assets(digest.hexdigest()[:12], files)


def respond(request: Request, asset: Asset, version: str, security: Mapping[str, str]) -> Response:
    """Return a file, compressed for a client that takes it so, or a 304 for one that has it."""
    lifetime = _FOR_EVER if version == assets().version else _OF_ANOTHER_RELEASE
    sent = {"ETag": asset.etag, "Cache-Control": lifetime, "Vary": "Accept-Encoding", **security}
    if is_current(request.scope, asset.etag):
        return Response(status_code=304, headers=sent)
    if _takes_gzip(request):
        return Response(asset.compressed, headers=sent | {"Content-Encoding": "gzip"}, media_type=asset.media_type)
    return Response(asset.body, headers=sent, media_type=asset.media_type)


def _takes_gzip(request: Request) -> bool:
    codings = ",".join(headers(request.scope, b"accept-encoding")).lower().split(",")
    return any(name.strip() == "gzip" and "q=0" not in weight.replace(" ", "").split(";")
               for name, _, weight in (each.partition(";") for each in codings))  # fmt: skip
