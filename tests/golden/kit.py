"""Compare an answer with its file, or write the file when asked to."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent


def is_rewriting() -> bool:
    """Whether this run writes the files instead of comparing them: `GOLDEN=write`."""
    return os.environ.get("GOLDEN") == "write"
