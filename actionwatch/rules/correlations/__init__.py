"""Correlation: what a rule can say about several records together. `rules/correlate.py` runs what is read and folded here."""
