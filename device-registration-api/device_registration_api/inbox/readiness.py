"""Readiness with an inbox: a process that can store events in it is ready while the first database is away."""

import asyncio
from collections.abc import Mapping

from contract.inbox import INBOX
from device_registration_api.inbox.state import check_usable
from servicekit.database.pool import Database
from servicekit.errors import DatabaseAway, DomainError
from servicekit.service.health import ReadinessCheck

_SECONDS_MAX = 1.0


def needs_with_inbox(check_main: ReadinessCheck, inbox: Database | None) -> Mapping[str, ReadinessCheck]:
    """Return what the service needs: the first database or, while that is away, the inbox.

    statistics-api asks for the need INBOX, to know whether it can be ready while it cannot read.
    """
    if inbox is None:
        return {"database": check_main}

    async def state_of_inbox() -> str:
        try:
            await inbox.run(check_usable, _SECONDS_MAX)
        except DomainError as error:
            return str(error)
        return "ok"

    async def main_or_inbox() -> str:
        main, state = await asyncio.gather(check_main(), state_of_inbox(), return_exceptions=True)
        if isinstance(main, DatabaseAway) and state == "ok":
            return f"{main}; deferrable events go to the inbox"
        if isinstance(main, BaseException):
            raise main
        return main

    return {"database": main_or_inbox, INBOX: state_of_inbox}
