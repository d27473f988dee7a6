"""The HTTP client for the private service: one attempt, and an honest word on how it ended."""

import asyncio
import logging
import time
from http import HTTPStatus

import httpx2
from pydantic import BaseModel, ValidationError

from servicekit.errors import IdempotencyKeyReused, NotRecorded, OutcomeUnknown
from servicekit.http import deadline as deadlines

_log = logging.getLogger(__name__)

# The private service answers this much before our own deadline, so that its answer is still of use, in seconds.
_REPLY_SECONDS = 0.5
_CONNECT_SECONDS = 2.0
# Below the 30 s that the private service keeps an idle connection: we never reuse one that it is closing.
_KEEP_ALIVE_SECONDS = 20.0
_CONNECTIONS_MAX = 32


class DeviceApi:
    """Belongs to one process. Only the coalescer's own task and batches call it, never a request that may be
    cancelled half-way.
    """

    def __init__(self, url: str, service_token: str) -> None:
        self._client = httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {service_token}", "Content-Type": "application/json"},
            limits=httpx2.Limits(
                max_connections=_CONNECTIONS_MAX,
                max_keepalive_connections=_CONNECTIONS_MAX,
                keepalive_expiry=_KEEP_ALIVE_SECONDS,
            ),
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            trust_env=False,
        )

    async def post(self, path: str, body: bytes, *, deadline: float, request_id: str) -> bytes:
        """One attempt; `deadline` is a reading of `time.monotonic`.

        Raises:
            NotRecorded: it never began, or the private service says that it stored nothing.
            OutcomeUnknown: it was sent, and no answer tells what became of it.
            IdempotencyKeyReused: the private service says so.
        """
        headers = {
            "X-Request-ID": request_id,
            deadlines.HEADER: deadlines.to_header(deadline - _REPLY_SECONDS),
        }
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                answer = await self._ask("POST", path, content=body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise NotRecorded("events cannot be stored right now") from error
        except (httpx2.TransportError, TimeoutError) as error:
            raise OutcomeUnknown("the event may or may not have been stored") from error
        if answer.status_code != HTTPStatus.OK:
            raise _failure(answer)
        return answer.content

    async def check(self) -> str:
        """Whether the private service is alive, for readiness.

        Raises:
            NotRecorded: it is not.
        """
        try:
            answer = await self._ask("GET", "/livez", timeout=_CONNECT_SECONDS)
        except httpx2.TransportError as error:
            raise NotRecorded("cannot be reached") from error
        if answer.status_code != HTTPStatus.OK:
            raise NotRecorded(f"answers {answer.status_code}")
        return "ok"

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the client's own: it covers each of its steps
    ) -> httpx2.Response:
        try:
            return await self._client.request(
                method,
                path,
                content=content,
                headers=headers,
                timeout=httpx2.USE_CLIENT_DEFAULT if timeout is None else timeout,
            )
        except AttributeError as error:
            # A connection that is reset as soon as it is up has no socket any more when anyio is asked about it. It
            # happens before the request is sent, but nothing else tells it from a bug: so the outcome is unknown.
            raise httpx2.ReadError("the connection was lost as soon as it was up") from error

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


class _Said(BaseModel):
    """What the private service writes under a refusal; whoever else may answer in its place writes something else."""

    detail: str
    code: str = ""


def _failure(answer: httpx2.Response) -> NotRecorded | OutcomeUnknown | IdempotencyKeyReused:
    status = answer.status_code
    try:
        said = _Said.model_validate_json(answer.content)
    except ValidationError:
        said = None
    if status == HTTPStatus.CONFLICT and said is not None:
        return IdempotencyKeyReused(said.detail)
    if status == HTTPStatus.SERVICE_UNAVAILABLE and said is not None:
        return NotRecorded(said.detail) if said.code == NotRecorded.code else OutcomeUnknown(said.detail)
    # Never the client's fault: what we forward was validated, and our token is the operator's matter.
    _log.error("the private service answered %d", status)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return NotRecorded("events cannot be stored right now")
    return OutcomeUnknown("the event may or may not have been stored")
