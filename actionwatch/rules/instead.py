"""The remedies of refusals: one sentence for each thing that Sigma or other tools allow in rules, and actionwatch does not."""

from __future__ import annotations

_COUNT = "use 'event_count' or 'value_count': nothing else is measured"
INSTEAD = {
    **dict.fromkeys(("value_sum", "value_avg", "value_percentile", "value_median"), _COUNT),
    "rules": "name plain rules: a correlation counts records, not alerts",
    "group_by": "use 'group-by' of the correlation, and remove 'alert.group_by'",
}
