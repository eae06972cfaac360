"""The folds: they turn the ordered hits of one group into its alerts. Pure."""
