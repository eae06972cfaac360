"""The pictures of README.md and docs/: `python -m tests.pictures` writes them again from real output."""
