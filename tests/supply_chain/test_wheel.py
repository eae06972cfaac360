"""The sdist and the wheel, built without an index from what the locks pin."""

from __future__ import annotations

import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.children import run_child
from tests.supply_chain.locks import ROOT

OFFLINE = ("--no-index", "--disable-pip-version-check")


def build(source: Path, into: Path, *kinds: str) -> None:
    """Run `python -m build` without isolation, which would ask an index for the backend."""
    ran = run_child([sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", str(into), str(source)])
    assert ran.returncode == 0, ran.stderr + ran.stdout


def content(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    return folder


def test_sdist_builds_the_same_wheel(dist: Path, tmp_path: Path) -> None:
    """The wheel that is built from the sdist has the same files as the one from the checkout, byte for byte."""
    build(ROOT, tmp_path, "--wheel")
    (from_sdist,), (from_checkout,) = dist.glob("*.whl"), tmp_path.glob("*.whl")
    assert content(from_sdist) == content(from_checkout)
    assert "actionwatch/_init/actionwatch.yaml" in content(from_sdist)
    assert any(name.startswith("actionwatch/_data/rules/") for name in content(from_sdist))


def test_sdist_has_what_its_checks_need(dist: Path) -> None:
    """The sdist has the tests, the documentation, the locks and the checks, and nothing that was built."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("pyproject.toml", "tests/docs.py", "docs/guide.md", "requirements/dev.txt", ".ci/run", "Dockerfile"):
        assert name in names, name
    assert not [name for name in names if "__pycache__" in name or name.endswith((".db", ".pyc"))]


def test_wheel_works_without_an_index(dist: Path, tmp_path: Path) -> None:
    """In a new environment without the checkout, the wheel installs offline, writes a configuration and checks it."""
    environment = tmp_path / "venv"
    assert run_child([sys.executable, "-m", "venv", "--without-pip", str(environment)]).returncode == 0
    python, (wheel,) = environment / "bin" / "python", dist.glob("*.whl")
    ran = run_child(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "-q",
            "--no-compile",
            "--no-deps",
            *OFFLINE,
            str(wheel),
        ]
    )
    assert ran.returncode == 0, ran.stderr
    found = run_child([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).stdout.strip()
    # The packages that the locks pin are those of this environment. Its own .pth files, which name the checkout, are not read.
    (Path(found) / "pinned.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = environment / "bin" / "actionwatch"
    variables = ("ORGANISATION_ID", "USERNAME", "API_KEY")
    for arguments in (("--version",), ("init", "."), ("check",), ("rules", "test", "rule-examples/burst.yml")):
        ran = run_child([command, *arguments], cwd=tmp_path, env={f"ACTIONWATCH_{name}": "x" for name in variables})
        assert ran.returncode == 0, (arguments, ran.stdout, ran.stderr)
    where = run_child([python, "-c", "import actionwatch; print(actionwatch.__file__)"], cwd=tmp_path).stdout
    assert where.startswith(str(environment))
