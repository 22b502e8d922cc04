"""An interval ends where its figure does."""

from __future__ import annotations

import math

import pytest

from amend.results.analysis.metric_registry import clip_interval, metric_range
from amend.results.stats.intervals import Interval


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("acc_t1", (0.0, 1.0)),
        ("base.delta", (-1.0, 1.0)),
        ("gain", (-1.0, 1.0)),
        ("generated.unique", (0.0, math.inf)),
        ("tokens", (0.0, math.inf)),
    ],
)
def test_what_a_figure_can_be(name: str, ends: tuple[float, float]) -> None:
    assert metric_range(name) == ends


def test_cut_at_both_ends_or_left_alone() -> None:
    assert clip_interval(Interval(0.5, -0.1, 1.2), 0.0, 1.0) == Interval(0.5, 0.0, 1.0)
    assert clip_interval(Interval(0.5, 0.4, 0.6), 0.0, 1.0) == Interval(0.5, 0.4, 0.6)
