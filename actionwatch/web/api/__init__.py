"""The JSON API under `/api/v1`: the same reading and the same actions as the console."""
