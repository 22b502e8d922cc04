"""IQM by hand, by scipy and as rliable has it; probability of improvement against every pair; coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import trim_mean

from amend.results.stats.aggregate import iqm, performance_profile, probability_of_improvement, stratified_bootstrap


def test_iqm_by_hand():
    assert iqm(np.array([[0.0, 1.0, 2.0, 100.0]])) == 1.5  # the lowest and the highest of four are cut off
    scores = np.arange(12.0).reshape(3, 4)
    assert iqm(scores) == np.arange(3.0, 9.0).mean() == trim_mean(scores, 0.25, axis=None)


@given(arrays(float, (3, 4), elements=st.sampled_from([0.0, 0.5, 1.0])))
@settings(max_examples=30, deadline=None)
def test_probability_of_improvement_against_every_pair(scores):
    ours, theirs = scores[:2], scores[2:]
    pairs = [(a[m] > b[m]) + 0.5 * (a[m] == b[m]) for a in ours for b in theirs for m in range(4)]
    assert probability_of_improvement(ours, theirs) == pytest.approx(np.mean(pairs))
    assert probability_of_improvement(theirs, ours) == pytest.approx(1 - np.mean(pairs))


def test_values_recorded_from_rliable():
    """What rliable 1.2.0 computes from two tables of five runs on four tasks, some of them ties."""
    ours = (np.arange(20) * 7 % 20).reshape(5, 4) + 2.0 * np.arange(4)
    theirs = (np.arange(20) * 3 % 17).reshape(5, 4) + 4.0
    assert (iqm(ours), iqm(theirs)) == pytest.approx((12.5, 10.9), abs=1e-12)
    assert probability_of_improvement(ours, theirs) == pytest.approx(0.565, abs=1e-12)
    assert performance_profile(ours, np.array([5.0, 10.0, 15.0])).tolist() == [0.85, 0.6, 0.35]


def test_profile_falls_from_all_to_none():
    scores = np.array([[0.2, 0.4], [0.6, 0.8]])
    assert performance_profile(scores, np.array([-1.0, 0.2, 0.5, 0.8])).tolist() == [1.0, 0.75, 0.5, 0.0]


def test_the_bootstrap_keeps_tasks_apart():
    """Tasks that differ and runs that do not: nothing is resampled but runs, so the interval has no width."""
    scores = np.tile(np.array([0.1, 0.5, 0.9, 0.3]), (5, 1))
    interval = stratified_bootstrap(iqm, scores, generator=np.random.default_rng(0), resamples=50)
    assert interval.low == interval.high == interval.mean == pytest.approx(0.4)
    with pytest.raises(ValueError, match="at least two"):
        stratified_bootstrap(iqm, scores[:1], generator=np.random.default_rng(0))


def test_coverage_of_iqm_over_ten_runs():
    rng = np.random.default_rng(1)
    level = np.array([0.2, 0.4, 0.5, 0.7])
    truth = iqm(level + rng.normal(0, 0.05, (200_000, 4)))
    held = []
    for _ in range(120):
        scores = level + rng.normal(0, 0.05, (10, 4))
        interval = stratified_bootstrap(iqm, scores, generator=rng, resamples=200)
        held.append(interval.low <= truth <= interval.high)
    assert 0.85 <= np.mean(held) <= 1.0
