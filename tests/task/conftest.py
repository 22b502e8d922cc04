"""Where the real data lies, and one grader for all tests that need its worker processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from amend.task.grading.math_grader import MathGrader


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data: $AMEND_DATA, or shared/data beside the repository. Skips where there is none."""
    folder = Path(os.environ.get("AMEND_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (folder / "math_train.jsonl").is_file():
        pytest.skip(f"no real data in {folder}; enable with: AMEND_DATA=FOLDER make test (math_train.jsonl, ...)")
    return folder


@pytest.fixture(scope="session")
def grader() -> Iterator[MathGrader]:
    """A grader with a short limit."""
    grader = MathGrader(seconds=2.0)
    yield grader
    grader.close()


@pytest.fixture(scope="session")
def bubblewrap() -> None:
    """Skips where programs cannot be walled in."""
    if shutil.which("bwrap") is None:
        pytest.skip("no bubblewrap; enable with: apt-get install bubblewrap")
