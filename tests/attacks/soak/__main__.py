"""One kind of attack: `python -m tests.attacks.soak KIND SEED COUNT`."""

from __future__ import annotations

import importlib
import sys

from tests.attacks.soak import case

if __name__ == "__main__":
    kind, first, count = sys.argv[1:]
    with importlib.import_module(f"tests.attacks.soak.{kind}").attack() as attack:
        case.run(attack, int(first), int(count))
