"""The operator's templates as they last were in order: what a start with a broken one falls back on. Only `run` writes them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import TEMPLATE_VERSION


def read_all(connection: Connection) -> dict[str, str]:
    """Read the texts, by file name within the folder."""
    return {row.name: row.body for row in connection.execute(select(TEMPLATE_VERSION))}


def replace_all(connection: Connection, texts: Mapping[str, str]) -> None:
    """Store these texts and no others."""
    connection.execute(TEMPLATE_VERSION.delete().where(TEMPLATE_VERSION.c.name.not_in(list(texts))))
    for name, body in texts.items():
        upsert(connection, TEMPLATE_VERSION, {"name": name, "body": body}, key=("name",))
