"""The private service, assembled on one screen."""

import asyncio
from collections import ChainMap
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.types import ASGIApp

from contract.metric_names import NAMESPACE
from contract.schema import SCHEMA_NEEDED
from device_registration_api import __version__
from device_registration_api.access import router as access_router
from device_registration_api.access import store_router
from device_registration_api.accounts import router as accounts_router
from device_registration_api.accounts.accounts import new_accounts
from device_registration_api.accounts.settings import AccountSettings
from device_registration_api.auth_events import previous_release
from device_registration_api.auth_events import router as auth_events
from device_registration_api.devices import router as devices_router
from device_registration_api.erasure import router as erasure_router
from device_registration_api.erasure.job import Erasures
from device_registration_api.events import idempotency
from device_registration_api.events.following import follow_forever
from device_registration_api.events.router import event_routes, large_bodies
from device_registration_api.events.table import EventTable
from device_registration_api.events.writer import EventWriter, Observers, slot_of
from device_registration_api.exports import router as exports_router
from device_registration_api.exports.connect import pool_of_exports
from device_registration_api.exports.horizon import HorizonAge
from device_registration_api.followers import FOLLOWERS
from device_registration_api.inbox import state as inbox_state
from device_registration_api.inbox.connect import pool_of_inbox
from device_registration_api.inbox.readiness import needs_with_inbox
from device_registration_api.inbox.running import running_inbox
from device_registration_api.inbox.settings import InboxSettings
from device_registration_api.kinds import KINDS
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.metrics import router as installation_router
from device_registration_api.metrics.outcomes import OutcomeCounts
from device_registration_api.metrics.stored import Read, StoredState, read_key_age, read_stored
from device_registration_api.people import router as people_router
from device_registration_api.people.people import ProjectPeople
from device_registration_api.personal.keeper import Keeper
from device_registration_api.personal.peppers import new_peppers
from device_registration_api.personal.pools import PersonalData, new_personal_data
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.service_token import ServiceToken
from device_registration_api.settings import Settings
from device_registration_api.shares import router as shares_router
from device_registration_api.webhooks import router as webhooks_router
from servicekit.database.pool import Database
from servicekit.database.schema_revision import check_schema
from servicekit.http.error_responses import ErrorShape
from servicekit.process import drain
from servicekit.process.logs import chosen_format, configure_logs
from servicekit.process.request_log import RequestLog
from servicekit.service.applications import add_middleware, new_application
from servicekit.service.health import health_routes
from servicekit.service.metrics import ServiceMetrics
from servicekit.service.settings import read_settings, secret_bytes
from servicekit.service.tracing import tracing
from servicekit.tracing.spans import Spans

SERVICE = "device-registration-api"
# The paths that only statistics-api calls. The path of family 1 keeps the `{"detail": ...}` of its document.
ERROR_SHAPES = {"/administration/": ErrorShape.PROBLEM_IN_FULL, "/events/": ErrorShape.PROBLEM_IN_FULL}
# The routes under `/administration/`, a router for each room.
ADMINISTRATION: Sequence[APIRouter] = (
    access_router.router,
    store_router.router,
    accounts_router.router,
    people_router.router,
    devices_router.router,
    erasure_router.router,
    webhooks_router.router,
    shares_router.router,
    exports_router.router,
    installation_router.router,
)
# The time for the coalescer's last flush after SIGTERM, within the server's own 20 s.
FLUSH_SECONDS_MAX = 10.0


