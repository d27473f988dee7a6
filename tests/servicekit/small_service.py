"""A service on servicekit's own add_middleware and server, small enough to see through; a test starts this module.

The product's bounds are shortened by the environment, so that a test does not wait 15 seconds for them.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, BinaryIO

from fastapi import APIRouter, FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response, StreamingResponse

from servicekit.errors import IdempotencyKeyReused, Invalid, NotRecorded
from servicekit.http.bodies import read_bytes, read_json
from servicekit.http.error_responses import ErrorShape, json_response
from servicekit.middleware import body_limits
from servicekit.middleware.fast_path import hot
from servicekit.process import drain
from servicekit.process.logs import configure_logs
from servicekit.process.request_log import RequestLog
from servicekit.protocol import load_shedding, timeouts
from servicekit.protocol.application import CorsHeaders, ProtocolAnswers, ServedApplication
from servicekit.protocol.direct_routes import DirectRoute
from servicekit.service import server
from servicekit.service.applications import MiddlewareFactory, add_middleware, new_application
from servicekit.service.health import health_routes
from servicekit.service.metrics import ServiceMetrics
from tests.servicekit.small_direct import (
    DirectCount,
    DirectRecord,
    DirectRecordOf,
    LimitMiddleware,
    direct_router,
    limited,
    repeated,
)

SERVICE = "small"
LARGE_BYTES_MAX = 1024 * 1024
LIFESPAN_STATE = {"lifespan": "was there"}
CORS_EXPOSED = ["ETag", "X-Request-ID"]
ERROR_SHAPES = {
    "/problem/": ErrorShape.PROBLEM,
    "/problem/v1/": ErrorShape.PROBLEM_AND_ERROR,
    "/internal/": ErrorShape.PROBLEM_IN_FULL,
}


def routes(prefix: str = "") -> APIRouter:
    """One route for each way in which a request can end."""
    router = APIRouter(prefix=prefix)

    @router.get("/plain")
    @hot
    async def plain(_: Request) -> Response:
        return json_response({"ok": True})

    @router.get("/bug")
    @hot
    async def bug(_: Request) -> Response:
        raise ZeroDivisionError("a secret of the implementation")

    @router.get("/refused")
    @hot
    async def refused(_: Request) -> Response:
        raise IdempotencyKeyReused("it was used before")

    @router.get("/away")
    @hot
    async def away(_: Request) -> Response:
        raise NotRecorded("the database is away")

    @router.post("/invalid")
    @hot
    async def invalid(_: Request) -> Response:
        raise Invalid.single("too long", "body", "userKey")

    @router.post("/json")
    @hot
    async def json(request: Request) -> Response:
        return json_response(await read_json(request))

    @router.post("/size")
    @hot
    async def size(request: Request) -> Response:
        return json_response({"bytes": len(await read_bytes(request))})

    @router.post("/large")
    @hot
    async def large(request: Request) -> Response:
        return json_response({"bytes": len(await read_bytes(request))})

    @router.get("/number")
    async def number(value: int) -> Response:
        return json_response(value)

    @router.post("/things/{thing_id}/batch")
    @hot
    async def batch(request: Request) -> Response:
        return json_response({"batch": request.path_params["thing_id"], "bytes": len(await read_bytes(request))})

    @router.post("/things/{thing_id}")
    @hot
    async def record(request: Request) -> Response:
        return json_response({"recorded": request.path_params["thing_id"], "bytes": len(await read_bytes(request))})

    return router


def named_routes() -> APIRouter:
    """Ordinary routes with a parameter in their path, beside the hot ones."""
    router = APIRouter(prefix="/things")

    @router.get("/special")
    async def special() -> dict[str, str]:
        return {"special": ""}

    @router.get("/{thing_id}")
    async def read(thing_id: str, limit: int = 1) -> dict[str, str]:
        return {"read": thing_id, "limit": str(limit)}

    @router.post("/{thing_id}/analyze")
    async def analyze(thing_id: str) -> dict[str, str]:
        return {"analyzed": thing_id}

    return router


def long_routes() -> APIRouter:
    """Ordinary routes whose answers take their time, and one whose body the framework reads."""
    router = APIRouter()

    @router.post("/framework")
    async def framework(body: list[int]) -> dict[str, int]:
        return {"items": len(body)}

    @router.get("/slow")
    async def slow(seconds: float) -> dict[str, bool]:
        await asyncio.sleep(seconds)
        return {"ok": True}

    @router.get("/held")
    async def held() -> StreamingResponse:
        """In flight from the head of the answer until the client goes away."""

        async def body() -> AsyncIterator[bytes]:
            yield b"here"
            await asyncio.sleep(60)

        return StreamingResponse(body())

    @router.get("/endless")
    async def endless() -> StreamingResponse:
        """As fast as the client takes it."""

        async def body() -> AsyncIterator[bytes]:
            while True:
                yield bytes(64 * 1024)
                await asyncio.sleep(0)  # when the client is gone, nothing else waits

        return StreamingResponse(body())

    @router.get("/half")
    async def half() -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"half of it"
            raise ZeroDivisionError

        return StreamingResponse(body())

    return router


def build(
    *, ahead_of_the_framework: bool = True, directly: bool = True, log: BinaryIO | None = None
) -> ServedApplication:
    """The whole service; without `ahead_of_the_framework`, hot routes are ordinary ones, and without `directly`, direct
    routes are hot ones.
    """

    body_limits.IN_FLIGHT_BODY_BYTES_MAX = int(
        os.environ.get("IN_FLIGHT_BODY_BYTES_MAX", body_limits.IN_FLIGHT_BODY_BYTES_MAX)
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        drain.install(float(os.environ.get("DRAIN_SECONDS", "0")))
        yield dict(LIFESPAN_STATE)

    routers = [routes(), direct_router(), *(routes(prefix.rstrip("/")) for prefix in ERROR_SHAPES)]
    metrics = ServiceMetrics("small", version="1")
    app = new_application(
        "Small", version="1", description="For tests", lifespan=lifespan, metrics=metrics, error_shapes=ERROR_SHAPES
    )
    for router in routers:
        app.include_router(router)
    app.include_router(named_routes())
    app.include_router(long_routes())
    app.include_router(health_routes(SERVICE, version="1", environment="development", needs={}))
    optional: list[MiddlewareFactory] = []
    admit = limited(int(os.environ["REQUESTS_MAX"])) if "REQUESTS_MAX" in os.environ else None
    if admit is not None:
        optional.append(partial(LimitMiddleware, admit=admit))
    cors = None
    if "CORS_ORIGIN" in os.environ:
        origins = [os.environ["CORS_ORIGIN"]]
        optional.append(partial(CORSMiddleware, allow_origins=origins, expose_headers=CORS_EXPOSED))
        cors = CorsHeaders(origins, CORS_EXPOSED)
    direct: list[DirectRoute[Any]] = [DirectRecord(), DirectRecordOf(), DirectCount()] if directly else []
    return add_middleware(
        app,
        routers=routers if ahead_of_the_framework else [],
        large_bodies={"/large": LARGE_BYTES_MAX, "/things/{thing_id}/batch": LARGE_BYTES_MAX},
        optional=optional,
        log=RequestLog(
            SERVICE, as_json=os.environ.get("LOG_FORMAT") != "text", stream=log, observe=metrics.observe_request
        ),
        answers=ProtocolAnswers(
            cors=cors, direct_routes=direct, repeated_targets=repeated if directly else None, admit=admit
        ),
    )


if __name__ == "__main__":
    configure_logs(SERVICE, "text" if os.environ.get("LOG_FORMAT") == "text" else "json")
    load_shedding.free_refusals.per_second = float(os.environ.get("FREE_REFUSALS_PER_SECOND", "0"))
    timeouts.REQUEST_SECONDS_MAX = float(os.environ.get("REQUEST_SECONDS_MAX", "15"))
    timeouts.STALL_SECONDS_MAX = float(os.environ.get("STALL_SECONDS_MAX", "60"))
    server.serve(
        "tests.servicekit.small_service:build",
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        keep_alive_seconds=5,
        in_flight_max=int(os.environ.get("IN_FLIGHT_MAX", "100")),
    )
