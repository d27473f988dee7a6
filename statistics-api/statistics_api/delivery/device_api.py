"""The client of the private service: each call is one attempt, and its error says whether anything may be stored."""

import logging
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import httpx2
from pydantic import BaseModel, ValidationError

from contract.delivery import LINES_TYPE
from contract.exports import CSV_TYPE
from contract.inbox import INBOX
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

# The private service answers this many seconds before our own deadline, so that its answer arrives in time.
_REPLY_SECONDS = 0.5
_CONNECT_SECONDS_MAX = 2.0
_CHECK_SECONDS_MAX = 2.0
# Below the 30 s that the private service keeps an idle connection, so we never reuse a connection that it closes.
_KEEP_ALIVE_SECONDS = 20.0
_CONNECTIONS_MAX = 32
# If every item of a batch of 4 MiB was rejected, its response repeats each value, escaped twice: about 11 MiB.
_RESPONSE_BYTES_MAX = 32 * 1024 * 1024

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

CallObserver: TypeAlias = Callable[[str, str, int, list[float]], None]

_OWN_TYPES = {"application/json", LINES_TYPE, CSV_TYPE}

_NOT_DONE = "this cannot be done right now; nothing was stored"
_MAYBE_DONE = "this may or may not have been stored"
# These errors are about the call itself (our token, our path, our body) or about a bug, so clients do not get them.
_NEVER_RELAYED = {
    BodyTooLarge,
    Internal,
    MethodNotAllowed,
    NotAuthenticated,
    PathNotFound,
    RequestTimeout,
    UnsupportedMediaType,
}
# Methods that store nothing, so their outcome is never unknown.
_SAFE_METHODS = {"GET", "HEAD"}


class DeviceApiResponse(NamedTuple):
    """The response of the private service to a successful call."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class DeviceApi:
    """Calls the private service; one per process. Call it only in tasks that no client can cancel, because a cancelled
    call closes its connection.
    """

    def __init__(self, url: str, service_token: str, observe: CallObserver = lambda *_: None) -> None:
        """`observe` is told of each call: method, path, status (0 without a response), seconds."""
        self._observe = observe
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
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        deadline: float,
        request_id: str,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> DeviceApiResponse:
        """Send one request; `path` is percent-encoded, and `deadline` is a reading of `time.monotonic`.

        Raises:
            NotRecorded: the request was not sent, was refused without a fault of the client, or cannot store anything.
            OutcomeUnknown: the request was sent, and its outcome is unknown.
            DomainError: any other refusal of the private service, as that service raised it.
        """
        sent = {
            "X-Request-ID": request_id,
            deadlines.HEADER: deadlines.to_header(deadline - _REPLY_SECONDS),
            **headers,
        }
        try:
            response = await self._send(method, path, body, sent, deadline)
        except NOT_SENT as error:
            raise NotRecorded(_NOT_DONE) from error
        except httpx2.RequestError as error:
            raise _lost(method) from error
        if not response.is_success:
            raise _refusal(method, response)
        if response.content and not _is_of_own_type(response):
            # The path is not logged, because it may contain personal data.
            _log.error("the private service answered %d with something of a foreign type", response.status_code)
            raise _lost(method)
        return DeviceApiResponse(response.status_code, response.headers, response.content)

    async def post(
        self, path: str, body: bytes, *, deadline: float, request_id: str, headers: Mapping[str, str] = _NO_HEADERS
    ) -> bytes:
        """Send a POST and return the body of the response. Raises as `request`."""
        response = await self.request(
            "POST", path, body=body, deadline=deadline, request_id=request_id, headers=headers
        )
        return response.content

    async def check(self) -> str:
        """Check that the private service is alive, for readiness.

        Raises:
            NotRecorded: it is not alive.
        """
        try:
            response = await self._send("GET", "/livez", None, {}, time.monotonic() + _CHECK_SECONDS_MAX)
        except httpx2.RequestError as error:
            raise NotRecorded("cannot be reached") from error
        if response.status_code != HTTPStatus.OK:
            raise NotRecorded(f"answers {response.status_code}")
        return "ok"

    async def defers(self) -> bool:
        """Whether the private service is ready and has an inbox, for readiness while the database is away."""
        try:
            response = await self._send("GET", "/readyz", None, {}, time.monotonic() + _CHECK_SECONDS_MAX)
            state = _PrivateReadiness.model_validate_json(response.content)
        except (httpx2.RequestError, ValidationError):
            return False
        return response.status_code == HTTPStatus.OK and INBOX in state.needs

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], deadline: float
    ) -> httpx2.Response:
        # The path is sent unchanged as the request target. In a URL it would be parsed, which took 35 of the 120 µs of
        # a call, and a `..`, which a client may have chosen as a name, would be resolved.
        extensions = {TARGET: self._url.raw_path.rstrip(b"/") + path.encode(), DEADLINE: deadline}
        begun, status = time.monotonic(), 0
        try:
            response = await self._client.request(
                method, self._url, content=body, headers=headers, extensions=extensions
            )
            status = response.status_code
            return response
        finally:
            self._observe(method, _template_of(path), status, [time.monotonic() - begun])


def _template_of(path: str) -> str:
    """Return what is shown of a path: nothing that a client has chosen, and one of a bounded number."""
    return path if path.startswith("/events/") else f"/{path[1:].partition('/')[0]}"


class _PrivateReadiness(BaseModel):
    needs: dict[str, str]


class _WrongField(BaseModel):
    loc: tuple[str | int, ...]
    message: str
    type: str


class _ErrorBody(BaseModel):
    """The body of an error of the private service; other servers, such as a proxy, send other bodies."""

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
    """Return the error that the private service raised; None if another server may have sent the response."""
    try:
        body = _ErrorBody.model_validate_json(response.content)
    except ValidationError:
        return None
    seconds = _SECONDS.fullmatch(response.headers.get("Retry-After", ""))
    return rebuild(
        # The previous release sends no code with its only 409.
        body.code or (IdempotencyKeyReused.code if response.status_code == HTTPStatus.CONFLICT else ""),
        response.status_code,
        body.detail,
        [FieldError(each.loc, each.message, each.type) for each in body.errors],
        int(seconds[0]) if seconds else None,
    )


def _lost(method: str) -> NotRecorded | OutcomeUnknown:
    """Return the error for a call that was sent and not answered."""
    return NotRecorded(_NOT_DONE) if method in _SAFE_METHODS else OutcomeUnknown(_MAYBE_DONE)


def _is_of_own_type(response: httpx2.Response) -> bool:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower() in _OWN_TYPES
