"""Intervals: Wilson's against scipy's, and that 95 % intervals hold the truth about 95 times in 100."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from reference_statistics import crossed_bootstrap, hierarchical_bootstrap, paired_crossed_bootstrap
from scipy.stats import binomtest

from amend.results.stats import intervals
from amend.results.stats.intervals import (
    bootstrap,
    paired_bootstrap,
    wilson,
)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None)
def test_wilson_is_scipys(case):
    successes, n = case
    theirs = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    ours = wilson(successes, n)
    assert ours.mean == successes / n
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= ours.low <= ours.mean <= ours.high <= 1


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_what_is_no_share(successes, n):
    with pytest.raises(ValueError, match=f"{successes} successes of {n}"):
        wilson(successes, n)


def test_bootstrap_resamples_problems():
    """The multinomial shortcut has the distribution of drawing problems one by one."""
    values = np.random.default_rng(0).choice([-1.0, 0.0, 0.25, 1.0], size=80)
    plain = np.random.default_rng(1).choice(values, size=(20_000, 80)).mean(axis=1)
    ours = bootstrap(values, np.random.default_rng(2), resamples=20_000)
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=0.015)


def test_problems_drawn_and_values_counted_are_one_distribution(monkeypatch):
    """Every problem has a value of its own, so problems are drawn; counting instead gives the same ends."""
    values = np.random.default_rng(0).normal(size=300)
    drawn = bootstrap(values, np.random.default_rng(1), resamples=100_000)
    monkeypatch.setattr(intervals, "_DRAWS", 0)
    counted = bootstrap(values, np.random.default_rng(1), resamples=100_000)
    assert drawn != counted
    np.testing.assert_allclose(drawn, counted, atol=0.03 * values.std() / np.sqrt(300))


def test_the_generator_decides():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap(values, np.random.default_rng(5)) == bootstrap(values, np.random.default_rng(5))
    assert bootstrap(values, np.random.default_rng(5)) != bootstrap(values, np.random.default_rng(6))


def test_pairing_is_used():
    """Two systems that differ on a fifth of problems only: paired, the difference is far surer than the accuracies."""
    rng = np.random.default_rng(0)
    first = rng.random(400)
    second = first + np.where(rng.random(400) < 0.2, 0.3, 0.0)
    paired = paired_bootstrap(first, second, rng)
    alone = bootstrap(second, rng)
    assert paired.mean == pytest.approx((second - first).mean())
    assert paired.low > 0 and paired.high - paired.low < 0.6 * (alone.high - alone.low)


def coverage(draw, trials: int = 200) -> float:
    """How often the interval of ``draw(generator)`` -> (interval, truth) holds the truth."""
    rng = np.random.default_rng(11)
    held = [interval.low <= truth <= interval.high for interval, truth in (draw(rng) for _ in range(trials))]
    return float(np.mean(held))


def test_coverage_of_wilson_and_of_the_paired_bootstrap():
    def share(rng):
        return wilson(int(rng.binomial(100, 0.1)), 100), 0.1

    def difference(rng):  # i->c on 15 %, c->i on 5 %: delta is 0.10
        return bootstrap(rng.choice([1.0, 0.0, -1.0], p=[0.15, 0.80, 0.05], size=300), rng, resamples=1000), 0.10

    assert 0.91 <= coverage(share) <= 0.99
    assert 0.91 <= coverage(difference) <= 0.99


def test_coverage_over_seeds_needs_seeds_resampled():
    """Eight seeds whose algorithm truly differs from seed to seed: the crossed interval holds the truth, one that
    resamples problems alone does not come near."""

    def drawn(rng):
        seeds, problems = rng.normal(0, 0.05, (8, 1)), rng.normal(0, 0.3, (1, 100))
        return 0.1 + seeds + problems + rng.normal(0, 0.2, (8, 100))

    def crossed(rng):
        return crossed_bootstrap(drawn(rng), rng, resamples=400), 0.1

    def pooled(rng):
        return bootstrap(drawn(rng)[0], rng, resamples=400), 0.1

    assert 0.88 <= coverage(crossed) <= 0.99
    assert coverage(pooled) < 0.85


def test_one_seed_is_not_several():
    with pytest.raises(ValueError, match="at least two seeds"):
        crossed_bootstrap(np.zeros((1, 5)), np.random.default_rng(0))


def test_unequal_or_empty_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises((ValueError, TypeCheckError)):  # the second where shapes are checked at run time
        paired_bootstrap(np.zeros(3), np.zeros(4), rng)
    with pytest.raises(ValueError, match="0 problems"):
        bootstrap(np.zeros(0), rng)


def test_hierarchical_resamples_seeds_and_then_their_problems():
    values = np.random.default_rng(0).choice([0.0, 0.5, 1.0], (4, 30)) + np.array([[0.0], [0.1], [0.2], [0.6]])
    rng = np.random.default_rng(1)
    plain = [np.mean([rng.choice(values[i], 30) for i in rng.integers(0, 4, 4)]) for _ in range(4000)]
    ours = hierarchical_bootstrap(values, np.random.default_rng(2), resamples=4000)
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=0.025)
    with pytest.raises(ValueError, match="at least two seeds"):
        hierarchical_bootstrap(values[:1], rng)


def test_coverage_of_the_hierarchical_bootstrap_and_of_the_crossed_difference():
    def nested(rng):
        return hierarchical_bootstrap(
            0.1 + rng.normal(0, 0.05, (8, 1)) + rng.normal(0, 0.3, (8, 60)), rng, 0.95, 300
        ), 0.1

    def difference(rng):
        problems = rng.normal(0, 0.3, 60)
        two = [m + rng.normal(0, 0.05, (8, 1)) + problems + rng.normal(0, 0.2, (8, 60)) for m in (0.1, 0.3)]
        return paired_crossed_bootstrap(two[0], two[1], rng, 0.95, 300), 0.2

    assert 0.87 <= coverage(nested) <= 0.99
    assert 0.87 <= coverage(difference) <= 0.99
