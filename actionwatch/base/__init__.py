"""What every other package may use: the nouns, the errors, the ids, the clock, and durations."""
