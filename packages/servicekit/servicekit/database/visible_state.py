"""Names what a query of this moment can see, so that an answer can be known to be current without its query."""

from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

# A snapshot says which transactions are visible: any one that changed something and has ended since makes it another.
# The numbers of transactions may be given again after a failover or a restore; then the server has started since. On a
# standby a snapshot does not name all transactions that it leaves out.
VISIBLE_STATE = """
    SELECT CASE WHEN NOT pg_is_in_recovery()
                THEN pg_current_snapshot() || ' ' || extract(epoch FROM pg_postmaster_start_time()) END
"""


def visible_state(lease: Lease) -> str | None:
    """Return a name of what a query sees now. Equal names: the same rows in all tables. None cannot be compared.

    Raises:
        NotRecorded: the database cannot be asked.
    """
    with lease.transaction() as conn:
        [found] = fetch_all(conn, VISIBLE_STATE, {}, _state)
    return found


def _state(name: str | None) -> str | None:
    return name
