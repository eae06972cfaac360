"""Write the software bill of materials of the image, in CycloneDX format: `python -m tests.supply_chain.sbom FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.children import run_child
from tests.supply_chain.locks import FOLDER, ROOT


def write(file: Path) -> None:
    """List each package of the image with the hashes that pip accepts. The same locks give the same file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tool: list[str | Path] = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "cyclonedx_py",
        "requirements",
        FOLDER / "runtime.txt",
    ]
    ran = run_child([*tool, "--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--output-file", file])
    if ran.returncode:
        sys.exit(ran.stderr)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
    print(f"wrote {sys.argv[1]}")
