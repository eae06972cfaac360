"""Alembic runs this file to migrate a store, on the connection that `migrate` passes."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
