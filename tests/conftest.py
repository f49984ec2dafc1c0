"""What several processes of pytest share the tests by: see `make test-all`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks in this same hook
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Keep a file's tests in one process, in order, and all tests of the example models' server."""
    for item in items:
        assert isinstance(item, pytest.Function)
        group = "examples" if "examples" in item.fixturenames else item.location[0]
        item.add_marker(pytest.mark.xdist_group(group))
