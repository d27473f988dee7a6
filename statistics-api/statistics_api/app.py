"""The public service, assembled on one screen."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from contract.inbox import RESPOND_ASYNC
from contract.metric_names import NAMESPACE
from contract.schema import SCHEMA_NEEDED
from servicekit.concurrency.concurrency_limit import concurrency_limit
from servicekit.database.pool import Database
from servicekit.database.schema_revision import check_schema
from servicekit.errors import DatabaseAway
from servicekit.http.error_responses import ErrorShape, render
from servicekit.metrics.families import gauge
from servicekit.metrics.http import CLIENT_DURATION, RequestDurations
from servicekit.process import drain
from servicekit.process.logs import chosen_format, configure_logs
from servicekit.process.request_log import RequestLog
from servicekit.protocol.application import CorsHeaders, ProtocolAnswers
from servicekit.service.applications import MiddlewareFactory, add_middleware, new_application
from servicekit.service.health import ReadinessCheck, health_routes
from servicekit.service.metrics import ServiceMetrics
from servicekit.service.settings import secret_bytes
from servicekit.service.tracing import tracing
from servicekit.tracing.spans import Spans
from statistics_api import __version__, welcome
from statistics_api.access import router as access
from statistics_api.access.credentials import new_key_cache
from statistics_api.access.documentation import SECURITY_SCHEMES
from statistics_api.access.key_usage import KeyUsage
from statistics_api.access.notifications import new_listener
from statistics_api.access.projects import new_project_caches
from statistics_api.access.shares import new_share_cache
from statistics_api.access.tokens import Tokens
from statistics_api.accounts import router as accounts
from statistics_api.administration.client import Administration, report_key_usage
from statistics_api.api_requests import router as api_requests
from statistics_api.api_requests.kind import API_REQUESTS
from statistics_api.api_requests.reader import MetricsReader
from statistics_api.auth_events import router as auth_events
from statistics_api.auth_events.kind import AUTH_EVENTS
from statistics_api.dashboard import router as dashboard
from statistics_api.dashboard import shared
from statistics_api.dashboard.error_pages import ErrorPagesMiddleware
from statistics_api.delivery.device_api import DeviceApi
from statistics_api.delivery.gateway import EventGateway
from statistics_api.devices import router as devices
from statistics_api.devices.known_devices import KnownDevices
from statistics_api.devices.reader import NAME as DEVICES
from statistics_api.devices.reader import DeviceReader
from statistics_api.erasure import router as erasure
from statistics_api.exports import router as exports
from statistics_api.exports.streams import Slots
from statistics_api.families import Family
from statistics_api.installation import router as installation
from statistics_api.limiters import SharedLimiter
from statistics_api.measurements import router as measurements
from statistics_api.measurements.kind import MEASUREMENTS
from statistics_api.measurements.reader import MeasurementReader
from statistics_api.people import store_users, users
from statistics_api.polling.repeated_questions import RepeatedQuestions
from statistics_api.projects import router as projects
from statistics_api.projects.reader import ProjectReader
from statistics_api.rate_limit import CLIENT_LIMIT, KEY_LIMIT, RateLimit, RateLimitMiddleware, client_network
from statistics_api.settings import Settings
from statistics_api.shares import router as shares
from statistics_api.store_events import router as store_events
from statistics_api.store_events.kind import STORE_EVENTS
from statistics_api.store_events.reader import StoreReader
from statistics_api.stores import router as stores
from statistics_api.stores.reader import StoresReader
from statistics_api.webhooks import router as webhooks

SERVICE = "statistics-api"
RATE_LIMIT_DEGRADED = gauge(
    f"{NAMESPACE}_rate_limit_degraded", "Processes that count requests by themselves because the shared store is away."
)
# The families that this service serves.
FAMILIES: Sequence[Family] = (
    Family(
        AUTH_EVENTS.name,
        auth_events.router,
        kinds=(AUTH_EVENTS,),
        large_bodies=auth_events.LARGE_BODIES,
        new_reader=auth_events.StatisticsReader,
        direct_routes=auth_events.DIRECT_ROUTES,
    ),
    Family(
        API_REQUESTS.name,
        api_requests.router,
        kinds=(API_REQUESTS,),
        large_bodies=api_requests.LARGE_BODIES,
        new_reader=MetricsReader,
        direct_routes=api_requests.DIRECT_ROUTES,
    ),
    Family(DEVICES, devices.router, new_reader=DeviceReader),
    Family(
        MEASUREMENTS.name,
        measurements.router,
        kinds=(MEASUREMENTS,),
        large_bodies=measurements.LARGE_BODIES,
        new_reader=MeasurementReader,
        direct_routes=measurements.DIRECT_ROUTES,
    ),
    Family(
        STORE_EVENTS.name,
        store_events.router,
        kinds=(STORE_EVENTS,),
        large_bodies=store_events.LARGE_BODIES,
        new_reader=StoreReader,
        direct_routes=store_events.DIRECT_ROUTES,
    ),
    Family(stores.NAME, stores.router, new_reader=StoresReader),
    Family("access", access.router),
    Family("accounts", accounts.router),
    Family(projects.NAME, projects.router, new_reader=ProjectReader),
    Family(users.NAME, users.router, new_reader=users.UserDevices),
    Family("store users", store_users.router, personal_paths=store_users.PERSONAL_PATHS),
    Family(erasure.NAME, erasure.router, new_reader=erasure.ErasureReader),
    Family(exports.NAME, exports.router, new_reader=lambda _: Slots()),
    Family("webhooks", webhooks.router),
    Family("installation", installation.router),
    Family("shares", shares.router, personal_paths=shares.PATHS_WITH_TOKENS),
)
# Family 1 has the `{"detail": ...}` of its document. The other families have RFC 9457; family 3 adds `error`.
ERROR_SHAPES = {
    "/api/": ErrorShape.PROBLEM,
    "/api/v1/": ErrorShape.PROBLEM_AND_ERROR,
    "/dashboard/": ErrorShape.PROBLEM,
}
# The time for the coalescer's last flush after SIGTERM, within the server's own 20 s.
FLUSH_SECONDS_MAX = 10.0
_CORS_METHODS = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]
_EXPOSED_HEADERS = [
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Preference-Applied",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-ID",
]


def create_app(settings: Settings | None = None, families: Sequence[Family] = FAMILIES) -> ASGIApp:
    """Build the whole service; it connects to nothing before its lifespan begins."""
    settings = settings or Settings()
    log_format = chosen_format(settings.log_format)
    configure_logs(SERVICE, log_format)
    metrics = ServiceMetrics(NAMESPACE, version=__version__)
    database = Database(
        settings.dsn(SERVICE), connections_max=settings.db_connections_max, wait_seconds_max=1.0, read_only=True
    )
    metrics.database("stats", database)
    calls = RequestDurations(metrics.cells, CLIENT_DURATION)
    device_api = DeviceApi(str(settings.device_api_url), settings.service_token.get_secret_value(), calls.observe)
    kinds = [kind for family in families for kind in family.kinds]
    limit = _rate_limit(settings, metrics)
    metrics.samples.add(RATE_LIMIT_DEGRADED, read=lambda: limit.is_degraded)
    # The parser's callback cannot wait for the store of a shared limit.
    repeated = RepeatedQuestions() if limit.is_direct else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        async with tracing(SERVICE, version=__version__, settings=settings) as spans, serving(spans) as state:
            yield state

    @asynccontextmanager
    async def serving(spans: Spans) -> AsyncIterator[dict[str, object]]:
        drain.install(settings.drain_seconds)
        gateways = {
            kind.name: EventGateway(kind, device_api, concurrency_limit.observe, metrics.flushes(kind.name), spans)
            for kind in kinds
        }
        for name, gateway in gateways.items():
            metrics.queue(name, gateway.coalescer)
        administration = Administration(device_api)
        keys, projects = new_key_cache(database), new_project_caches(database)
        known_devices = KnownDevices(database)
        known_shares = new_share_cache(database)
        listener = new_listener(settings.dsn(SERVICE), keys, projects, known_shares, known_devices.forget)
        listener.start()
        usage = KeyUsage(partial(report_key_usage, administration))
        reporting = asyncio.create_task(usage.report_forever())
        try:
            yield {
                "gateways": gateways,
                "readers": {family.name: family.new_reader(database) for family in families if family.new_reader},
                "keys": keys,
                "imported_key_secret": secret_bytes(settings.imported_key_secret),
                "key_usage": usage,
                "administration": administration,
                "tokens": Tokens(administration),
                "client_of": partial(client_network, trusted_proxies=settings.trusted_proxies),
                "projects": projects,
                "shares": known_shares,
                "devices": known_devices,
                "repeated": repeated,
                "rate_limit": limit,
                "dashboard_public": settings.dashboard_public,
            }
        finally:
            listener.stop()
            reporting.cancel()
            await asyncio.gather(
                usage.report(),
                administration.close(),
                *(gateway.close(FLUSH_SECONDS_MAX) for gateway in gateways.values()),
            )
            await device_api.close()
            database.close()
            await limit.close()

    app = new_application(
        "Device statistics",
        version=__version__,
        description="Records events from devices and answers how many and when: at once, exactly, at any size.",
        lifespan=lifespan,
        metrics=metrics,
        error_shapes=ERROR_SHAPES,
        security_schemes=SECURITY_SCHEMES,
    )
    needs: dict[str, ReadinessCheck] = {
        "database": partial(_check_database, database, device_api),
        "device-registration-api": device_api.check,
    }
    app.include_router(welcome.router)
    app.include_router(dashboard.router)
    app.include_router(shared.router)
    app.include_router(health_routes(SERVICE, version=__version__, environment=settings.environment, needs=needs))
    for family in families:
        app.include_router(family.router)
    return add_middleware(
        app,
        routers=[family.router for family in families],
        large_bodies={path: size for family in families for path, size in family.large_bodies.items()},
        optional=_optional_middleware(settings, limit),
        log=RequestLog(SERVICE, as_json=log_format == "json", observe=metrics.observe_request),
        personal_paths=[prefix for family in families for prefix in family.personal_paths],
        answers=ProtocolAnswers(
            cors=CorsHeaders(settings.cors_origins, _EXPOSED_HEADERS) if settings.cors_origins else None,
            direct_routes=[route for family in families for route in family.direct_routes] if limit.is_direct else [],
            repeated_targets=None if repeated is None else repeated.find,
            admit=None if settings.rate_limit is None else limit.admit,
        ),
    )


async def _check_database(database: Database, device_api: DeviceApi) -> str:
    """As `check_schema`; while the database is away, a private service that has an inbox is enough to be ready."""
    try:
        return await check_schema(database, SCHEMA_NEEDED, 1.0)
    except DatabaseAway as away:
        if await device_api.defers():
            return f"{away}; events are accepted with Prefer: {RESPOND_ASYNC}"
        raise


def _rate_limit(settings: Settings, metrics: ServiceMetrics) -> RateLimit:
    shared = None
    if settings.redis_url is not None:
        # All replicas have the same token; a digest of it has the length of a key.
        secret = hashlib.sha256(b"rate limit " + settings.service_token.get_secret_value().encode()).digest()
        shared = SharedLimiter(settings.redis_url.get_secret_value(), secret=secret)
    refusals = {limit: metrics.shed(limit) for limit in (CLIENT_LIMIT, KEY_LIMIT)}
    return RateLimit(settings.rate_limit, settings.trusted_proxies, shared, lambda limit: refusals[limit].add())


def _optional_middleware(settings: Settings, limit: RateLimit) -> list[MiddlewareFactory]:
    chosen: list[MiddlewareFactory] = [partial(RateLimitMiddleware, limit=limit, render=render), ErrorPagesMiddleware]
    if settings.cors_origins:
        chosen.append(
            partial(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=_CORS_METHODS,
                # Any header: tracing in the browser adds `traceparent` and others to every request. The protection is
                # the list of origins; a browser sends no credential of ours by itself.
                allow_headers=["*"],
                expose_headers=_EXPOSED_HEADERS,
            )
        )
    return chosen
