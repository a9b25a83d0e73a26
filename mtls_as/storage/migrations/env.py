"""Runs the migrations on the connection that `mtls_as.storage.migrate` gives, inside its transaction."""

from alembic import context

from mtls_as.storage.schema import metadata

# SQLite alters a table by copying it, which Alembic calls a batch.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
