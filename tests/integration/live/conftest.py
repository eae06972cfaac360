"""Fixtures of the probe tests."""

from __future__ import annotations

from tests.fixtures import logs_left_alone as logs_left_alone
from tests.integration.notifiers.conftest import ca_file as ca_file
from tests.integration.notifiers.conftest import other_ca_file as other_ca_file
from tests.integration.notifiers.conftest import server_context as server_context
