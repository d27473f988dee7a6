"""The revisions of the database `keyring`, oldest first."""
