"""Run by Alembic, with the connection and the transaction that `revise` gives it."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
