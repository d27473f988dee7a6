"""The revision of the database schema that the statements of this release need; a newer one is accepted."""

# The newest revision, which init.sql describes; a test compares it with the revisions of the private service.
SCHEMA_NEEDED = "0019"
