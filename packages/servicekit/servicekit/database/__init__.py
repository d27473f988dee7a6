"""The only importer of psycopg2 in this package; owns the connection parameters."""
