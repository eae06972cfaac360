"""`init`: write a first configuration, the rules and deployment examples."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from actionwatch.base.plurals import counted
from actionwatch.cli.options import FOLDER
from actionwatch.cli.output import echo, spell

FIRST = "actionwatch.yaml"  # listed first, because it is the file to edit
OWN_FILES = Path(__file__).parent.parent / "_init"
_RULES, _EXAMPLES = Path("rules"), Path("rule-examples")


@click.command()
@click.argument("folder", metavar="[DIR]", type=FOLDER, default=Path())
def command(folder: Path) -> None:
    """Write a commented configuration, the shipped rules, and compose and systemd examples to DIR (default: this folder).

    Also writes the JSON Schemas of the configuration and the rules to `schemas`, for editors, and to `rule-examples` a
    commented example for each form of rule, to copy to `rules`.

    Never overwrites: existing files are kept.
    """
    counts: Counter[tuple[Path, bool]] = Counter()
    for content, name in _files():
        is_new = _write_new(content, folder / name)
        if name.parent in (_RULES, _EXAMPLES):
            counts[name.parent, is_new] += 1
        else:
            echo(f"{'wrote' if is_new else 'kept'}  {spell(folder / name)}{'' if is_new else ' (exists)'}")
    for (name, is_new), count in counts.items():
        echo(f"{'wrote ' if is_new else 'kept  '} {spell(folder / name)}/ ({counted(count, 'file')})")
    option = "" if folder == Path() else f" -c {spell(folder / FIRST)}"
    echo(
        "\nNext: set ACTIONWATCH_ORGANISATION_ID, ACTIONWATCH_USERNAME and ACTIONWATCH_API_KEY in the environment\n"
        f"(or write them into {spell(folder / FIRST)}), then `actionwatch{option} check` and `actionwatch{option} run`."
    )


def _files() -> Iterator[tuple[bytes, Path]]:
    """Return the content of each file to write, and its path in the new folder."""
    from actionwatch.rules.schema import FILE as RULE_SCHEMA
    from actionwatch.service import configuration
    from actionwatch.settings.schema import FILE as CONFIG_SCHEMA

    own = [path for path in OWN_FILES.iterdir() if path.is_file()]
    for path in sorted(own, key=lambda path: (path.name != FIRST, path.name)):
        yield path.read_bytes(), Path(path.name)
    for name, schema in ((CONFIG_SCHEMA, configuration.config_schema()), (RULE_SCHEMA, configuration.rule_schema())):
        yield json.dumps(schema, indent=2).encode(), Path("schemas") / name
    for path in sorted(path for path in configuration.shipped("rules").rglob("*") if path.suffix in (".yml", ".txt")):
        yield path.read_bytes(), _RULES / path.relative_to(configuration.shipped("rules"))
    for path in sorted((OWN_FILES / _EXAMPLES).iterdir()):
        yield path.read_bytes(), _EXAMPLES / path.name


def _write_new(content: bytes, target: Path) -> bool:
    """Write a file unless it exists. Return whether it was written. Raises: click.ClickException."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:  # x: never overwrite
            file.write(content)
    except FileExistsError as exc:
        if target.exists() or target.is_symlink():
            return False
        raise click.ClickException(f"cannot write {target}: {target.parent} is not a folder") from exc
    except OSError as exc:
        raise click.ClickException(f"cannot write {target}: {exc.strerror}") from exc
    return True
