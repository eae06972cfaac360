"""Seeded attacks, each with limits of CPU and memory: `pytest tests/attacks/soak --soak 5000`, `--soak-from SEED` replays one.

Each kind of attack runs in a separate process, `python -m tests.attacks.soak KIND SEED COUNT`, so that the kernel ends a case
that hangs or fills the memory, and the seed of the case is known.
"""
