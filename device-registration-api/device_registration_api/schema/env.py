"""Run by Alembic, with the connection and the transaction that `migrations` gives it."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
