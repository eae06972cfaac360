"""Complete values in a shell: kinds, and the names in the configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from actionwatch.base.errors import ActionwatchError
from actionwatch.base.plurals import counted
from actionwatch.cli.context import read_settings
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.text.escaping import one_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


_Values = Iterable[tuple[str, str]]
"""Each value, and what a shell shows next to it."""
_Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def _completer(find: Callable[[str], _Values], *, are_files: bool = False) -> _Completer:
    """Make what click calls for a value, from what finds all values by the configuration. With `are_files`, add the files."""

    def complete(context: click.Context, _: click.Parameter, beginning: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        try:
            found = list(find(context.obj))
        except (ActionwatchError, OSError):
            found = []  # a message would garble the line that is being typed
        items = [
            CompletionItem(value, help=one_line(about))
            for value, about in found
            if value.startswith(beginning) and value == one_line(value)
        ]
        return [*items, CompletionItem(beginning, type="file")] if are_files else items

    return complete


def _sources(config: str) -> _Values:
    return ((source.name, source.organisation_id) for source in read_settings(config).sources)


def _source_labels(config: str) -> _Values:
    counts = Counter(
        f"{name}={value}" for source in read_settings(config).sources for name, value in source.labels.items()
    )
    return ((label, counted(count, "source")) for label, count in sorted(counts.items()))


def _receivers(config: str) -> _Values:
    return ((receiver.name, receiver.type) for receiver in read_settings(config).receivers)


def _streams(config: str) -> _Values:
    return ((stream.name, stream.type) for stream in read_settings(config).streams)


def _rules(config: str) -> _Values:
    """Find the names of rules without compiling these: a key press must not take a second."""
    from actionwatch.rules.document import name_of
    from actionwatch.rules.load import read_documents

    for document in read_documents(read_settings(config).rules).documents:
        title = document.value.get("title") if isinstance(document.value, dict) else None
        if title:
            yield str(name_of(document.value, str(title))), str(title)


kinds = _completer(lambda _: ((name, kind.area) for name, kind in KINDS.items()))
sources = _completer(_sources)
source_labels = _completer(_source_labels)
receivers = _completer(_receivers)
streams = _completer(_streams)
files = _completer(lambda _: (), are_files=True)
rules = _completer(_rules)
rules_and_files = _completer(_rules, are_files=True)
