"""The texts of an alert: templates that are checked when the rule is loaded, and plain texts that cannot fail.

Audit text is only used as a value. Nothing is escaped here, because each notifier escapes for its channel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import Template, TemplateSyntaxError, meta, nodes
from msgspec import structs

from actionwatch.base.errors import TemplateError
from actionwatch.base.model import Entity, Record, RuleName
from actionwatch.rules.fields import BLANK, ENTITIES, VARIABLES, Subject, variable
from actionwatch.text.escaping import shorten
from actionwatch.text.phrases import deed, sentence
from actionwatch.text.sandbox import SandboxedEnvironment, fill
from actionwatch.text.steps import TemplateLimitError, limited_steps
from actionwatch.text.suggestions import suggest

_MAX_TITLE_CHARS = 300  # a title is one line on a phone; channels cut further
_MAX_TEXT_CHARS = 16_000  # of a filled-in template: a message holds up to fifty alerts
_MAX_DESCRIPTION_CHARS = 4000  # of the plain body, which must stay readable for every record

_LINE_END = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")  # as in str.splitlines

_PLAIN = (nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Or)

_SAMPLE_RULE = RuleName("0001", "sample", "Sample", ("attack.impact",))
_SAMPLE = structs.replace(
    BLANK,
    source="acme",
    action_kind="DELETE_CLUSTER",
    user_name="eve@example.com",
    description="Deleted the cluster payments-prod",
    account=Entity("a-1", "payments"),
    cluster=Entity("c-1", "payments-prod"),
)

_OURS = ("rule", "level", "group", "count")
_MEMBERS = {**dict.fromkeys(ENTITIES, ("id", "name")), "rule": ("id", "name", "title", "tags")}


@dataclass(frozen=True)
class Wording:
    """A checked template with the names of its variables. Only these are derived from the record."""

    text: str
    names: tuple[str, ...]

    @cached_property
    def template(self) -> Template:
        """The template, which is compiled when it is first needed: this takes 1 ms, and most commands fill in none."""
        return _ENVIRONMENT.from_string(self.text)


def compile_wording(text: str) -> Wording:
    """Check a template and every name in it, and compile it if only this shows whether it is valid.

    Raises: ValueError with one sentence per fault, joined by '; '.
    """
    try:
        tree = _ENVIRONMENT.parse(text)
        with limited_steps():  # jinja2 evaluates constant expressions meanwhile
            names = sorted(_names(tree) - set(_ENVIRONMENT.globals))
        faults = [*_unknown_names(names), *_unknown_members(tree)]
        if any(True for _ in meta.find_referenced_templates(tree)):
            faults.append("the text of a rule cannot include other templates")
        wording, is_plain = Wording(text, tuple(names)), _is_plain(text, tree)
        if not is_plain:
            _ = wording.template
    except TemplateSyntaxError as exc:
        raise ValueError(f"not a template: {exc.message} (its line {exc.lineno})") from exc
    except (RecursionError, ValueError, OverflowError, MemoryError, SyntaxError) as exc:
        raise ValueError(f"not a template: {type(exc).__name__}") from exc
    if not faults and not is_plain:
        faults.extend(_excess(wording))
    if faults:
        raise ValueError("; ".join(faults))
    return wording


def word(wording: Wording, subject: Subject, **ours: Any) -> str:
    """Render a template for a record, and cut the text after _MAX_TEXT_CHARS. `ours` are the values of `_OURS`.

    Raises: TemplateError.
    """
    variables = {name: ours[name] if name in ours else variable(subject, name) for name in wording.names}
    return shorten(fill(wording.template, variables), _MAX_TEXT_CHARS)


def one_line(text: str) -> str:
    """Make a title: one line, cut after _MAX_TITLE_CHARS."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_TITLE_CHARS else f"{line[: _MAX_TITLE_CHARS - 1]}…"


def plain_title(rule: RuleName, record: Record) -> str:
    """Return the title to use if a template fails: the title of the rule with the user, the kind and the cluster."""
    cluster = record.cluster.name or record.cluster.id
    return one_line(f"{rule.title}: {sentence(record.user_name, record.action_kind, cluster, None)}")


def plain_body(record: Record) -> str:
    """Return one sentence with the user, the action, the cluster, the account and the description. Messages show the time."""
    cluster = record.cluster.name or record.cluster.id
    account = record.account.name or record.account.id
    what = sentence(record.user_name, record.action_kind, cluster, account)
    if not record.description:
        return f"{what}."
    description = _on_one_line(record.description)
    if len(description) > _MAX_DESCRIPTION_CHARS:
        description = f"{description[:_MAX_DESCRIPTION_CHARS]}…"
    return f"{what}: {description}"


def _excess(wording: Wording) -> list[str]:
    """Find what exceeds a limit of templates, by rendering a sample. Other errors can depend on the record."""
    try:
        word(wording, Subject(_SAMPLE), rule=_SAMPLE_RULE, level="high", group={"userName": "eve"}, count=2)
    except TemplateError as exc:
        return [fault.what for fault in exc.faults] if isinstance(exc.__cause__, TemplateLimitError) else []
    return []


def _is_plain(text: str, tree: nodes.Template) -> bool:
    """Return whether a short template only prints names and what `deed` makes of them: it compiles, within the limits."""
    return len(text) <= _MAX_TITLE_CHARS and all(
        each.name == "deed" if isinstance(each, nodes.Filter) else isinstance(each, _PLAIN)
        for each in tree.find_all(nodes.Node)
    )


def _names(tree: nodes.Template) -> set[str]:
    """Return the names that a template reads and does not set. jinja2 can find them all, but generates the code for it."""
    if all(isinstance(each, nodes.Output | nodes.If) for each in tree.find_all(nodes.Stmt)):  # others can set names
        return {each.name for each in tree.find_all(nodes.Name)}
    return meta.find_undeclared_variables(tree)


def _unknown_names(names: Sequence[str]) -> list[str]:
    """Find names that are no variables."""
    return [
        f"unknown variable '{name}': {suggest(name, [*VARIABLES, *_OURS], 'variables')}".removesuffix(": ")
        for name in names
        if name not in VARIABLES and name not in _OURS
    ]


def _unknown_members(tree: nodes.Template) -> list[str]:
    """Find misspelt attributes of objects with known attributes, such as `cluster.nmae`."""
    found = []
    for node in tree.find_all(nodes.Getattr):
        name = node.node.name if isinstance(node.node, nodes.Name) else ""
        known = _MEMBERS.get(name, (node.attr,))
        if node.attr not in known:
            what = f"'{name}' has no '{node.attr}'"
            found.append(f"{what}: {suggest(node.attr, known, 'it has')}".removesuffix(": "))
    return found


def _printed(value: Any) -> str:
    """Print a value: `unknown` for None, and no line ends, so that only the author of a rule begins a line of a message."""
    return "unknown" if value is None else _on_one_line(str(value))


def _on_one_line(text: str) -> str:
    return _LINE_END.sub(" ", text)


def _deed(kind: Any, name: Any = "") -> str:
    """Say what was done, and to which cluster or account, if the record names one."""
    return deed(_printed(kind), str(name) if name else "")


_ENVIRONMENT = SandboxedEnvironment(finalize=_printed, filters={"deed": _deed})
