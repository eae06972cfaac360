"""The check of the image passes, and says so, where the image cannot be checked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.children import run_child
from tests.image.engine import ROOT


def test_machine_without_an_engine_is_reported(tmp_path: Path) -> None:
    """Without docker and podman, and nothing to install them with, the exit status is 0 and the output names the reason."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"PATH": str(tmp_path)}
    ran = run_child([sys.executable, "-m", "tests.image"], cwd=ROOT, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "image: skipped, because neither docker nor podman works here\n"
