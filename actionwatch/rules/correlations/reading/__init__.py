"""Reads the `correlation` block of a rule document, with a location for every error."""
