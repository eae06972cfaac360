"""Audit the pinned packages for known vulnerabilities: `python -m tests.supply_chain.audit`.

Exit status 1 and a table if a release has one. Where the database (OSV) cannot be reached, this reports that nothing was
audited, with exit status 0: the network decides that, not the change that is checked.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.children import run_child
from tests.supply_chain.locks import DEV, FOLDER

# A release with known vulnerabilities. A proxy that has no answer to any question makes every package look safe; only a
# database that knows this one can be trusted with the others.
KNOWN_VULNERABLE = "jinja2==3.1.2"


def audit(lock: Path, *options: str) -> int:
    """Audit a lock, print the result, and return the exit status. `options` are those of pip-audit."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known.txt"
        known.write_text(KNOWN_VULNERABLE)
        asked = _pip_audit(known, *options)
    if asked.returncode != 1 or "Fix Versions" not in asked.stdout:
        why = asked.stderr.splitlines()[-1] if asked.returncode else f"it knows no vulnerability of {KNOWN_VULNERABLE}"
        print(f"audit: skipped, because the database of vulnerabilities cannot be used from here: {why}")
        return 0
    ran = _pip_audit(lock, "--require-hashes", *options)
    print(f"audit of {lock.name}: {(ran.stderr + ran.stdout).strip()}")
    return ran.returncode


def _pip_audit(lock: Path, *options: str) -> subprocess.CompletedProcess[str]:
    how = ("--disable-pip", "--no-deps", "--strict", "--progress-spinner=off", "--vulnerability-service=osv")
    return run_child([sys.executable, "-m", "pip_audit", *how, "--requirement", lock, *options])


if __name__ == "__main__":
    sys.exit(audit(FOLDER / f"{DEV}.txt", *sys.argv[1:]))
