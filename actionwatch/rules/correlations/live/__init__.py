"""Correlations while records arrive: hits in any order become changes of alerts."""
