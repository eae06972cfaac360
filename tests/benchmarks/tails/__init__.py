"""The contestants of the tail benchmark: `python -m tests.benchmarks.tails.NAME URL ORGANISATION …`, each in its own process.

Each stores the whole listing in a folder, and prints the result of `report.measure`.
"""
