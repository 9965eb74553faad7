"""Under CI nothing may be skipped: a test that did not run has not passed. Nor does one fail by chance."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# The same examples everywhere, however slow the machine; a test may have a seed of its own.
settings.register_profile(
    "steady", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
