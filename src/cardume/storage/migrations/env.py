"""Alembic's entry: the connection comes from `cardume.storage.migrate`, with its transaction."""

from __future__ import annotations

from alembic import context

from cardume.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters by copying
    transactional_ddl=False,
)
context.run_migrations()
