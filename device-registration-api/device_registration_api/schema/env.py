"""Run by Alembic, with the connection and the transaction that `migrations` gives it."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    on_version_apply=context.config.attributes.get("applied"),
)
context.run_migrations()
