"""Run the shell blocks of a page, literally and in order, in one shell in an empty folder.

The information string of a block says what it is: `sh` runs; `console` and `text` are examples of output. A comment before a
block says what it needs if it cannot run here.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import warm_client
from tests.children import Process, child
from tests.end_to_end import kit
from tests.forked import warm_channel
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
PAGES = {page.relative_to(ROOT).as_posix(): page for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))}
KINDS = {"sh", "console", "text", "yaml", "json", "python", "mermaid", "cron"}
BLOCK = re.compile(
    r"(?:<!-- not run by the tests: needs (?P<need>[^>]+) -->\n)?^```(?P<kind>.*)\n(?P<text>(?:.*\n)*?)```$",
    re.MULTILINE,
)
FOLLOWED = "block {} was followed"
# `actionwatch run` is what a reader starts in a second terminal: here it runs in the background. Other commands start warm.
# There is no systemd here: a reload is the signal that the unit sends.
SHELL = """\
set -euo pipefail
actionwatch() {
  if [ "$*" != run ]; then "$PYTHON" -I -S "$CLIENT" "$CHANNEL" "$@"; return; fi
  command actionwatch run > service.log 2>&1 &
  service=$!
  until grep -q service_started service.log; do kill -0 $service || { cat service.log; exit 1; }; sleep 0.1; done
}
systemctl() {
  [ "$*" = "reload actionwatch" ]
  if [ -n "${service:-}" ]; then kill -HUP "$service"; fi
}
"""


@dataclass(frozen=True)
class Block:
    """A block of a page, and what it needs that the tests do not have (empty: nothing)."""

    page: str
    kind: str
    need: str
    text: str


def blocks() -> list[Block]:
    """Return the blocks of all pages, in order."""
    return [
        Block(name, found["kind"], found["need"] or "", found["text"])
        for name, page in sorted(PAGES.items())
        for found in BLOCK.finditer(page.read_text())
    ]


def shell_blocks(page: str) -> list[str]:
    """Return the shell blocks of a page that run here."""
    return [block.text for block in blocks() if (block.page, block.kind, block.need) == (page, "sh", "")]


@contextmanager
def followed(
    page: str, folder: Path, environment: Mapping[str, str], before: Sequence[str] = (), given: str = ""
) -> Iterator[None]:
    """Follow a page to its end. What it started runs until the end of the block.

    `before` are shell lines that do, before each block, what the page says in words. `given` is what a reader types.
    """
    texts = shell_blocks(page)
    edits = [*before, *[""] * (len(texts) - len(before))]
    ends = [FOLLOWED.format(number) for number in range(len(texts))]
    steps = [f"{edit}\n{text}\necho '{end}'\n" for edit, text, end in zip(edits, texts, ends, strict=True)]
    script, printed = folder / "page.sh", folder / "page.out"
    script.write_text(f"{SHELL}{''.join(steps)}sleep infinity\n")
    typed = folder / "typed"
    typed.write_text(given)
    channel = warm_channel().fileno()
    shell = {
        "PATH": f"{kit.COMMAND.parent}:{kit.environment()['PATH']}",
        "PYTHON": sys.executable,
        "CLIENT": warm_client.__file__,
        "CHANNEL": str(channel),
    }
    with (
        printed.open("w") as out,
        typed.open() as keys,
        child(
            ["bash", "-x", script.name],
            cwd=folder,
            env={**kit.environment(**environment), **shell},
            pass_fds=[channel],
            stdin=keys,
            stdout=out,
            stderr=out,
        ) as process,
    ):
        for end in ends:
            wait_until(functools.partial(_is_over, process, printed, end), end, printed.read_text)
            assert process.poll() is None, printed.read_text()
        yield


def _is_over(process: Process, printed: Path, end: str) -> bool:
    return f"\n{end}\n" in printed.read_text() or process.poll() is not None