def create_app(settings: Settings | None = None, kinds: Sequence[EventTable[Any]] = KINDS) -> ASGIApp:
    """Build the whole service; it connects to nothing before its lifespan begins."""
    settings = settings or Settings()
    log_format = chosen_format(settings.log_format)
    configure_logs(SERVICE, log_format)
    database = Database(
        settings.dsn(SERVICE),
        connections_max=settings.db_connections_max,
        wait_seconds_max=2.0,
        prepare=[*idempotency.PREPARED, *(statement for table in kinds for statement in table.prepared())],
    )
    metrics = ServiceMetrics(NAMESPACE, version=__version__)
    metrics.database("stats", database)
    exports = exports_router.Exports(kinds, pool_of_exports(DatabaseSettings.of(settings), SERVICE))
    metrics.database("exports", exports.database)
    keyring_settings = read_settings(KeyringSettings)
    peppers = new_peppers(keyring_settings, DatabaseSettings.of(settings), SERVICE)
    account_settings = read_settings(AccountSettings)
    personal_data = new_personal_data(account_settings, DatabaseSettings.of(settings), SERVICE)
    accounts = new_accounts(account_settings, personal_data)
    inbox_database = pool_of_inbox(read_settings(InboxSettings), SERVICE)
    state = StoredState(metrics.cells, [*_sources(database, personal_data, account_settings, inbox_database)])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        async with tracing(SERVICE, version=__version__, settings=settings) as spans, serving(spans) as served:
            yield served

    @asynccontextmanager
    async def serving(spans: Spans) -> AsyncIterator[dict[str, object]]:
        drain.install(settings.drain_seconds)
        slot = slot_of(settings.instance_id)
        try:
            async with running_inbox(inbox_database, database, kinds, slot, metrics.cells) as inbox:
                writers = {
                    table.kind: EventWriter(
                        database,
                        table,
                        slot,
                        peppers,
                        Observers(OutcomeCounts(metrics.cells, table.kind), metrics.flushes(table.kind), spans),
                        inbox,
                    )
                    for table in kinds
                }
                for name, queue in ChainMap(*(writer.queues() for writer in writers.values())).items():
                    metrics.queue(name, queue)
                following = [asyncio.create_task(follow_forever(database, each)) for each in FOLLOWERS.values()]
                following.append(asyncio.create_task(state.show_forever()))
                try:
                    yield {
                        "writers": writers,
                        "accounts": accounts,
                        "erasures": None if personal_data is None else Erasures(database, personal_data.eraser),
                        "people": None if personal_data is None else ProjectPeople(personal_data, database),
                        "database": database,
                        "exports": exports,
                        "stored": state,
                        "api_keys_max": settings.api_keys_max,
                        "imported_key_secret": secret_bytes(settings.imported_key_secret),
                        "keeper": None if keyring_settings.personal_keks is None else Keeper(keyring_settings.keks()),
                    }
                finally:
                    for task in following:
                        task.cancel()
                    await asyncio.gather(*(writer.close(FLUSH_SECONDS_MAX) for writer in writers.values()))
        finally:
            database.close()
            exports.database.close()
            peppers.close()
            if accounts is not None:
                accounts.close()
            if personal_data is not None:
                personal_data.close()

    app = new_application(
        "device-registration-api",
        version=__version__,
        description="Private: the only writer. Every route but health needs the service token.",
        lifespan=lifespan,
        metrics=metrics,
        error_shapes=ERROR_SHAPES,
    )
    needs = needs_with_inbox(partial(check_schema, database, SCHEMA_NEEDED, 1.0), inbox_database)
    app.include_router(health_routes(SERVICE, version=__version__, environment=settings.environment, needs=needs))
    service_token = ServiceToken(settings)
    events = [event_routes(table, service_token) for table in kinds]
    for router in events:
        app.include_router(router)
    for router in (auth_events.router, previous_release.router, *ADMINISTRATION):
        app.include_router(router, dependencies=[Depends(service_token)])
    return add_middleware(
        app,
        routers=events,
        large_bodies=dict(
            ChainMap(
                access_router.LARGE_BODIES,
                previous_release.LARGE_BODIES,
                *(large_bodies(table.kind) for table in kinds),
            )
        ),
        log=RequestLog(SERVICE, as_json=log_format == "json", observe=metrics.observe_request),
    )


def _sources(
    database: Database, personal_data: PersonalData | None, settings: AccountSettings, inbox: Database | None
) -> Iterator[tuple[Database, Read]]:
    """What the metrics show of each database."""
    yield database, read_stored
    yield database, HorizonAge().read
    if personal_data is not None:
        yield personal_data.keyring, partial(read_key_age, kek=settings.keks().current)
    if inbox is not None:
        yield inbox, inbox_state.read_metrics
