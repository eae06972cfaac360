"""The schema's history, run by alembic from within the package; there is no alembic.ini."""
