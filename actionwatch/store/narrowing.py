"""Read only what belongs to some sources: for people whose token is limited to the labels of these sources.

Every statement of a narrowed transaction gets common table expressions in front of it, under the names of the tables that it
reads, with the rows that may be seen. So no query can forget the limit, also none that will be written later. A table that has
no rows here is empty, and a statement that is not a query is refused.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, event

from actionwatch.base.errors import StoreError
from actionwatch.base.model import SELF_RULE_NAME
from actionwatch.store.tables import METADATA

_QUERY = re.compile(r"\s*\(*\s*SELECT\b")
_NAMES = re.compile(r"\w+")
_NOTHING = "1 = 0"
_OF_ALERT = "EXISTS (SELECT 1 FROM alert WHERE alert.id = {table}.alert_id)"
# {real} is what names the table of the store, {own} is the list of the sources, and {has:…} the condition that a JSON text has
# one of some members. Later ones see the earlier ones, and the tables of the store under {real}.
_ROWS: Mapping[str, str] = {
    # All of its records are of these sources. One without records, because something is missing, names its source in its group.
    # A self-alert has a source only if it is about one.
    "alert": """source IN ({own}) AND CASE
        WHEN rule_id = '{self_rule}' THEN {is_about_source}
        WHEN EXISTS (SELECT 1 FROM {real}alert_record AS held WHERE held.alert_id = alert.id) THEN NOT EXISTS (
            SELECT 1 FROM {real}alert_record AS held WHERE held.alert_id = alert.id AND NOT EXISTS (
                SELECT 1 FROM {real}record AS its WHERE its.id = held.record_id AND its.source IN ({own})))
        ELSE {is_grouped_by_source} END""",
    "silence": "{is_confined}",
    "alert_record": _OF_ALERT,
    "alert_history": _OF_ALERT,
    "correlated_alert": "EXISTS (SELECT 1 FROM alert WHERE alert.id IN (correlated_alert.id, reported_as))",
    # A summary has texts of the alerts of all.
    "delivery": f"event <> 'summary' AND {_OF_ALERT}",
    "record": "source IN ({own})",
    "record_count": "source IN ({own})",
    "receipt": "source IN ({own})",
    "source": "name IN ({own})",
    "backlog": "source IN ({own})",
    "poll": "source IN ({own})",
    "sweep": "source IN ({own})",
    "unproved_window": "source IN ({own})",
    "self_alert": "subject IN ({own}) AND trouble IN ({troubles})",
    # A dictionary: the conditions of a search look up the values of a record in it. `suggest` checks what it shows of it.
    "record_value": "1 = 1",
}
# The rest of a visible row may name what is not: the alert or the silence that held a message back, with its title or reason.
_CHANGED: Mapping[str, Mapping[str, str]] = {
    "alert_history": {"what": "CASE WHEN substr(stage, 1, 8) = 'gate to ' THEN 'held back' ELSE what END"},
    "delivery": {
        "ref": """CASE why WHEN 'inhibition' THEN (SELECT alert.id FROM alert WHERE alert.id = ref)
            WHEN 'silence' THEN (SELECT silence.id FROM silence WHERE silence.id = ref) END""",
        "body": "CASE WHEN {contains}(body, '\"inhibits\"') = 0 THEN body END",
    },
}


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The part of a store that may be seen: everything of these sources, and the silences that have all of these matchers.

    Each matcher is given in all forms in which people write it. `troubles` are those of self-alerts whose subject is a source.
    """

    sources: frozenset[str]
    matchers: tuple[tuple[str, ...], ...]
    troubles: frozenset[str]


def is_narrowed(connection: Connection) -> bool:
    """Return whether a transaction sees only the rows of some sources."""
    return bool(connection.get_execution_options().get("is_narrowed"))


def narrow(connection: Connection, narrowing: Narrowing) -> None:
    """Let all further statements of a transaction see only what may be seen.

    They can change nothing but the filters that a person keeps.
    """
    is_sqlite = connection.dialect.name == "sqlite"

    def rewrite(  # the parameters are those of SQLAlchemy's event
        conn: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> tuple[str, Any]:
        del conn, cursor, context, executemany
        return _narrowed(statement, narrowing, is_sqlite=is_sqlite), parameters

    event.listen(connection, "before_cursor_execute", rewrite, retval=True)
    connection.execution_options(is_narrowed=True)


def _narrowed(statement: str, narrowing: Narrowing, *, is_sqlite: bool) -> str:
    """Return a statement that sees only what may be seen. Raises: StoreError, for one that is no query."""
    if not _QUERY.match(statement):
        raise StoreError("a statement that is no query was refused, because this visitor sees only some sources")
    rows = _rows(narrowing, is_sqlite)
    named = METADATA.tables.keys() & set(_NAMES.findall(statement))
    named |= {"alert", "silence"} & {each for name in named for each in _NAMES.findall(rows[name])}
    given = ", ".join(f"{name} AS NOT MATERIALIZED ({rows[name]})" for name in rows if name in named)
    return f"WITH {given} {statement}" if given else statement


@functools.lru_cache(maxsize=64)  # a page has a dozen statements
def _rows(narrowing: Narrowing, is_sqlite: bool) -> Mapping[str, str]:
    """Return the query of the rows of each table that may be seen, those first that others use."""
    text = _sqlite_text if is_sqlite else _postgresql_text
    contains = "instr" if is_sqlite else "strpos"

    def has(column: str, members: Iterable[str]) -> str:
        found = [f"{contains}({column}, {text(each)}) > 0" for each in sorted(members)]
        return f"({' OR '.join(found)})" if found else _NOTHING

    own = sorted(narrowing.sources)
    values = {
        "real": "main." if is_sqlite else "",  # of PostgreSQL, an expression sees neither itself nor later ones
        "own": ", ".join(map(text, own)),
        "self_rule": SELF_RULE_NAME,
        "troubles": ", ".join(map(text, sorted(narrowing.troubles))) or "NULL",
        "is_about_source": has("labels", (_member("trouble", each) for each in narrowing.troubles)),
        "is_grouped_by_source": has("group_values", (_member("source", each) for each in own)),
        "is_confined": " AND ".join(has("matchers", map(json.dumps, each)) for each in narrowing.matchers) or _NOTHING,
    }
    sees_any = bool(own)
    found = {}
    for name in [*_ROWS, *(METADATA.tables.keys() - _ROWS.keys())]:
        condition = _ROWS.get(name, _NOTHING).format(table=name, **values) if sees_any else _NOTHING
        changed = _CHANGED.get(name, {})
        columns = [
            f"{changed[column].format(contains=contains)} AS {column}" if column in changed else column
            for column in METADATA.tables[name].columns.keys()  # noqa: SIM118
        ]
        found[name] = f"SELECT {', '.join(columns)} FROM {values['real']}{name} WHERE {condition}"  # noqa: S608  # nosec
    return found


def _member(name: str, value: str) -> str:
    """Return a member of a JSON object as `column_types.py` writes it. No text in JSON contains it: its quotes are escaped."""
    return f"{json.dumps(name)}: {json.dumps(value)}"


def _sqlite_text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _postgresql_text(value: str) -> str:
    """Return a literal that does not depend on `standard_conforming_strings`. The driver reads % as a placeholder."""
    return "E'" + value.replace("\\", "\\\\").replace("'", "''").replace("%", "%%") + "'"
