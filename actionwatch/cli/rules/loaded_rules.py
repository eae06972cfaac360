"""Load the rules that a command works on: those of the configuration, or of files and folders on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from actionwatch.base.errors import ConfigError
from actionwatch.cli.context import read_settings
from actionwatch.cli.output import echo
from actionwatch.service.rule_context import LoadedRules, RuleContext

if TYPE_CHECKING:
    from actionwatch.settings import Settings
    from actionwatch.text.yaml_document import Document


def load(config: str, paths: Sequence[Path], *, borrowed: bool = False, joined: bool = False) -> LoadedRules:
    """Load the rules of the configuration, or those at `paths`.

    Rule authors may have no configuration: with paths, an unusable one is ignored. With `borrowed`, lists from the tests of
    the rules replace missing lists of the operator. With `joined`, the rules of the configuration come after those at
    `paths`, which replace rules of the same name or id.

    Raises: ConfigError, if no paths are given and the configuration is unusable.
    """
    from actionwatch.rules.lists import Lists
    from actionwatch.rules.load import read_documents, with_unread

    context = read_context(config, paths, joined=joined)
    read = read_documents(context.paths)
    if borrowed:
        lists = context.lists
        lists = Lists({**_borrowed_lists(read.documents), **lists.values}, lists.broken, lists.faults)
        context = replace(context, lists=lists)
    found = with_unread(context.build(read.documents), read, context.lists)
    return LoadedRules(found, read.documents, context)


def read_context(config: str, paths: Sequence[Path], *, joined: bool = False) -> RuleContext:
    """Read what the rules at `paths` refer to: from the configuration, or else the defaults of `init`."""
    from actionwatch.rules.lists import list_folders, read_lists
    from actionwatch.service import configuration

    settings = _settings(config, is_needed=joined or not paths)
    kinds = configuration.known_kinds(settings) if settings else configuration.documented_kinds()
    intervals = configuration.time_intervals(settings) if settings else {}
    if paths and not intervals:
        intervals = configuration.usual_intervals()
    configured = settings.rules if settings else ()
    wanted = [*paths, *configured] if joined else paths or configured
    lists = read_lists(list_folders(_lists_folder(settings, paths), wanted))
    return RuleContext(wanted, lists, kinds, intervals, settings)


def _settings(config: str, *, is_needed: bool) -> Settings | None:
    if not is_needed and not Path(config).exists():
        return None
    try:
        return read_settings(config)
    except ConfigError as exc:
        if is_needed:
            raise
        echo(f"{exc.faults[0]} (continuing without the configuration)", err=True)
        return None


def _lists_folder(settings: Settings | None, paths: Sequence[Path]) -> Path | None:
    """Return the folder of the operator's lists: the configured one, or else a folder `lists` next to the given paths."""
    if settings is not None:
        return settings.lists
    return next((path.parent / "lists" for path in paths if (path.parent / "lists").is_dir()), None)


def _borrowed_lists(documents: Sequence[Document]) -> dict[str, tuple[str, ...]]:
    borrowed: dict[str, tuple[str, ...]] = {}
    for document in documents:
        tests = document.value.get("tests") if isinstance(document.value, dict) else None
        for case in tests if isinstance(tests, list) else []:
            lists = case.get("lists") if isinstance(case, dict) else None
            for name, items in lists.items() if isinstance(lists, dict) else ():
                if isinstance(items, list) and items:
                    borrowed.setdefault(str(name), tuple(str(item) for item in items))
    return borrowed
