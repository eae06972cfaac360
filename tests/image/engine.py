"""docker or podman, whichever works here, with a base image that it can start."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.children import run_child

ROOT = Path(__file__).parents[2]
PACKAGES = ("podman", "runc", "mmdebstrap")  # of Debian; runc, because crun refuses the cgroups of some machines
BOOTSTRAPPED = "localhost/actionwatch-test-base"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
SLOW = 900.0  # seconds: pulls, builds and installations on a busy machine; only a guard against a hang
LOCKED_DOWN = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host")

# The first container: it shows that the engine, the base image and the way from a container to a package index work.
PROBE = "python3 -m venv /tmp/v && /tmp/v/bin/pip download --quiet --no-deps --dest /tmp click"


class Skipped(Exception):
    """The image cannot be checked here."""


@dataclass(frozen=True)
class Engine:
    """An engine, and what it needs on this machine."""

    command: tuple[str, ...]
    build_options: tuple[str, ...] = ()
    run_options: tuple[str, ...] = ()
    base: str = ""

    def call(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the engine to its end."""
        return run_child([*self.command, *arguments], limit=SLOW)

    def run(self, image: str, *options: str, command: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command in a new container, and remove the container."""
        return self.call("run", "--rm", *self.run_options, *options, image, *command)

    def build(self, tag: str) -> subprocess.CompletedProcess[str]:
        """Build the image of this checkout on the base image."""
        named = ("--tag", tag, "--build-arg", f"BASE_IMAGE={self.base}")
        return self.call("build", "--network=host", *self.build_options, *named, ROOT)


def working_engine(folder: Path) -> Engine:
    """Find an engine, with its images in a folder where it can, and a base image. Raises: `Skipped` without one."""
    engine = _docker() or _podman(folder)
    engine = replace(engine, base=_pulled(engine) or _bootstrapped(engine, folder))
    probe = engine.run(engine.base, "--network=host", command=("sh", "-c", PROBE))
    if probe.returncode:
        raise Skipped(f"a container cannot download a package: {_last_line(probe)}")
    return engine


def _docker() -> Engine | None:
    works = shutil.which("docker") and run_child(["docker", "info"]).returncode == 0
    return Engine(("docker",)) if works else None


def _podman(folder: Path) -> Engine:
    """Podman as a container of a CI system can use it: without systemd, and with the limits that this process has."""
    if os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
    if not shutil.which("podman"):
        raise Skipped("neither docker nor podman works here")
    limits = [
        f"--ulimit={name}={soft}:{hard}"
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
        for soft, hard in [resource.getrlimit(number)]
    ]
    own = ("--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--cgroup-manager=cgroupfs")
    runtime = ("--runtime=runc",) if shutil.which("runc") else ()
    builds = ("--format=docker", "--isolation=chroot", "--layers=false")  # other formats have no health check
    return Engine(("podman", *own, *runtime), (*builds, *limits), tuple(limits))


def _install() -> None:
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        ran = run_child(["apt-get", "--quiet=2", *arguments], limit=SLOW)
    if ran.returncode:
        print(f"image: podman cannot be installed: {_last_line(ran)}")


def _pulled(engine: Engine) -> str | None:
    """Return the base image of the Dockerfile, if its registry can be reached."""
    found = re.search(r"^ARG BASE_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found
    return found[1] if engine.call("pull", "--quiet", found[1]).returncode == 0 else None


def _bootstrapped(engine: Engine, folder: Path) -> str:
    """Make a base image of this machine's Debian, with its certificates: a base that has `python3`, but no `python`."""
    tar = folder / "base.tar"
    if not shutil.which("mmdebstrap"):
        raise Skipped("the registry of the base image cannot be reached, and mmdebstrap is not installed")
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    sources = [path for path in Path("/etc/apt").rglob("*") if path.suffix in (".list", ".sources")]
    what = ("--quiet", "--variant=minbase", "--include=python3,python3-venv,ca-certificates")
    unsafe = "--dpkgopt=force-unsafe-io"  # nobody needs the files after a power cut
    certificates = f"--customize-hook=copy-in {CERTIFICATES} /etc/ssl/certs"
    made = run_child(
        ["mmdebstrap", *what, unsafe, certificates, release["VERSION_CODENAME"], tar, *sources], limit=SLOW
    )
    if made.returncode or (made := engine.call("import", tar, BOOTSTRAPPED)).returncode:
        raise Skipped(f"no base image can be made: {_last_line(made)}")
    return BOOTSTRAPPED


def _last_line(ran: subprocess.CompletedProcess[str]) -> str:
    return (ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"])[-1]
