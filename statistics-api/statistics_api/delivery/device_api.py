"""The client of the private service: one attempt a call, and an honest word on how it ended."""

import logging
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import httpx2
from pydantic import BaseModel, ValidationError

from servicekit.errors import (
    BodyTooLarge,
    DomainError,
    FieldError,
    IdempotencyKeyReused,
    Internal,
    MethodNotAllowed,
    NotAuthenticated,
    NotRecorded,
    OutcomeUnknown,
    PathNotFound,
    RequestTimeout,
    UnsupportedMediaType,
    rebuild,
)
from servicekit.http import deadline as deadlines
from statistics_api.delivery.transport import DEADLINE, NOT_SENT, TARGET, KeptConnections

_log = logging.getLogger(__name__)
_SECONDS = re.compile("[0-9]{1,6}")

# The private service answers this much before our own deadline, so that its answer is still of use, in seconds.
_REPLY_SECONDS = 0.5
_CONNECT_SECONDS_MAX = 2.0
_CHECK_SECONDS_MAX = 2.0
# Below the 30 s that the private service keeps an idle connection: we never reuse one that it is closing.
_KEEP_ALIVE_SECONDS = 20.0
_CONNECTIONS_MAX = 32
# The answer to a batch of 4 MiB whose every item was rejected repeats each value, escaped twice: some 11 MiB.
_RESPONSE_BYTES_MAX = 32 * 1024 * 1024

_NOT_DONE = "this cannot be done right now; nothing was stored"
_MAYBE_DONE = "this may or may not have been stored"
# What these say is about the call itself (our token, our path, our body) or about a bug: never the client's matter.
_NEVER_RELAYED = {
    BodyTooLarge,
    Internal,
    MethodNotAllowed,
    NotAuthenticated,
    PathNotFound,
    RequestTimeout,
    UnsupportedMediaType,
}
# Methods that store nothing, so that their outcome is never in doubt.
_SAFE_METHODS = {"GET", "HEAD"}


class DeviceApiResponse(NamedTuple):
    """What the private service answered to a call that succeeded."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class DeviceApi:
    """One per process. Only tasks that no client can cancel should call it: a cancelled call costs its connection."""

    def __init__(self, url: str, service_token: str) -> None:
        self._url = httpx2.URL(url)
        self._client = httpx2.AsyncClient(
            headers={
                "Authorization": f"Bearer {service_token}",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            },
            transport=KeptConnections(
                self._url,
                connections_max=_CONNECTIONS_MAX,
                keep_alive_seconds=_KEEP_ALIVE_SECONDS,
                connect_seconds_max=_CONNECT_SECONDS_MAX,
                response_bytes_max=_RESPONSE_BYTES_MAX,
            ),
            trust_env=False,
        )

    async def request(
        self, method: str, path: str, *, body: bytes | None = None, deadline: float, request_id: str
    ) -> DeviceApiResponse:
        """One attempt; `path` is percent-encoded, and `deadline` is a reading of `time.monotonic`.

        Raises:
            NotRecorded: it never began, or it was refused for no fault of the client, or nothing was to be stored.
            OutcomeUnknown: it was sent, and no answer tells what became of it.
            DomainError: any other refusal of the private service, as it raised it.
        """
        headers = {
            "X-Request-ID": request_id,
            deadlines.HEADER: deadlines.to_header(deadline - _REPLY_SECONDS),
        }
        try:
            response = await self._send(method, path, body, headers, deadline)
        except NOT_SENT as error:
            raise NotRecorded(_NOT_DONE) from error
        except httpx2.RequestError as error:
            raise _lost(method) from error
        if not response.is_success:
            raise _refusal(method, response)
        if response.content and not _is_json(response):
            # Without the path, which may hold personal data.
            _log.error("the private service answered %d with something that is not JSON", response.status_code)
            raise _lost(method)
        return DeviceApiResponse(response.status_code, response.headers, response.content)

    async def post(self, path: str, body: bytes, *, deadline: float, request_id: str) -> bytes:
        """The body of the response to a POST; raises as `request`."""
        response = await self.request("POST", path, body=body, deadline=deadline, request_id=request_id)
        return response.content

    async def check(self) -> str:
        """Whether the private service is alive, for readiness.

        Raises:
            NotRecorded: it is not.
        """
        try:
            response = await self._send("GET", "/livez", None, {}, time.monotonic() + _CHECK_SECONDS_MAX)
        except httpx2.RequestError as error:
            raise NotRecorded("cannot be reached") from error
        if response.status_code != HTTPStatus.OK:
            raise NotRecorded(f"answers {response.status_code}")
        return "ok"

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], deadline: float
    ) -> httpx2.Response:
        # As a target the path is sent as it is. In a URL it would be parsed, which took 35 of the 120 µs of a call, and
        # `..`, which may be a name that a client has chosen, would leave its place.
        extensions = {TARGET: self._url.raw_path.rstrip(b"/") + path.encode(), DEADLINE: deadline}
        return await self._client.request(method, self._url, content=body, headers=headers, extensions=extensions)


class _WrongField(BaseModel):
    loc: tuple[str | int, ...]
    message: str
    type: str


class _ErrorBody(BaseModel):
    """What the private service writes under a refusal; something else in its place writes something else."""

    detail: str
    code: str = ""
    errors: list[_WrongField] = []


def _refusal(method: str, response: httpx2.Response) -> DomainError:
    status = response.status_code
    error = _rebuilt(response)
    if error is not None and type(error) not in _NEVER_RELAYED:
        return error
    _log.error("the private service answered %d%s", status, "" if error is None else f", {error.code}")
    return _lost(method) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else NotRecorded(_NOT_DONE)


def _rebuilt(response: httpx2.Response) -> DomainError | None:
    """The error that the private service raised; None if what answered is not known to be the private service."""
    try:
        body = _ErrorBody.model_validate_json(response.content)
    except ValidationError:
        return None
    seconds = _SECONDS.fullmatch(response.headers.get("Retry-After", ""))
    return rebuild(
        # The release before this one sends no code with its only 409.
        body.code or (IdempotencyKeyReused.code if response.status_code == HTTPStatus.CONFLICT else ""),
        response.status_code,
        body.detail,
        [FieldError(each.loc, each.message, each.type) for each in body.errors],
        int(seconds[0]) if seconds else None,
    )


def _lost(method: str) -> NotRecorded | OutcomeUnknown:
    """The outcome of a call that was sent and not answered."""
    return NotRecorded(_NOT_DONE) if method in _SAFE_METHODS else OutcomeUnknown(_MAYBE_DONE)


def _is_json(response: httpx2.Response) -> bool:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"
