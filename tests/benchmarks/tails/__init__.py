"""The contestants of the tail's benchmark: `python -m tests.benchmarks.tails.NAME URL ORGANISATION …`, each its own process.

Each stores all that the listing holds in a folder, and prints what `report.measure` says.
"""
