"""The revisions of the database `personal`, oldest first."""
