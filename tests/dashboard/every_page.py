"""Every page of the dashboard and of shares, for what all of them promise."""

from contract.shares import View
from statistics_api.access.sessions import SessionKind
from statistics_api.dashboard.screens import ANY_SESSION, SCREENS

# Two cores serve all pages, of which a test may have every one open.
SEEN_MILLISECONDS_MAX = 90_000
# Screens whose path alone shows nothing that is recorded.
QUERIES = {"people": "?user={user}"}
SHARES = {f"shared {view}": view for view in View}
PAGES = (*(each.name for each in SCREENS if "{" not in each.path), "device", *SHARES)


def needed_session(name: str) -> SessionKind | None:
    """The session with which a page shows figures: that of an API key where it opens the screen."""
    if name in SHARES:
        return None
    kinds = next((each.opened_by for each in SCREENS if each.name == name), ANY_SESSION)
    return SessionKind.PROJECT if SessionKind.PROJECT in kinds else next(iter(kinds))
