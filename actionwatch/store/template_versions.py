"""The last good versions of the operator's templates, for a start with a broken one. Only `run` writes them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from actionwatch.store.statements import upsert
from actionwatch.store.tables import TEMPLATE_VERSION


def read_all(connection: Connection) -> dict[str, str]:
    """Read the texts by file name."""
    return {row.name: row.body for row in connection.execute(select(TEMPLATE_VERSION))}


def replace_all(connection: Connection, texts: Mapping[str, str]) -> None:
    """Store these texts and no others."""
    connection.execute(TEMPLATE_VERSION.delete().where(TEMPLATE_VERSION.c.name.not_in(list(texts))))
    upsert(connection, TEMPLATE_VERSION, *({"name": name, "body": body} for name, body in texts.items()))
