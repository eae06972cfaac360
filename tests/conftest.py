"""The settings of property tests: the same examples in every run, and no deadline.

`pytest --hypothesis-profile explore` searches for new examples.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]

settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=SLOW)
settings.register_profile("explore", deadline=None, suppress_health_check=SLOW, print_blob=True)
settings.load_profile("suite")
