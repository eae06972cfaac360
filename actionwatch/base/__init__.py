"""The types, errors, ids, clock and durations that every package uses."""
