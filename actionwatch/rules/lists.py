"""The lists that `expand` inserts into a rule: `lists/<name>.yml`, `.txt` or `.csv`.

They are in the configured folder, or in the folder `lists` of a folder of rules, so that rules can come with their lists.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.text.yaml_document import Document, read_bounded, read_file

_SUFFIXES = (".yml", ".yaml", ".txt", ".csv")
FOLDER = "lists"


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists by name. `broken` names the lists whose file has faults, which are reported once."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    faults: tuple[Fault, ...] = ()


def list_folders(configured: Path | None, rules: Sequence[Path]) -> dict[Path, Path]:
    """Return the folders of lists in order of precedence: the configured folder, then those of the rules.

    Each has the folder that its files must not leave by a link: a folder of rules contains its lists.
    """
    folders = {} if configured is None else {configured: configured}
    for path in rules:
        parent = path if path.is_dir() else path.parent
        folders.setdefault(parent / FOLDER, parent)
    return folders


def read_lists(folders: Mapping[Path, Path]) -> Lists:
    """Read every list of the folders of `list_folders`. Collect faults instead of raising them. Ignore other files.

    If several folders have a list with the same name, the first one counts: an operator can replace a list of the rules.
    """
    values: dict[str, tuple[str, ...]] = {}
    faults: list[Fault] = []
    broken: set[str] = set()
    unique: dict[Path, Path] = {}
    for folder in folders:
        unique.setdefault(folder.resolve(), folder)
    for folder in unique.values():
        earlier = values.keys() | broken
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix not in _SUFFIXES or path.stem in earlier or path.is_dir():
                continue
            try:
                if path.stem in values or path.stem in broken:
                    what = f"a second list named '{path.stem}'"
                    raise ConfigError(Fault(str(path), 0, 0, what, "rename one of the files"))
                values[path.stem] = _read(path, folders[folder])
            except ConfigError as exc:
                faults.extend(exc.faults)
                broken.add(path.stem)
                values.pop(path.stem, None)
    return Lists(values, frozenset(broken), tuple(faults))


def lists_of(value: Any, lists: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the lists that a document names by `%name%` or `list: name`. An additional list does no harm."""
    texts, names = set[str](), set[str]()
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
            if isinstance(item.get("list"), str):
                names.add(item["list"])
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str) and "%" in item:
            texts.add(item)
    return {name: lists[name] for name in sorted(lists) if name in names or any(f"%{name}%" in text for text in texts)}


def _read(path: Path, folder: Path) -> tuple[str, ...]:
    if path.suffix in (".yml", ".yaml"):
        return _read_yaml(read_file(path, folder))
    lines = [line.strip() for line in read_bounded(path, folder).splitlines()]
    kept = [line for line in lines if line and not line.startswith("#")]
    if path.suffix == ".txt":
        return tuple(kept)
    try:
        return tuple(row[0].strip() for row in csv.reader(kept) if row and row[0].strip())
    except csv.Error as exc:
        raise ConfigError(Fault(str(path), 0, 0, f"not CSV: {exc}")) from exc


def _read_yaml(documents: Sequence[Document]) -> tuple[str, ...]:
    if not documents:
        return ()
    document = documents[0]
    if len(documents) > 1 or not isinstance(document.value, list):
        raise ConfigError(document.fault((), "a list file contains one YAML list", "write one '- value' per line"))
    faults = [
        document.fault((index,), "an item of a list must be a string or a number")
        for index, item in enumerate(document.value)
        if isinstance(item, bool) or not isinstance(item, str | int | float)
    ]
    if faults:
        raise ConfigError(*faults)
    return tuple(str(item) for item in document.value)
