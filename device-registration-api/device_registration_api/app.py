"""The private service, assembled on one screen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Depends, FastAPI
from starlette.types import ASGIApp

from contract.schema import SCHEMA_NEEDED
from device_registration_api import __version__
from device_registration_api.auth_events import router as auth_events
from device_registration_api.auth_events.group_commit import GroupCommit
from device_registration_api.service_token import ServiceToken
from device_registration_api.settings import Settings
from servicekit.database.pool import Database
from servicekit.database.schema_revision import check_schema
from servicekit.http.error_responses import ErrorShape
from servicekit.process import drain
from servicekit.process.logs import chosen_format, configure_logs
from servicekit.process.request_log import RequestLog
from servicekit.service.applications import add_middleware, new_application
from servicekit.service.health import health_routes

SERVICE = "device-registration-api"
# What statistics-api alone calls. Family 1's own path has its document's `{"detail": ...}`.
ERROR_SHAPES = {"/events/": ErrorShape.PROBLEM_IN_FULL}
# After SIGTERM: the coalescer's last flush, within the server's own 20 s.
FLUSH_SECONDS_MAX = 10.0


def create_app(settings: Settings | None = None) -> ASGIApp:
    """Build the whole service; it connects to nothing before its lifespan begins."""
    settings = settings or Settings()
    log_format = chosen_format(settings.log_format)
    configure_logs(SERVICE, log_format)
    database = Database(settings.dsn(SERVICE), connections_max=settings.db_connections_max, wait_seconds_max=2.0)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        drain.install(settings.drain_seconds)
        writer = GroupCommit(database, settings.instance_id)
        try:
            yield {"group_commit": writer}
        finally:
            await writer.coalescer.close(FLUSH_SECONDS_MAX)
            database.close()

    app = new_application(
        "device-registration-api",
        version=__version__,
        description="Private: the only writer. Every route but health needs the service token.",
        lifespan=lifespan,
        error_shapes=ERROR_SHAPES,
    )
    needs = {"database": partial(check_schema, database, SCHEMA_NEEDED, 1.0)}
    app.include_router(health_routes(SERVICE, version=__version__, environment=settings.environment, needs=needs))
    app.include_router(auth_events.router, dependencies=[Depends(ServiceToken(settings))])
    return add_middleware(
        app,
        large_bodies=auth_events.LARGE_BODIES,
        log=RequestLog(SERVICE, as_json=log_format == "json"),
    )
