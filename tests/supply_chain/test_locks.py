"""The locks in requirements/: complete, hashed, consistent, and without the address of an index."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cases import in_one_test
from tests.supply_chain import sbom
from tests.supply_chain.locks import DEV, FOLDER, NEVER_IMPORTED, ONLY_FOR_APPRISE, ROOT

LOCKS = ("apprise", "build", DEV, "postgres", "runtime", "streams")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CORE: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
BACKEND: list[str] = PROJECT["build-system"]["requires"]


@dataclass(frozen=True)
class Pin:
    """One package of a lock."""

    version: str
    hashes: frozenset[str]


def pins(lock: str) -> dict[str, Pin]:
    """Read the pins of a lock for this machine. Fail if it contains anything but pins and their hashes."""
    text = re.sub(r"#.*", "", (FOLDER / f"{lock}.txt").read_text()).replace("\\\n", " ")
    first, *lines = [line for line in text.splitlines() if line.strip()]
    assert first == "--only-binary :all:"
    found = {}
    for line in lines:
        pinned, *hashes = re.split(r"\s+--hash=", line.rstrip())
        requirement = Requirement(pinned)
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert hashes, pinned
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes)
        if requirement.marker is None or requirement.marker.evaluate():
            found[requirement.name] = Pin(specifier.version, frozenset(hashes))
    return found


def closure(requirements: list[str]) -> set[str]:
    """Return the names of everything that requirements need on this machine, from what is installed."""
    waiting: list[tuple[Requirement, tuple[str, ...]]] = [(Requirement(text), ("",)) for text in requirements]
    found: set[str] = set()
    while waiting:
        requirement, extras = waiting.pop()
        name, marker = canonicalize_name(requirement.name), requirement.marker
        if name in found or (marker and not any(marker.evaluate({"extra": extra}) for extra in extras)):
            continue
        found.add(name)
        try:
            waiting += [(Requirement(text), ("", *requirement.extras)) for text in requires(name) or []]
        except PackageNotFoundError:
            pytest.fail(f"{name} is required but not installed: install requirements/{DEV}.txt again")
    return found


@in_one_test("lock", LOCKS)
def test_lock_has_only_pins_with_hashes(lock: str) -> None:
    """Each package has one version and the hashes of its files, and no line names an index or a folder."""
    assert pins(lock)
    text = (FOLDER / f"{lock}.txt").read_text()
    assert "://" not in text
    assert "index" not in text
    assert not re.search(r"(^|\s)/\w", text)


@in_one_test(
    ("lock", "requirements"),
    [
        ("runtime", CORE),
        ("apprise", CORE + EXTRAS["apprise"]),
        ("postgres", CORE + EXTRAS["postgres"]),
        ("streams", CORE + EXTRAS["streams"]),
        ("build", BACKEND),
        (DEV, CORE + [each for extra in EXTRAS.values() for each in extra] + BACKEND),
    ],
)
def test_lock_satisfies_the_project(lock: str, requirements: list[str]) -> None:
    """A changed requirement in pyproject.toml without new locks is an error."""
    found = pins(lock)
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(found[canonicalize_name(requirement.name)].version), requirement


@in_one_test("lock", ["apprise", "build", "postgres", "runtime", "streams"])
def test_locks_agree(lock: str) -> None:
    """What is tested is what is installed: same versions, same files."""
    assert pins(lock).items() <= pins(DEV).items()


def test_image_contains_what_is_needed_and_no_more() -> None:
    """The locks of the image have everything that the project requires, except what nothing imports."""
    assert set(pins("runtime")) == closure(CORE) - {*NEVER_IMPORTED, *ONLY_FOR_APPRISE}
    for extra in ("postgres", "streams"):
        assert set(pins(extra)) == closure(CORE + EXTRAS[extra]) - {*NEVER_IMPORTED, *ONLY_FOR_APPRISE}
    assert set(pins("apprise")) == closure(CORE + EXTRAS["apprise"]) - {*NEVER_IMPORTED}
    assert set(pins("build")) == closure(BACKEND)


def test_bill_of_materials_lists_the_image(tmp_path: Path) -> None:
    """The CycloneDX file has each package of the image with its version and hashes, and nothing that differs between runs."""
    file = tmp_path / "dist" / "sbom.json"
    sbom.write(file)
    bill = json.loads(file.read_text())
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "actionwatch"
    listed = {}
    for part in bill["components"]:
        hashes = part["externalReferences"][0]["hashes"]
        listed[part["name"]] = Pin(part["version"], frozenset(f"sha256:{each['content']}" for each in hashes))
    assert listed == pins("runtime")


def test_base_image_is_one_build_and_no_frontend_is_downloaded() -> None:
    """The base image has a digest, which a build argument can replace, and nothing else comes from a registry."""
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE_IMAGE=\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE_IMAGE}"}
    assert "syntax=" not in text
    installs = [line for line in text.splitlines() if " install " in line]
    assert installs
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
