"""The process that evaluates rules and sends deliveries, beside the service: no event waits for it.

One thread speaks to the database; each attempt is made by a thread of its own, so a receiver that is slow delays no
other one. Several such processes may run at once: rules are locked, and webhooks are claimed.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

import psycopg2

from device_registration_api.maintenance.connect import connect
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.keeper import Keeper
from device_registration_api.personal.sealing import SealBroken
from device_registration_api.webhooks.evaluation import evaluate, last_minute
from device_registration_api.webhooks.queue import Due, claim, give_up_old, note_attempt
from device_registration_api.webhooks.secrets import valid_secrets
from device_registration_api.webhooks.sending import Outcome, send
from device_registration_api.webhooks.signing import signed_headers
from device_registration_api.webhooks.streams import Batch, claim_batches, note_batch
from servicekit.database import Connection
from servicekit.process import clock

ATTEMPTS_AT_ONCE = 8
STATEMENT_SECONDS_MAX = 30
# How often the database is asked what is due, and how long the process waits after a failure of it.
PAUSE_SECONDS = 1.0
FAILURE_SECONDS = 5.0

Report = Callable[[str], None]
Networks = Sequence[IPv4Network | IPv6Network]


class _Sent(NamedTuple):
    at: datetime
    outcome: Outcome


class WebhookJob:
    """Evaluates and sends, on one connection."""

    def __init__(
        self, conn: Connection, threads: ThreadPoolExecutor, keeper: Keeper, allowed: Networks, report: Report
    ) -> None:
        """`threads` make the attempts: ATTEMPTS_AT_ONCE of them."""
        self._conn = conn
        self._threads = threads
        self._running: dict[Future[_Sent], Due | Batch] = {}
        self._keeper = keeper
        self._allowed = allowed
        self._report = report
        self._evaluated_to: datetime | None = None

    def evaluate(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Evaluate what is due, at most once a minute. Returns the number of state changes."""
        now = clock.now()
        if self._evaluated_to == last_minute(now):
            return 0
        with self._conn:
            given_up = give_up_old(self._conn, now)
        if given_up:
            self._report(f"{given_up} deliveries were given up: nobody took them in time")
        changes = evaluate(self._conn, now, self._report, stopping)
        self._evaluated_to = last_minute(now)
        return changes

    def advance(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Begin attempts that are due, and note those that have ended; wait a moment if some are under way.

        Returns the number that was noted.
        """
        for due, secrets in self._claim(0 if stopping() else ATTEMPTS_AT_ONCE - len(self._running)):
            self._running[self._threads.submit(self._attempt, due, secrets)] = due
        for batch, secrets in self._claim_batches(0 if stopping() else ATTEMPTS_AT_ONCE - len(self._running)):
            self._running[self._threads.submit(self._attempt, batch, secrets)] = batch
        if not self._running:
            return 0
        done, _ = wait(self._running, timeout=PAUSE_SECONDS, return_when=FIRST_COMPLETED)
        for each in done:
            sent, attempted = each.result(), self._running.pop(each)
            if isinstance(attempted, Batch):
                note_batch(self._conn, attempted, sent.at, sent.outcome)
                continue
            with self._conn:
                note_attempt(self._conn, attempted, sent.at, sent.outcome)
        return len(done)

    def finish(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Attempt until nothing is due or under way, and return the number of attempts."""
        attempts = 0
        while (noted := self.advance(stopping)) or self._running:
            attempts += noted
        return attempts

    def _claim(self, webhooks_max: int) -> list[tuple[Due, list[bytes]]]:
        if not webhooks_max:
            return []
        now = clock.now()
        found = []
        with self._conn:
            for due in claim(self._conn, now, webhooks_max):
                webhook = due.webhook
                try:
                    secrets = valid_secrets(self._conn, self._keeper, webhook.project_id, webhook.webhook_id, now)
                except SealBroken as error:
                    self._report(f"webhook {webhook.webhook_id}: {error}")
                    note_attempt(self._conn, due, now, Outcome(0, None, "secret-not-readable"))
                    continue
                found.append((due, secrets))
        return found

    def _claim_batches(self, streams_max: int) -> list[tuple[Batch, list[bytes]]]:
        if not streams_max:
            return []
        now = clock.now()
        found = []
        for batch in claim_batches(self._conn, now, streams_max):
            webhook = batch.webhook
            try:
                with self._conn:
                    secrets = valid_secrets(self._conn, self._keeper, webhook.project_id, webhook.webhook_id, now)
            except SealBroken as error:
                self._report(f"webhook {webhook.webhook_id}: {error}")
                note_batch(self._conn, batch, now, Outcome(0, None, "secret-not-readable"))
                continue
            found.append((batch, secrets))
        return found

    def _attempt(self, due: Due | Batch, secrets: Sequence[bytes]) -> _Sent:
        at, body = clock.now(), due.payload.encode()
        headers = signed_headers(secrets, str(due.delivery_id), int(at.timestamp()), body)
        return _Sent(at, send(due.webhook.url, headers, body, self._allowed))


@contextmanager
def new_job(database: DatabaseSettings, keeper: Keeper, allowed: Networks, report: Report) -> Iterator[WebhookJob]:
    """A job with a connection and threads of its own. At the end, attempts that were begun are waited for."""
    with (
        closing(connect(database, statement_seconds_max=STATEMENT_SECONDS_MAX)) as conn,
        ThreadPoolExecutor(ATTEMPTS_AT_ONCE, thread_name_prefix="webhook") as threads,
    ):
        yield WebhookJob(conn, threads, keeper, allowed, report)


def run(
    database: DatabaseSettings,
    keeper: Keeper,
    allowed: Networks,
    report: Report,
    *,
    pause: Callable[[float], object],
    stopping: Callable[[], bool],
) -> None:
    """Evaluate and send until `stopping`. A database that is away is asked again; `pause` waits some seconds."""
    is_away = False
    while not stopping():
        try:
            with new_job(database, keeper, allowed, report) as job:
                while not stopping():
                    job.evaluate(stopping)
                    is_away = False
                    if not job.advance(stopping):
                        pause(PAUSE_SECONDS)
                job.finish(stopping)
        except psycopg2.Error as error:
            if not is_away:
                report(f"the database cannot be used, and nothing is sent until then ({type(error).__name__})")
            is_away = True
            pause(FAILURE_SECONDS)
