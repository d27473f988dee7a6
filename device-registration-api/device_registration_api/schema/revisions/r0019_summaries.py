"""A function that brings the indexes of transactions up to date, for who reads the newest facts again and again.

Releases that do not call it run beside this revision during an upgrade: they read what autovacuum has not reached.
"""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Nothing but a function is new."""
    op.execute(r"""
-- Brings the BRIN indexes of the facts up to date. A search of such an index reads all pages that have no summary in
-- it: what was stored since autovacuum came by, which may be a million facts. It waits for nobody: a week that VACUUM
-- works on is left to VACUUM.
CREATE FUNCTION maintenance.summarize(fact text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known CONSTANT maintenance.fact_table := maintenance.known_fact_table(fact);
    week  record;
BEGIN
    FOR week IN
        SELECT i.indrelid::regclass AS partition, i.indexrelid::regclass AS index
          FROM pg_inherits AS h
          JOIN pg_index AS i ON i.indrelid = h.inhrelid
          JOIN pg_class AS c ON c.oid = i.indexrelid
          JOIN pg_am AS a ON a.oid = c.relam
         WHERE h.inhparent = format('public.%I', known.fact)::regclass AND a.amname = 'brin'
    LOOP
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE NOWAIT', week.partition);
            PERFORM brin_summarize_new_values(week.index);
        EXCEPTION WHEN lock_not_available OR undefined_table OR undefined_object THEN
            NULL;  -- VACUUM has it, or it has just been retired
        END;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION maintenance.summarize(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION maintenance.summarize(text) TO registration_writer;
    """)


def downgrade() -> None:
    """The indexes are as autovacuum leaves them."""
    op.execute("DROP FUNCTION maintenance.summarize(text)")
