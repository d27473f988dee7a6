"""The rows of a deleted project can be removed from tables on several nodes.

Citus refuses a DELETE by a ctid that a subquery finds, so the places are found first. On one server the same rows go.
"""

from alembic import op

revision = "0018"
down_revision = "0017"

# Less what finds the rows of one table and deletes them, and its variables.
_FUNCTION = r"""
CREATE OR REPLACE FUNCTION maintenance.delete_project_rows(
    project int, rows_max int, OUT table_name text, OUT row_count bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored regclass;
VARIABLESBEGIN
    -- By the server's own clock, and later than a remembered key is accepted: nothing is recorded any more.
    PERFORM FROM public.project AS p
      WHERE p.project_id = project AND p.deleted_at < now() - interval '1 minute' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'project % was not deleted a minute ago', project USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR stored IN
        SELECT c.oid
          FROM pg_class AS c
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'project_id' AND NOT a.attisdropped
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.oid <> 'public.project'::regclass
         ORDER BY c.relname
    LOOP
DELETION
        GET DIAGNOSTICS row_count = ROW_COUNT;
        IF row_count > 0 THEN
            table_name := stored::text;
            RETURN;
        END IF;
    END LOOP;
    DELETE FROM public.project AS p WHERE p.project_id = project;
    row_count := 0;
END
$$;
"""


def upgrade() -> None:
    """Only the text of a function changes."""
    _define(
        "    places tid[];",
        r"""
        EXECUTE format('SELECT ARRAY(SELECT ctid FROM ONLY %s WHERE project_id = $1 LIMIT $2)', stored)
            INTO places USING project, rows_max;
        -- A place may be used anew by now, and on a cluster it is one of each shard: so the project is asked for again.
        EXECUTE format('DELETE FROM ONLY %s WHERE project_id = $1 AND ctid = ANY ($2)', stored) USING project, places;
""",
    )


def downgrade() -> None:
    """The function is as before."""
    _define(
        "",
        r"""
        EXECUTE format('DELETE FROM ONLY %1$s WHERE project_id = $1 AND ctid = ANY (ARRAY('
                       'SELECT ctid FROM ONLY %1$s WHERE project_id = $1 LIMIT $2))', stored) USING project, rows_max;
""",
    )


def _define(variables: str, deletion: str) -> None:
    body = _FUNCTION.replace("VARIABLES", f"{variables}\n" if variables else "")
    op.execute(body.replace("DELETION\n", deletion.removeprefix("\n")))
