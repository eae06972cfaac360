"""The labels of the sources that this process reads: of their alerts, and fields of rules. `App` and the commands set them.

They belong to the configuration, and not to records: a changed label applies at once, also to what the rules read again.
"""

from __future__ import annotations

from collections.abc import Mapping

from actionwatch.base.model import Record

_labels: Mapping[str, Mapping[str, str]] = {}


def use_labels(labels: Mapping[str, Mapping[str, str]]) -> None:
    """Use these labels, by the name of the source, from now on and in all threads."""
    global _labels  # one process has one configuration; the clock is set in the same way
    _labels = labels


def labels_in_use() -> Mapping[str, Mapping[str, str]]:
    """Return the labels of all sources: another object after they have changed."""
    return _labels


def labels_of(source: str) -> Mapping[str, str]:
    """Return the labels of a source; empty if it has none, or is not configured."""
    return _labels.get(source, {})


def labels_of_record(record: Record) -> Mapping[str, str]:
    """Return the labels of the source of a record: in the test of a rule, those that the test gives."""
    return labels_of(record.source) if record.labels is None else record.labels


def is_configured(source: str) -> bool:
    """Return whether this process reads a source with this name."""
    return source in _labels
