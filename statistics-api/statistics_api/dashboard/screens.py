"""The screens of the dashboard. A new one is an entry here, a template and an ES module with its name."""

from typing import NamedTuple

from contract.access import Scope
from statistics_api.access.sessions import SessionKind

ANY_SESSION = frozenset(SessionKind)


class Screen(NamedTuple):
    """One page of the dashboard.

    `templates/<name>.html` extends `screen.html`, and `static/screens/<name>.js` is loaded with it. A session of one of
    `opened_by` opens the page, that of a project if it has the scope; with `may_be_public` also none, if the
    installation says so (DASHBOARD_PUBLIC).
    """

    name: str
    # Below /dashboard; "" is the first page.
    path: str
    title: str
    opened_by: frozenset[SessionKind] = ANY_SESSION
    may_be_public: bool = False
    scope: Scope = Scope.READ

    @property
    def route(self) -> str:
        """The whole path."""
        return f"/dashboard{self.path}"


# In the order of the navigation.
SCREENS = (
    Screen("overview", "", "Overview", may_be_public=True),
    Screen("requests", "/requests", "API project"),
    Screen("devices", "/devices", "Devices", opened_by=frozenset({SessionKind.PROJECT})),
    Screen("store", "/store", "Store", opened_by=frozenset({SessionKind.PROJECT})),
    Screen("people", "/people", "People", opened_by=frozenset({SessionKind.PROJECT}), scope=Scope.MANAGE),
    Screen("administration", "/administration", "Administration", opened_by=frozenset({SessionKind.ACCOUNT})),
)
