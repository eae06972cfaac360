"""Write requirements/*.txt: `python -m tests.supply_chain.locks [--upgrade]`.

Each file pins every package, direct or not, with the hashes of all wheels of its release: for Python 3.11 and newer, on every
platform that has wheels. pip refuses any other file, and builds nothing. `--upgrade` moves the pins to the newest releases.
Without it, only what pyproject.toml requires differently changes.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.children import run_child

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"
DEV = "dev"

# pySigma requires these for downloads, plugins and pipelines that actionwatch does not use. The image does not contain them;
# a test imports everything without them. Apprise uses the last three.
NEVER_IMPORTED = ("diskcache", "diskcache-stubs", "jq", "packaging", "types-pyyaml")
ONLY_FOR_APPRISE = ("charset-normalizer", "requests", "urllib3")

UV = (
    *(
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
    ),
    *("--only-binary", ":all:", "--emit-build-options"),  # a source release would run a build backend that has no hash
    *("--no-emit-index-url", "--no-emit-find-links", "--annotation-style", "line"),
    *("--custom-compile-command", "python -m tests.supply_chain.locks"),
)


def write(options: Sequence[str]) -> None:
    """Write every lock. The first one contains all packages, and decides the versions in the others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    backend = "\n".join(project["build-system"]["requires"])
    _compile(DEV, ["pyproject.toml", "-", "--extra", DEV, *options], backend)
    as_dev = ["--constraint", f"requirements/{DEV}.txt", "--upgrade"]
    _compile("build", ["-", *as_dev], backend)
    _compile("runtime", ["pyproject.toml", *as_dev, *_without(*NEVER_IMPORTED, *ONLY_FOR_APPRISE)])
    for extra in ("postgres", "streams"):
        unused = _without(*NEVER_IMPORTED, *ONLY_FOR_APPRISE)
        _compile(extra, ["pyproject.toml", "--extra", extra, *as_dev, *unused])
    _compile("apprise", ["pyproject.toml", "--extra", "apprise", *as_dev, *_without(*NEVER_IMPORTED)])


def _without(*packages: str) -> list[str]:
    return [f"--no-emit-package={package}" for package in packages]


def _compile(lock: str, arguments: Sequence[str], given: str = "") -> None:
    ran = run_child([*UV, *arguments, "--output-file", f"requirements/{lock}.txt"], given, cwd=ROOT)
    if ran.returncode:
        sys.exit(ran.stderr)


if __name__ == "__main__":
    write(sys.argv[1:])
    print(f"wrote {FOLDER}")
