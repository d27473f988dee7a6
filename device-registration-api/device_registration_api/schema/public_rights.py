"""Revokes from PUBLIC the rights that every login has by default and that the services' logins must not have.

A right that the administrator may not revoke stays, as on a managed server, where no administrator is a superuser. The
catalogue says whether the administrator may revoke it: a REVOKE without that right is a warning or, after PUBLIC has
lost the right, an error.
"""

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

# In `postgres` migrations wait for each other, and a temporary table takes disk. Every other login that exists (a
# monitor, another administrator) keeps the right, by name.
_RESTRICT_SERVER_DATABASES = """
    DO $$
    DECLARE
        found record;
        login name;
    BEGIN
        FOR found IN
            SELECT datname, privilege
              FROM pg_database CROSS JOIN unnest(ARRAY['CONNECT', 'TEMPORARY']) AS privilege
             WHERE datname IN ('postgres', 'template1')
               AND has_database_privilege('public', oid, privilege)
               AND pg_has_role(datdba, 'USAGE')
        LOOP
            FOR login IN
                SELECT rolname
                  FROM pg_roles
                 WHERE rolcanlogin
                   AND NOT rolsuper
                   AND (rolcreaterole OR NOT (pg_has_role(oid, 'stats_reader', 'USAGE')
                                              OR pg_has_role(oid, 'registration_writer', 'USAGE')
                                              OR pg_has_role(oid, 'personal_writer', 'USAGE')
                                              OR EXISTS (SELECT
                                                           FROM pg_roles AS inbox
                                                          WHERE inbox.rolname = 'inbox_writer'
                                                            AND pg_has_role(pg_roles.oid, inbox.oid, 'USAGE'))))
            LOOP
                EXECUTE format('GRANT %s ON DATABASE %I TO %I', found.privilege, found.datname, login);
            END LOOP;
            EXECUTE format('REVOKE %s ON DATABASE %I FROM PUBLIC', found.privilege, found.datname);
        END LOOP;
    END $$
"""

# A login without a right on any table can write large objects and the write-ahead log, and take the locks that
# migrations and maintenance wait for. The owner's functions and the writer keep the locks.
_RESTRICT_FUNCTIONS = """
    DO $$
    DECLARE
        found record;
    BEGIN
        FOR found IN
            SELECT oid::regprocedure AS signature, proname ~ '^pg_(try_)?advisory_' AS locks
              FROM pg_proc
             WHERE pronamespace = 'pg_catalog'::regnamespace
               AND (proname ~ '^pg_(try_)?advisory_'
                    OR proname IN ('lo_create', 'lo_creat', 'lo_from_bytea', 'lo_open', 'lo_put', 'lo_truncate',
                                   'lo_truncate64', 'lo_unlink', 'lowrite', 'pg_logical_emit_message'))
               AND has_function_privilege('public', oid, 'EXECUTE')
               AND pg_has_role(proowner, 'USAGE')
        LOOP
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', found.signature);
            IF found.locks THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO stats_owner, registration_writer', found.signature);
            END IF;
        END LOOP;
    END $$
"""


def restrict_server_databases(cur: Cursor) -> None:
    """Close `postgres` and `template1` to the services' logins. The caller holds the lock on roles."""
    cur.execute(_RESTRICT_SERVER_DATABASES)


def restrict_functions(cur: Cursor) -> None:
    """In the current database, close the functions that write or lock without a right on any table."""
    cur.execute(_RESTRICT_FUNCTIONS)
