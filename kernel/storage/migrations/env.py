"""Alembic's entry: runs the migrations in the transaction that `Database.migrate` opened."""

from alembic import context

from kernel.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
