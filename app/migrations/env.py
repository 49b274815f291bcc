"""Alembic's environment: runs on the connection that :meth:`app.db.Database.migrate` hands in."""

from alembic import context
from sqlmodel import SQLModel

import app.tables  # noqa: F401  (registers every table with the metadata)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    transactional_ddl=True,  # SQLite can: all revisions in one transaction, or none
)
with context.begin_transaction():
    context.run_migrations()
