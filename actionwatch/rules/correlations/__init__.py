"""Correlation: what a rule can state about several records together."""
