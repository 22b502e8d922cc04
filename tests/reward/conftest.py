"""Episodes made by hand: what was said, and nothing of how."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amend.types import Completion, Episode, Problem, Turn


@pytest.fixture
def episode() -> Callable[..., Episode]:
    """``episode(problem, "first reply", "second reply", ...)``."""

    def build(problem: Problem, *replies: str) -> Episode:
        turns = tuple(Turn((0,), Completion((1,), (-0.5,), reply, "end")) for reply in replies)
        return Episode(problem, 0, turns)

    return build
