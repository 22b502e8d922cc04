"""What the report's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_run import write


@pytest.fixture
def write_run() -> Callable[..., Path]:
    """A made-up finished run."""
    return write
