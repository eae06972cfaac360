"""The folds: the hits of one group, in order, give its alerts. Pure."""
