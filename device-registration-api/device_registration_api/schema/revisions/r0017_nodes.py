"""Functions of maintenance for facts that are on several nodes, and one that stops the writers for a moment.

On a cluster, a subquery without a column is refused, and a ctid is one of each shard: so a row that is deleted by its
ctid must be one of the project, too. On one server both say the same as before.
"""

from alembic import op

revision = "0017"
down_revision = "0016"

# The functions, and what of their texts is replaced by what.
_REPLACED = {
    ("retire_partition", "retire_person_rows", "retire_group_rows"): (
        "'SELECT EXISTS (SELECT FROM ",
        "'SELECT EXISTS (SELECT 1 FROM ",
    ),
    ("delete_project_rows",): (
        "'DELETE FROM ONLY %1$s WHERE ctid",
        "'DELETE FROM ONLY %1$s WHERE project_id = $1 AND ctid",
    ),
}


def upgrade() -> None:
    """Only the texts of functions change."""
    for functions, (before, after) in _REPLACED.items():
        _replace(functions, before, after)
    op.execute(r"""
-- Waits for the transactions that change the facts, and lets none begin to, until the caller's transaction ends: so
-- that a reader of a cluster can take the snapshots of all nodes at one moment.
CREATE FUNCTION maintenance.hold_writers(fact text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known CONSTANT maintenance.fact_table := maintenance.known_fact_table(fact);
BEGIN
    PERFORM maintenance.lock_with_retry(format('LOCK TABLE public.%I IN SHARE MODE', known.fact));
END
$$;
REVOKE EXECUTE ON FUNCTION maintenance.hold_writers(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION maintenance.hold_writers(text) TO registration_writer;
    """)


def downgrade() -> None:
    """The functions are as before."""
    op.execute("DROP FUNCTION maintenance.hold_writers(text)")
    for functions, (before, after) in _REPLACED.items():
        _replace(functions, after, before)


def _replace(functions: tuple[str, ...], before: str, after: str) -> None:
    for function in functions:
        op.execute(f"""
DO $do$
BEGIN
    EXECUTE (SELECT replace(pg_get_functiondef(oid), $text${before}$text$, $text${after}$text$)
               FROM pg_proc WHERE pronamespace = 'maintenance'::regnamespace AND proname = '{function}');
END
$do$
        """)  # noqa: S608 - of constants of this file
